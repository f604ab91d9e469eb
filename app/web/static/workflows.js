// Definitions: the list, one of them, and the editor.

import { all, check, get, post, remove, sendText } from "./api.js";
import { button, h, local, notice } from "./dom.js";
import { graph } from "./graph.js";

export async function workflows(main) {
  const found = await all("/workflows", { fields: "name,namespace,input,tags,created_at,updated_at", sort_keys: "name" });
  const body = h("tbody");
  const show = (text) => body.replaceChildren(...found.filter((each) => each.name.includes(text)).slice(0, 1000).map((each) => h("tr", {},
    h("td", {}, h("a", { href: `#/workflows/${each.id}` }, each.name)), h("td", {}, each.namespace),
    h("td", { class: "mono small" }, each.input), h("td", {}, (each.tags ?? []).join(", ")), h("td", {}, local(each.updated_at ?? each.created_at)))));
  show("");
  main.replaceChildren(h("h1", {}, "Workflows"),
    h("div", { class: "row" }, h("input", { class: "fill", type: "search", placeholder: "Name", oninput: (e) => show(e.target.value) }), h("a", { href: "#/edit" }, "New workflow")),
    h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["Name", "Namespace", "Input", "Tags", "Changed"].map((name) => h("th", {}, name)))), body)));
}

export async function workflow(main, [id]) {
  const found = await get(`/workflows/${id}`);
  const answer = await check(found.definition);
  const shape = answer.workflows.find((each) => found.name === each.name || found.name.endsWith(`.${each.name}`)) ?? answer.workflows[0];
  main.replaceChildren(
    h("h1", {}, found.name, found.namespace ? h("span", { class: "soft" }, found.namespace) : null),
    h("div", { class: "row" },
      h("a", { href: `#/edit/${id}` }, "Edit"),
      h("a", { href: "#/executions" }, "Executions"),
      button("Delete", async () => {
        if (!confirm(`Delete the workflow ${found.name}? Its executions stay.`)) return;
        await remove(`/workflows/${id}`);
        location.hash = "#/workflows";
      }, { class: "danger" }),
      h("span", { class: "soft small" }, `id ${found.id}, changed ${local(found.updated_at ?? found.created_at)}`)),
    h("div", { class: "columns" },
      h("div", {}, shape && shape.tasks.length <= 600 ? h("div", { class: "scroll graph" }, graph(shape)) : null, h("h2", {}, "Definition"), h("div", { class: "card" }, h("pre", {}, found.definition))),
      h("div", { class: "card" }, h("h2", {}, "Start"), startForm(found, shape?.input ?? []))));
}

function startForm(found, inputs) {
  const fields = inputs.map((input) => ({
    ...input,
    field: h("textarea", { rows: 1, placeholder: input.required ? "required" : JSON.stringify(input.default), "aria-label": input.name }),
  }));
  const description = h("input", { placeholder: "a note to find it by" });
  return h("form", {
    class: "inputs",
    onsubmit: async (event) => {
      event.preventDefault();
      const input = {};
      for (const { name, field } of fields) {
        if (field.value.trim() === "") continue;
        // What is no JSON is meant as text.
        try { input[name] = JSON.parse(field.value); } catch { input[name] = field.value; }
      }
      try {
        const started = await post("/executions", { workflow_id: found.id, input, description: description.value });
        location.hash = `#/executions/${started.id}`;
      } catch (error) {
        notice(error.message, true);
      }
    },
  },
    fields.map(({ name, field }) => h("label", {}, h("span", { class: "mono" }, name), field)),
    fields.length ? null : h("p", { class: "soft" }, "It takes no input."),
    h("label", {}, h("span", {}, "Description"), description),
    h("p", {}, h("button", { class: "main" }, "Start")),
    h("p", { class: "soft small" }, "Values are JSON; what is no JSON is taken as text. Empty means the default."));
}

const NEW = `version: '2.0'

my_workflow:
  input:
    - name: world
  output:
    greeting: <% $.greeting %>
  tasks:
    greet:
      action: std.echo output="Hello, <% $.name %>!"
      publish:
        greeting: <% task().result %>
`;

