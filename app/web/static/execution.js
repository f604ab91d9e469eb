// One execution: its graph, its tasks over time, what went in and came out.

import { all, check, get, put, remove, TERMINAL } from "./api.js";
import { button, h, json, local, notice, state, time, took } from "./dom.js";
import { graph } from "./graph.js";

const TASK_FIELDS = "name,type,state,state_info,created_at,started_at,finished_at,runtime_context";

export async function execution(main, [id], leaving) {
  const parts = { head: h("div"), graph: h("div", { class: "scroll graph" }), tasks: h("div", { class: "scroll" }), data: h("div"), side: h("div", { class: "card" }, h("p", { class: "soft" }, "Choose a task.")) };
  let drawing = null, seen = null, picked = null, gone = false, timer;
  leaving(() => { gone = true; clearTimeout(timer); });

  async function steer(body) {
    await put(`/executions/${id}`, body);
    await refresh();
  }

  function head({ execution: ex }) {
    const over = TERMINAL.has(ex.state);
    parts.head.replaceChildren(
      h("h1", {}, h("a", { href: `#/workflows/${ex.workflow_id}` }, ex.workflow_name), state(ex.state), h("span", { class: "mono soft small" }, ex.id)),
      h("div", { class: "row" },
        ex.state === "RUNNING" ? button("Pause", () => steer({ state: "PAUSED" })) : null,
        ex.state === "PAUSED" || ex.state === "IDLE" ? button("Resume", () => steer({ state: "RUNNING" }), { class: "main" }) : null,
        over ? null : button("Cancel", () => steer({ state: "CANCELLED", state_info: "Cancelled on the web page." }), { class: "danger" }),
        over ? button("Delete", async () => { await remove(`/executions/${id}`); location.hash = "#/executions"; }, { class: "danger" }) : null,
        h("span", { class: "soft" }, `created ${local(ex.created_at)}, took ${took(ex.created_at, over ? ex.updated_at : null)}`),
        ex.task_execution_id ? h("span", { class: "soft" }, "started by a task of another execution") : null),
      ex.state_info ? h("pre", { class: `card ${ex.state}` }, ex.state_info) : "");
    parts.data.replaceChildren(
      h("div", { class: "columns" },
        h("section", {}, h("h2", {}, "Input"), h("div", { class: "card" }, json(ex.input))),
        h("section", {}, h("h2", {}, "Output"), h("div", { class: "card" }, json(ex.output)))));
  }

  function picture({ tasks }) {
    // Of a task that ran several times the latest run counts.
    const latest = new Map(tasks.map((task) => [task.name, task]));
    const names = new Map(tasks.map((task) => [task.id, task.name]));
    const taken = new Set();
    for (const task of tasks) {
      for (const by of task.runtime_context?.triggered_by ?? []) taken.add(`${names.get(by.task_id)} ${task.name}`);
    }
    const shape = drawing ?? {
      tasks: [...latest.values()].map((task) => ({ name: task.name, what: task.type === "WORKFLOW" ? "workflow" : "action" })),
      edges: [...taken].map((pair) => { const [from, to] = pair.split(" "); return { from, to, kind: "" }; }),
    };
    parts.graph.replaceChildren(graph(shape, {
      taken, pick: (name) => { const task = latest.get(name); if (task) choose(task); },
      look: (name) => ({ state: latest.get(name)?.state, picked: latest.has(name) && latest.get(name).id === picked }),
    }));
  }

  function table({ execution: ex, tasks }) {
    const begin = time(ex.created_at).getTime();
    const end = Math.max(begin + 1000, ...tasks.map((task) => (time(task.finished_at) ?? new Date()).getTime()));
    const bar = (task) => {
      if (!task.started_at) return "";
      const from = time(task.started_at).getTime(), to = (time(task.finished_at) ?? new Date()).getTime();
      const inner = h("i", { class: task.state });
      // At the very end there must still be room for it.
      inner.style.left = `${Math.min(98, (100 * (from - begin)) / (end - begin))}%`;
      inner.style.width = `${(100 * (to - from)) / (end - begin)}%`;
      return h("div", { class: `bar ${task.state}` }, inner);
    };
    parts.tasks.replaceChildren(h("table", {},
      h("thead", {}, h("tr", {}, ["Task", "State", "Took", "When", "Info"].map((name) => h("th", {}, name)))),
      h("tbody", {}, tasks.slice(0, 500).map((task) => h("tr", { class: `pick ${task.id === picked ? "picked" : ""}`, onclick: () => choose(task) },
        h("td", {}, task.name), h("td", {}, state(task.state)), h("td", {}, took(task.started_at, task.finished_at)), h("td", {}, bar(task)),
        h("td", { class: "soft small" }, (task.state_info ?? "").split("\n")[0].slice(0, 120)))))));
    if (tasks.length > 500) parts.tasks.append(h("p", { class: "soft" }, `and ${tasks.length - 500} more`));
  }

  async function choose(task) {
    picked = task.id;
    picture(seen);
    table(seen);
    const [full, actions, children] = await Promise.all([
      get(`/tasks/${task.id}`),
      task.type === "ACTION" ? all(`/tasks/${task.id}/action_executions`, { include_output: "true" }) : [],
      task.type === "WORKFLOW" ? all(`/tasks/${task.id}/workflow_executions`) : [],
    ]);
    if (picked !== task.id) return;
    const set = (body) => async () => { await put(`/tasks/${task.id}`, { id: task.id, ...body }); notice(`${task.name}: asked for`); await refresh(); };
    const failed = full.state === "ERROR";
    parts.side.replaceChildren(
      h("h1", {}, full.name, state(full.state)),
      failed ? h("div", { class: "row" }, button("Run again", set({ state: "RUNNING", reset: true }), { class: "main" }), button("Skip", set({ state: "SKIPPED" }))) : null,
      h("dl", {}, h("dt", {}, "started"), h("dd", {}, local(full.started_at)), h("dt", {}, "took"), h("dd", {}, took(full.started_at, full.finished_at)), h("dt", {}, "id"), h("dd", { class: "mono small" }, full.id)),
      full.state_info ? h("pre", {}, full.state_info) : null,
      h("h2", {}, "Result"), json(full.result),
      full.published && Object.keys(full.published).length ? [h("h2", {}, "Published"), json(full.published)] : null,
      children.length ? [h("h2", {}, "Executions"), h("ul", {}, children.slice(0, 100).map((each) => h("li", {}, h("a", { href: `#/executions/${each.id}` }, each.workflow_name), " ", state(each.state))))] : null,
      actions.length ? [h("h2", {}, `Actions (${actions.length})`), actions.slice(0, 20).map((each) => h("details", {},
        h("summary", {}, each.name, " ", state(each.state)),
        h("div", { class: "soft small" }, "input"), json(each.input), h("div", { class: "soft small" }, "output"), json(each.output?.result)))] : null);
  }

  async function refresh() {
    const ex = await get(`/executions/${id}`);
    const tasks = await all(`/executions/${id}/tasks`, { fields: TASK_FIELDS, sort_keys: "created_at" });
    if (gone) return;
    seen = { execution: ex, tasks };
    head(seen);
    picture(seen);
    table(seen);
    clearTimeout(timer);
    // Large executions are looked at less often.
    if (!TERMINAL.has(ex.state)) timer = setTimeout(() => refresh().catch(() => {}), tasks.length > 300 ? 4000 : 1000);
  }

  main.replaceChildren(parts.head, h("div", { class: "columns" }, h("div", {}, parts.graph, h("h2", {}, "Tasks"), parts.tasks), parts.side), parts.data);
  const ex = await get(`/executions/${id}`);
  try {
    const definition = await get(`/workflows/${ex.workflow_id}`);
    const found = (await check(definition.definition)).workflows;
    drawing = found.find((each) => each.name === ex.workflow_name || ex.workflow_name.endsWith(`.${each.name}`)) ?? null;
    if (drawing && drawing.tasks.length > 600) drawing = null;
  } catch {
    drawing = null; // Its definition may be gone: then what ran is drawn.
  }
  await refresh();
}
