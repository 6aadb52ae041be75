/** Numbers as words: counts, ordinals, decimals, years and fractions. */
import { whole as full } from "./text.js";

const LONGEST = 15; // most digits that are read as one number; longer ones are read digit by digit
export const NUMBER = "(?:\\d{1,3}(?:,\\d{3})+|\\d+)(?:\\.\\d+)?|\\.\\d+";
export const SIGNS: Readonly<Record<string, string>> = {
  "-": "minus ",
  "+": "plus ",
  "±": "plus or minus ",
  "~": "about ",
  "≈": "about ",
};

const ONES = (
  "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen " +
  "eighteen nineteen"
).split(" ");
const TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split(" ");
const GROUPS = ["", "thousand", "million", "billion", "trillion", "quadrillion", "quintillion"];
const ORDINALS: Readonly<Record<string, string>> = {
  one: "first",
  two: "second",
  three: "third",
  four: "fourth",
  five: "fifth",
  six: "sixth",
  seven: "seventh",
  eight: "eighth",
  nine: "ninth",
  ten: "tenth",
  eleven: "eleventh",
  twelve: "twelfth",
};

/** 21 -> twenty one; 1001 -> one thousand and one. */
export function cardinal(number: number | string): string {
  const digits = String(number).replace(/^0+(?=\d)/, "");
  if (digits === "0") return "zero";
  const words: string[] = [];
  const count = Math.ceil(digits.length / 3);
  for (let group = count - 1; group >= 0; group--) {
    const end = digits.length - 3 * group;
    const value = Number(digits.slice(Math.max(0, end - 3), end));
    if (value === 0) continue;
    if (group === 0 && value < 100 && words.length > 0) words.push("and");
    words.push(belowThousand(value));
    if (group > 0) words.push(GROUPS[group]!);
  }
  return words.join(" ");
}

function belowThousand(value: number): string {
  const hundreds = Math.floor(value / 100);
  const rest = value % 100;
  if (hundreds === 0) return belowHundred(rest);
  const begin = `${ONES[hundreds]} hundred`;
  return rest === 0 ? begin : `${begin} and ${belowHundred(rest)}`;
}

function belowHundred(value: number): string {
  if (value < 20) return ONES[value]!;
  const tens = TENS[Math.floor(value / 10)]!;
  return value % 10 === 0 ? tens : `${tens} ${ONES[value % 10]}`;
}

/** 21 -> twenty first. */
export function ordinal(number: number | string): string {
  const words = cardinal(number).split(" ");
  const last = words.pop()!;
  words.push(ORDINALS[last] ?? `${last.endsWith("y") ? `${last.slice(0, -1)}ie` : last}th`);
  return words.join(" ");
}

/** Digit by digit; other characters are skipped. */
export function digits(text: string): string {
  return Array.from(text.replace(/[^0-9]/g, ""), (digit) => ONES[Number(digit)]!).join(" ");
}

/** 1905 -> nineteen oh five; 2000 to 2009 as counts. */
export function year(number: number): string {
  const high = Math.floor(number / 100);
  const low = number % 100;
  if (high === 0 || (high % 10 === 0 && low < 10) || high >= 100) return cardinal(number);
  return `${cardinal(high)} ${low === 0 ? "hundred" : low < 10 ? `oh ${cardinal(low)}` : cardinal(low)}`;
}

/** 1990 -> nineteen nineties; 90 -> nineties. */
export function decade(number: number): string {
  const words = number >= 100 ? year(number) : cardinal(number);
  return words.endsWith("y") ? `${words.slice(0, -1)}ies` : `${words}s`;
}

/** A run of digits, read as a number unless it is long or begins with zeros, like codes and telephone numbers. */
export function whole(text: string): string {
  const bare = text.replaceAll(",", "");
  const coded = bare.length > 1 && bare.startsWith("0");
  const long = !text.includes(",") && bare.length > 6 && !bare.endsWith("000");
  return coded || long || bare.length > LONGEST ? digits(bare) : cardinal(bare);
}

/** 1,234.50 -> one thousand two hundred and thirty four point five zero. */
export function number(text: string): string {
  const [before, after] = text.split(".", 2) as [string, string | undefined];
  const point = after !== undefined;
  const front = before === "" ? "" : point && before === "0" ? cardinal(0) : whole(before);
  return [front, point ? "point" : "", digits(after ?? "")].filter(Boolean).join(" ");
}

/** A number with an optional sign. */
export function signed(text: string): string {
  const sign = SIGNS[text[0]!];
  return sign === undefined ? number(text) : sign + number(text.slice(1));
}

/** 3/4 -> three quarters; 10/10 -> ten out of ten; 7/3 -> seven over three. */
export function fraction(over: number, under: number): string {
  if (0 < over && over < under && under <= 100) {
    const parts: Record<number, [string, string]> = { 2: ["half", "halves"], 4: ["quarter", "quarters"] };
    const [one, many] = parts[under] ?? [ordinal(under), `${ordinal(under)}s`];
    return `${cardinal(over)} ${over === 1 ? one : many}`;
  }
  return `${cardinal(over)} ${over === under ? "out of" : "over"} ${cardinal(under)}`;
}

const YEAR = full("1[1-9]\\d\\d|20\\d\\d");

/** Four digits that are read in two pairs unless they count something. */
export const isYear = (text: string): boolean => YEAR.test(text);

/** A bare number in running text: years as years. */
export const counted = (text: string): string => (isYear(text) ? year(Number(text)) : signed(text));