export async function edit(main, [id]) {
  const found = id ? await get(`/workflows/${id}`) : null;
  const lines = h("pre", { class: "lines", "aria-hidden": "true" });
  const text = h("textarea", { spellcheck: "false", "aria-label": "Definition", value: found?.definition ?? NEW });
  const problems = h("ul", { class: "problems" });
  const drawn = h("div", { class: "scroll graph" });
  const verdict = h("span", { class: "soft" });
  let round = 0, typing;

  function number(marks) {
    const count = text.value.split("\n").length;
    lines.replaceChildren(...Array.from({ length: count }, (_, i) => h("span", { class: marks.get(i + 1) ?? "" }, `${i + 1}\n`)));
    lines.scrollTop = text.scrollTop;
  }

  function go(line, column) {
    const before = text.value.split("\n").slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    text.focus();
    text.setSelectionRange(before + (column ?? 1) - 1, before + (column ?? 1) - 1);
    text.scrollTop = Math.max(0, (line - 6) * 19.5);
  }

  async function look() {
    const mine = ++round;
    const answer = await check(text.value);
    if (mine !== round) return;
    const marks = new Map();
    for (const each of answer.problems) if (each.line && marks.get(each.line) !== "error") marks.set(each.line, each.severity);
    number(marks);
    const errors = answer.problems.filter((each) => each.severity === "error").length;
    verdict.textContent = errors ? `${errors} error${errors > 1 ? "s" : ""}` : "valid";
    verdict.className = errors ? "state ERROR" : "state SUCCESS";
    problems.replaceChildren(...answer.problems.map((each) => h("li", { class: each.severity, onclick: () => each.line && go(each.line, each.column) },
      each.line ? h("b", {}, `${each.line}:${each.column ?? 1} `) : null, each.message, each.hint ? h("span", { class: "soft" }, `\nhint: ${each.hint}`) : null)));
    drawn.replaceChildren(...answer.workflows.filter((each) => each.tasks.length <= 600).map((each) => h("div", {}, h("h2", {}, each.name), graph(each))));
  }

  const changed = () => { number(new Map()); clearTimeout(typing); typing = setTimeout(() => look().catch((error) => notice(error.message, true)), 350); };
  text.addEventListener("input", changed);
  text.addEventListener("scroll", () => (lines.scrollTop = text.scrollTop));
  new ResizeObserver(() => (lines.style.height = `${text.clientHeight}px`)).observe(text);

  async function save() {
    const answer = found
      ? await sendText("PUT", `/workflows/${found.id}`, text.value, { namespace: found.namespace })
      : await sendText("POST", "/workflows", text.value);
    notice("Saved.");
    location.hash = `#/workflows/${(answer.workflows?.[0] ?? answer).id}`;
  }

  main.replaceChildren(
    h("h1", {}, found ? `Edit ${found.name}` : "New workflow", verdict),
    h("div", { class: "row" }, button("Save", save, { class: "main" }), found ? h("a", { href: `#/workflows/${id}` }, "Back") : null),
    h("div", { class: "columns" }, h("div", {}, h("div", { class: "editor" }, lines, text), problems), drawn));
  await look();
}

export async function actions(main) {
  const found = (await get("/actions")).actions;
  const body = h("tbody");
  const show = (text) => body.replaceChildren(...found.filter((each) => each.name.includes(text)).map((each) => h("tr", {},
    h("td", {}, h("b", {}, each.name)), h("td", { class: "mono small" }, each.input ?? ""), h("td", { class: "small" }, (each.description ?? "").trim().split("\n\n")[0]))));
  show("");
  main.replaceChildren(h("h1", {}, "Actions"),
    h("div", { class: "row" }, h("input", { class: "fill", type: "search", placeholder: "Name", oninput: (e) => show(e.target.value) })),
    h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["Name", "Input", "Description"].map((name) => h("th", {}, name)))), body)));
}
