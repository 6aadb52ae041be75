/** Elements of the page. */
import { RequestError } from "../errors.js";

export function by<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

export function element<T extends keyof HTMLElementTagNameMap>(
  tag: T,
  className = "",
  text = "",
): HTMLElementTagNameMap[T] {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** What went wrong and what to do, as one sentence. */
export function failure(error: unknown): string {
  if (error instanceof RequestError) return `${error.what}: ${error.fix}.`;
  return error instanceof Error ? error.message : String(error);
}

/** Tell of a failure below the panels; an empty text takes it away. */
export function showNotice(text: string): void {
  by("notice").textContent = text;
  by("notice").hidden = text === "";
}
