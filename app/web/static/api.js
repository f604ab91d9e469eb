// The REST API. What it sends as text that holds JSON is decoded here.

const ROOT = new URL("../v2", document.baseURI).pathname;
const TEXTS = ["input", "output", "params", "published", "published_global", "result", "runtime_context", "interface"];

export const TERMINAL = new Set(["SUCCESS", "ERROR", "CANCELLED"]);

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function setToken(token) {
  sessionStorage.setItem("token", token);
}

function decoded(value) {
  if (Array.isArray(value)) return value.map(decoded);
  if (value === null || typeof value !== "object") return value;
  for (const name of TEXTS) {
    if (typeof value[name] === "string") {
      // The input of a definition is a summary for people, no JSON.
      try { value[name] = JSON.parse(value[name]); } catch { continue; }
    }
  }
  return value;
}

async function send(method, url, body, type) {
  const headers = {};
  if (type) headers["Content-Type"] = type;
  const token = sessionStorage.getItem("token");
  if (token) headers["X-Auth-Token"] = token;
  let answer;
  try {
    answer = await fetch(url, { method, headers, body });
  } catch {
    throw new Refused(0, "The server does not answer.");
  }
  const text = await answer.text();
  let data = null;
  try { data = text ? JSON.parse(text) : null; } catch { data = null; }
  if (!answer.ok) {
    throw new Refused(answer.status, data?.faultstring ?? answer.headers.get("Server-Error-Message") ?? `${answer.status} ${answer.statusText}`);
  }
  return data;
}

const query = (values) => {
  const pairs = Object.entries(values ?? {}).filter(([, value]) => value !== undefined && value !== "" && value !== null);
  return pairs.length ? "?" + new URLSearchParams(pairs) : "";
};

export const get = async (path, values) => decoded(await send("GET", ROOT + path + query(values)));
export const put = async (path, body) => decoded(await send("PUT", ROOT + path, JSON.stringify(body), "application/json"));
export const post = async (path, body) => decoded(await send("POST", ROOT + path, JSON.stringify(body), "application/json"));
export const remove = (path, values) => send("DELETE", ROOT + path + query(values));
export const sendText = (method, path, text, values) => send(method, ROOT + path + query(values), text, "text/plain; charset=utf-8");

/** One page of a list, with the marker of the next one. */
export async function page(path, values) {
  const answer = await get(path, values);
  const items = answer[path.split("/").pop()].map(decoded);
  return { items, marker: answer.next ? items.at(-1)?.id : null };
}

/** A whole list. */
export async function all(path, values) {
  const found = [];
  let marker;
  do {
    const next = await page(path, { ...values, limit: 1000, marker });
    found.push(...next.items);
    marker = next.items.length ? next.marker : null;
  } while (marker);
  return found;
}

/** What is wrong in a definition, and the graph of each of its workflows. */
export const check = (text) => send("POST", "check", text, "text/plain; charset=utf-8");
