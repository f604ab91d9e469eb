// The list of executions.

import { page } from "./api.js";
import { h, local, state, took } from "./dom.js";
import { TERMINAL } from "./api.js";

const STATES = ["", "RUNNING", "PAUSED", "SUCCESS", "ERROR", "CANCELLED", "IDLE"];
const FIELDS = "workflow_name,description,state,created_at,updated_at,task_execution_id";

export function executions(main, _arguments, leaving) {
  const filter = { workflow: "", state: "", all: false };
  const body = h("tbody");
  const more = h("button", { type: "button", onclick: () => load(marker) }, "Older ones");
  let marker = null, shown = 0;

  const row = (each) => h("tr", {},
    h("td", {}, h("a", { href: `#/executions/${each.id}` }, each.workflow_name),
      each.task_execution_id ? h("span", { class: "soft small" }, "  started by a task") : null),
    h("td", {}, state(each.state)),
    h("td", {}, local(each.created_at)),
    h("td", {}, took(each.created_at, TERMINAL.has(each.state) ? each.updated_at : null)),
    h("td", { class: "soft" }, each.description || ""),
    h("td", { class: "mono soft small" }, each.id));

  async function load(from) {
    const found = await page("/executions", {
      fields: FIELDS, sort_keys: "created_at", sort_dirs: "desc", limit: 50, marker: from,
      workflow_name: filter.workflow ? `has:${filter.workflow}` : undefined,
      state: filter.state, nulls: filter.all ? undefined : "task_execution_id",
    });
    if (!from) { body.replaceChildren(); shown = 0; }
    body.append(...found.items.map(row));
    shown += found.items.length;
    marker = found.marker;
    more.hidden = !marker;
    empty.hidden = shown > 0;
  }

  const empty = h("p", { class: "soft", hidden: true }, "No executions. Start one from a workflow's page, or with: celeriac run FILE");
  let typing;
  const changed = () => { clearTimeout(typing); typing = setTimeout(() => load(null), 250); };
  main.replaceChildren(
    h("h1", {}, "Executions"),
    h("div", { class: "row" },
      h("input", { class: "fill", type: "search", placeholder: "Workflow", oninput: (e) => { filter.workflow = e.target.value; changed(); } }),
      h("select", { "aria-label": "State", onchange: (e) => { filter.state = e.target.value; changed(); } },
        STATES.map((word) => h("option", { value: word }, word || "any state"))),
      h("label", {}, h("input", { type: "checkbox", onchange: (e) => { filter.all = e.target.checked; changed(); } }), " with sub-workflows")),
    h("div", { class: "scroll" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Workflow", "State", "Created", "Took", "Description", "Id"].map((name) => h("th", {}, name)))), body)),
    empty, h("p", {}, more));

  // The newest page is kept fresh; who has asked for older ones is left in peace.
  const timer = setInterval(() => { if (shown <= 50 && !document.hidden) load(null).catch(() => {}); }, 3000);
  leaving(() => clearInterval(timer));
  return load(null);
}
