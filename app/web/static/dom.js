// Elements, without markup in strings: text is always text.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An HTML element: h("a", {href: "#"}, "text", other). */
export const h = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);

/** An SVG element. */
export const s = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

/** A state as a coloured word. */
export const state = (word) => h("span", { class: `state ${word}` }, word);

/** Pretty JSON. */
export const json = (value) => h("pre", {}, value === undefined ? "" : JSON.stringify(value, null, 2));

let hiding;

/** A message at the edge of the page. */
export function notice(text, bad = false) {
  const box = document.getElementById("notice");
  box.textContent = text;
  box.className = bad ? "shown bad" : "shown";
  clearTimeout(hiding);
  hiding = setTimeout(() => (box.className = ""), bad ? 9000 : 3000);
}

/** A button whose failures are told. */
export const button = (label, action, attributes = {}) =>
  h("button", {
    type: "button",
    ...attributes,
    onclick: async (event) => {
      const self = event.currentTarget;
      self.disabled = true;
      try {
        await action();
      } catch (error) {
        notice(error.message, true);
      } finally {
        self.disabled = false;
      }
    },
  }, label);

/** The API's time (UTC, without zone) as a Date. */
export const time = (text) => (text ? new Date(text.replace(" ", "T") + "Z") : null);

/** A time in the reader's zone. */
export const local = (text) => (text ? time(text).toLocaleString() : "");

/** How long from one time to another, to now when there is none. */
export function took(from, to) {
  if (!from) return "";
  let seconds = Math.max(0, Math.round(((to ? time(to) : new Date()) - time(from)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  seconds %= 60;
  return minutes < 60 ? `${minutes} min ${seconds} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
