// Parts of the page by their id.

export const at = (id) => document.getElementById(id);

export function show(id, text) {
  at(id).textContent = text;
}

/** Tell of a problem; null for none. */
export function say(problem) {
  show("notice", problem ?? "");
  at("notice").hidden = !problem;
}
