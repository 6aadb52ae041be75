/** Small questions about texts, answered as Python's string methods answer them. */

export const listed = (words: string): ReadonlySet<string> => new Set(words.split(/\s+/));

/** A pattern that must match a whole text. */
export function whole(pattern: string | RegExp, flags = ""): RegExp {
  const source = typeof pattern === "string" ? pattern : pattern.source;
  return new RegExp(`^(?:${source})$`, typeof pattern === "string" ? flags : pattern.flags);
}

export const isUpper = (text: string): boolean => text === text.toUpperCase() && text !== text.toLowerCase();
export const isLower = (text: string): boolean => text === text.toLowerCase() && text !== text.toUpperCase();
export const isAlpha = (text: string): boolean => /^\p{L}+$/u.test(text);
export const hasAlphanumeric = (text: string): boolean => /[\p{L}\p{N}]/u.test(text);
export const startsWithDigit = (text: string | undefined): boolean => text !== undefined && /^\d/.test(text);
export const endsWithDigit = (text: string): boolean => /\d$/.test(text);

/** The text before the first `mark`, whether it is there, and the text after it. */
export function partition(text: string, mark: string): [string, boolean, string] {
  const place = text.indexOf(mark);
  return place < 0 ? [text, false, ""] : [text.slice(0, place), true, text.slice(place + mark.length)];
}

/** `text` without the characters `characters` at both ends. */
export function stripped(text: string, characters: string): string {
  let begin = 0;
  let end = text.length;
  while (begin < end && characters.includes(text[begin]!)) begin++;
  while (end > begin && characters.includes(text[end - 1]!)) end--;
  return text.slice(begin, end);
}

export const withoutSuffix = (text: string, suffix: string): string =>
  suffix !== "" && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text;
