// Which page is shown: the part of the address behind #.

import { setToken } from "./api.js";
import { h, notice } from "./dom.js";
import { execution } from "./execution.js";
import { executions } from "./executions.js";
import { actions, edit, workflow, workflows } from "./workflows.js";

const PAGES = [
  [/^#\/executions$/, executions],
  [/^#\/executions\/([^/]+)$/, execution],
  [/^#\/workflows$/, workflows],
  [/^#\/workflows\/([^/]+)$/, workflow],
  [/^#\/edit$/, edit],
  [/^#\/edit\/([^/]+)$/, edit],
  [/^#\/actions$/, actions],
];

let leave = [];

async function show() {
  for (const each of leave) each();
  leave = [];
  const address = location.hash || "#/executions";
  for (const link of document.querySelectorAll("nav a")) {
    const its = link.getAttribute("href");
    link.classList.toggle("here", address === its || address.startsWith(its + "/"));
  }
  // A page that is left while it loads draws into nothing.
  const main = h("main", { id: "main" });
  document.getElementById("main").replaceWith(main);
  for (const [pattern, page] of PAGES) {
    const match = pattern.exec(address);
    if (!match) continue;
    try {
      await page(main, match.slice(1), (callback) => leave.push(callback));
    } catch (error) {
      main.append(h("p", { class: "ERROR" }, error.message));
      if (error.status === 401) notice("The API asks for a token.", true);
    }
    return;
  }
  main.append(h("p", {}, "There is no such page. ", h("a", { href: "#/executions" }, "To the executions")));
}

document.getElementById("token").addEventListener("click", () => {
  const token = prompt("Token for the API (kept until this tab closes):", "");
  if (token !== null) { setToken(token); show(); }
});
addEventListener("hashchange", show);
show();
