/** Written words: how running text is cut into them, and characters that stand for others. */
import { CURRENCIES, regrouped } from "./amounts.js";
import { isUpper, listed, whole } from "./text.js";
import { ENDING, SHORT } from "./words.js";

export const ALPHABET = "abcdefghijklmnopqrstuvwxyz' .,?!;:-"; // all characters of normalized text
export const START_SYMBOL = 1; // the silence before a sentence
export const END_SYMBOL = 2; // the silence after it
export const SHORT_MONTHS = listed("jan feb mar apr jun jul aug sep sept oct nov dec");

const KEPT = `${CURRENCIES}©¢°µ×÷±≈≤≥≠π∞§→—–`;
const FORMATTING = new Set("#*~-_=|—–>`+."); // signs of lists, headings and rules
const FRACTIONS = new Map(
  ["1/2", "1/4", "3/4", "1/3", "2/3", "1/8", "3/8", "5/8", "7/8"].map((said, at) => ["½¼¾⅓⅔⅛⅜⅝⅞"[at]!, said]),
);
const VULGAR = /(\d?)([½¼¾⅓⅔⅛⅜⅝⅞])/g;
// characters that compatibility decomposition (NFKD) does not handle as needed
const FOLDED = new Map<string, string>([
  ...Array.from("“”„‟«»″", (one) => [one, '"'] as [string, string]),
  ...Array.from("‘’‚‛′ʼ´", (one) => [one, "'"] as [string, string]),
  ...Array.from("‐‑‒−﹣－•·", (one) => [one, "-"] as [string, string]),
  ...Array.from("™®ª", (one) => [one, ""] as [string, string]),
  ...Object.entries({
    ...{ "²": "^2", "³": "^3", "º": "°", "№": "number ", "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE" },
    ...{ "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "TH" },
    ...{ "ı": "i", "―": "—", "μ": "µ", "∙": "×", "⋅": "×", "∕": "/", "⁄": "/", "∗": "*" },
  }),
]);
// word boundaries without a space: at dashes, and after a period or comma with a missing space
const CUTS =
  /(—|--+|(?<!\d)(?<!\d[aApP][mM])(?<![$€£%°CFm]\b)–|–(?![\d$€£¥]))|(?<=\.\.)(?=[A-Za-z])|(?<=[a-z]{2}[.!?])(?=[A-Z][a-z])|(?<=[A-Za-z]{2}[,;])(?=[A-Za-z])/;
const FEET = whole("(\\d+'\\d+\")(.*)");
const LEAD = /^(?:["([{*_`|]|'(?!\d\ds))+/;
const TAIL = /^["')\]}*_`|.,;:!?]$/;
const PLAIN = whole("[A-Za-z]?[a-z]*(?:'[a-z]+)?");
const LATE_QUOTE = /[.?!].*["')]/;

/** A written word: opening marks, the word, closing marks, and the number of line breaks before it. */
export class WrittenWord {
  constructor(
    readonly lead: string,
    readonly core: string,
    readonly tail: string,
    readonly breaks = 0,
  ) {}

  /** The most important mark of the tail; empty if it has none. */
  get mark(): string {
    const mark = Array.from("?!.;:,").find((one) => this.tail.includes(one));
    return mark ?? (/[)\]}]/.test(this.tail) ? "," : "");
  }

  /** Whether it begins with a capital letter. */
  get upper(): boolean {
    return isUpper(this.core.slice(0, 1));
  }

  /** Whether the quotation ends after a mark that could end the sentence. */
  get quoted(): boolean {
    return LATE_QUOTE.test(this.tail);
  }
}

/** Whether the reading of a word is independent of later words. */
export function isPlain(word: WrittenWord): boolean {
  const low = word.core.toLowerCase();
  if (!PLAIN.test(word.core) || word.lead.includes("*") || SHORT_MONTHS.has(low)) return false;
  const short = word.tail.includes(".") && (low.length === 1 || SHORT.has(low) || ENDING.has(low));
  return !short && !word.tail.includes("..") && !word.quoted;
}

/** Whether it is the sign of a heading in Markdown. */
export function startsHeading(word: WrittenWord): boolean {
  return word.breaks > 0 && /^#{1,6}$/.test(word.core) && !word.tail;
}

/** Whether a reader would miss it: it is more than marks and signs of formatting. */
export function saysSomething(word: WrittenWord): boolean {
  return Array.from(word.core).some((character) => !FORMATTING.has(character));
}

/** Whether it is the number of a list item. */
export function isBullet(word: WrittenWord): boolean {
  return word.breaks > 0 && /^\d\d?$/.test(word.core) && (word.tail === "." || word.tail === ")");
}

/** Whether the word starts a list item with a bullet or a number. */
export function startsItem(word: WrittenWord): boolean {
  return word.breaks > 0 && (word.core === "-" || (word.lead === "*" && !word.core) || isBullet(word));
}

const isAscii = (text: string): boolean => /^[\x00-\x7f]*$/.test(text);
const translated = (text: string): string => Array.from(text, (one) => FOLDED.get(one) ?? one).join("");

/** Map characters to ASCII and a few symbols of the same look or meaning; drop the rest. */
export function fold(given: string): string {
  const raw = translated(given).replace(
    VULGAR,
    (_, digit: string, sign: string) => digit + (digit ? "_" : "") + FRACTIONS.get(sign)!,
  );
  if (isAscii(raw)) return raw.replace(/[^\x21-\x7e]/g, "");
  const shown = translated(raw.normalize("NFKD"));
  return Array.from(shown, (one) => decimal(one) ?? one)
    .filter((one) => (one > " " && one < "\x7f" && one.length === 1) || KEPT.includes(one))
    .join("");
}

/** The value of a digit of any script. */
function decimal(character: string): string | undefined {
  if (!/^\p{Nd}$/u.test(character)) return undefined;
  const code = character.codePointAt(0)!;
  let first = code;
  while (/^\p{Nd}$/u.test(String.fromCodePoint(first - 1))) first--;
  return String((code - first) % 10);
}

/** The runs of letters, digits and symbols that `fold` drops, with their diacritics and joiners. */
export function unspoken(raw: string): string[] {
  if (isAscii(raw)) return [];
  const runs: string[] = [];
  let run = "";
  let told = false;
  for (const character of [...raw, " "]) {
    if (/^[\p{L}\p{N}\p{S}]$/u.test(character) && fold(character) === "") {
      run += character;
      told = true;
    } else if (/^[\p{M}\p{Cf}]$/u.test(character)) run += character;
    else {
      if (told) runs.push(run);
      run = "";
      told = false;
    }
  }
  return runs;
}

/** The written words of a run of characters without a space, after `breaks` line breaks. */
export function cut(raw: string, breaks: number): WrittenWord[] {
  const parts: WrittenWord[] = [];
  for (const part of regrouped(fold(raw).replaceAll("~~", "")).split(CUTS)) {
    if (!part) continue;
    const [lead, core, tail] = setApart(part.startsWith("--") ? "—" : part);
    parts.push(new WrittenWord(lead, core, tail, parts.length > 0 ? 0 : breaks));
  }
  return parts;
}

function setApart(word: string): [string, string, string] {
  const feet = FEET.exec(word);
  if (feet !== null) return ["", feet[1]!, feet[2]!];
  const begin = LEAD.exec(word)?.[0].length ?? 0;
  let end = word.length;
  while (end > begin && TAIL.test(word[end - 1]!)) end--;
  return [word.slice(0, begin), word.slice(begin, end), word.slice(end)];
}

/** The symbols of normalized text. */
export function symbols(text: string): number[] {
  return Array.from(text, (character) => 3 + ALPHABET.indexOf(character));
}
