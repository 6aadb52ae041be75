/** How written words are read in their context. */
import { amount, asAdjective, CODES, CURRENCIES, money, SCALES } from "./amounts.js";
import { month } from "./dates.js";
import { digits, isYear, NUMBER, ordinal } from "./numbers.js";
import { endsWithDigit, isLower, listed, startsWithDigit, whole } from "./text.js";
import { CAPITAL, DECADE, ENDING, isDotted, NUMBERED, roman, SHORT, SYMBOLS, TITLES, token } from "./words.js";
import { isBullet, SHORT_MONTHS, startsHeading, WrittenWord } from "./written.js";

export const LOOK = 3; // lookahead in written words

/** The spoken form of a written word and the `taken` ones after it. `ends`: a sentence ends here. */
export interface NormalizedWord {
  text: string;
  mark: string;
  ends: boolean;
  taken: number;
}

const OPENERS = listed(
  "the a an it he she they we i you this that these those there then but and or so in on at when if what who how " +
    "his her my our your their its not no yes after before one some many now once please let",
);
const DIALED = listed("call dial phone ring text");
const EMERGENCY = listed("call calls caller operator dispatcher emergency");
const LEADING_GROUP = whole(`[-+]?[${CURRENCIES}]?[1-9]\\d{0,2}`);
const FURTHER_GROUP = whole("\\d{3}(?:\\.\\d+)?");
const ONLY_NUMBER = whole(NUMBER);

type Words = readonly WrittenWord[];

function reading(text: string, mark = "", ends = false, taken = 0): NormalizedWord {
  return { text, mark, ends, taken };
}

const endsSentence = (mark: string): boolean => mark === "." || mark === "?" || mark === "!";

/** Read a word. `follow`: the next LOOK written words, fewer at the end of the text; empty if plain. */
export function read(word: WrittenWord, follow: Words, before: WrittenWord | undefined): NormalizedWord {
  const past = before?.core ?? "";
  if (["—", "–", "-", ""].includes(word.core)) return between(word, follow, past);
  const groups = groupsOf(word, follow);
  if (groups > 0) {
    const core = [word, ...follow.slice(0, groups)].map((one) => one.core).join(",");
    const joint = new WrittenWord(word.lead, core, follow[groups - 1]!.tail, word.breaks);
    const made = read(joint, follow.slice(groups), before);
    return { ...made, taken: made.taken + groups };
  }
  const special = shortened(word, follow, before) ?? withNext(word, follow, past);
  if (special !== undefined) return special;
  const text = roman(word.core, past) || numbered(word, follow, past) || token(word.core);
  return isBullet(word) ? reading(text, ",") : closed(text, word, follow);
}

/** Marks that stand alone: dashes (signs between numbers), and marks after a space. */
function between(word: WrittenWord, follow: Words, past: string): NormalizedWord {
  const inNumbers = endsWithDigit(past) && startsWithDigit(follow[0]?.core);
  if (word.core) {
    if (inNumbers) return reading(isYear(past) && isYear(follow[0]!.core) ? "to" : "minus");
    return reading("", "-");
  }
  if (word.lead.includes("*") && inNumbers) return reading("times");
  const mark = word.mark || new WrittenWord("", "", word.lead).mark;
  return reading("", mark, endsSentence(mark));
}

/** How many of the next words are further groups of three digits of this number: 1 000 000, 12 500 km. */
function groupsOf(word: WrittenWord, follow: Words): number {
  if (!LEADING_GROUP.test(word.core) || word.tail) return 0;
  let count = 0;
  for (const group of follow) {
    if (group.lead || group.breaks || !FURTHER_GROUP.test(group.core)) break;
    count++;
    if (group.tail || group.core.includes(".")) break;
  }
  if (count === 0) return 0;
  const after = follow[count]?.core ?? "";
  const last = follow[count - 1]!.core;
  const sure =
    count > 1 || CURRENCIES.includes(word.core[0]!) || last.includes(".") || amount("1", after) !== undefined;
  return sure || last.endsWith("00") ? count : 0;
}

/** The reading with the marks of the last word that it covers. */
function closed(text: string, word: WrittenWord, follow: Words, taken = 0): NormalizedWord {
  const last = taken ? follow[taken - 1]! : word;
  const after = follow[taken];
  let mark = last.mark;
  const goesOn = after !== undefined && after.breaks < 2 && isLower(after.core.slice(0, 1));
  if (mark === "." && last.tail.includes("..") && goesOn) mark = ",";
  return reading(text, mark, endsSentence(mark) && !(last.quoted && goesOn), taken);
}

/** Abbreviations and initials, whose period does not end the sentence. */
function shortened(word: WrittenWord, follow: Words, before: WrittenWord | undefined): NormalizedWord | undefined {
  const low = word.core.toLowerCase();
  const after = follow[0];
  const past = before?.core ?? "";
  const dotted = word.tail.startsWith(".") && !word.tail.startsWith("..");
  const even = word.core === low || word.core === low.toUpperCase();
  if ((low === "am" || low === "pm") && endsWithDigit(past) && even) return closed(`${low[0]} m`, word, follow);
  if (!dotted) {
    const titled = TITLES.has(low) && word.upper && low !== word.core;
    return titled ? closed(SHORT.get(low)!, word, follow) : undefined;
  }
  const rest = new WrittenWord("", word.core, word.tail.slice(1));
  const isNumbered = startsWithDigit(after?.core);
  const named = SHORT_MONTHS.has(low) ? month(word.core) : undefined;
  if (named && (isNumbered || startsWithDigit(past))) return unended(named, rest, after);
  if (CAPITAL.has(low) && !word.upper) return undefined;
  if ((NUMBERED.has(low) && !isNumbered) || ((low === "co" || low === "al") && before === undefined)) return undefined;
  if (low === "p" && isNumbered) return unended("page", rest, after);
  // Main St. and Elm Dr., but Dr. Smith and St. John
  const afterName = before !== undefined && before.upper && !before.tail;
  const closes = after === undefined || !after.upper || OPENERS.has(after.core.toLowerCase());
  if ((low === "st" || low === "dr") && afterName && closes) {
    return unended(low === "st" ? "street" : "drive", rest, after);
  }
  const short = SHORT.get(low);
  if (short !== undefined) {
    return unended(short, rest, after, { never: !["ft", "dept", "govt", "univ"].includes(low) });
  }
  const ending = ENDING.get(low);
  if (ending !== undefined) return unended(ending, rest, after, { capital: ["etc", "a.m", "p.m"].includes(low) });
  if (isDotted(word.core)) return unended(token(word.core), rest, after);
  if (word.core.length === 1 && word.upper && word.core !== "I" && after?.upper) {
    return unended(low, rest, after, { never: before === undefined || before.upper });
  }
  return undefined;
}

/** An abbreviation; its period ends the sentence only if the next word cannot continue it. */
function unended(
  text: string,
  rest: WrittenWord,
  after: WrittenWord | undefined,
  { never = false, capital = false }: { never?: boolean; capital?: boolean } = {},
): NormalizedWord {
  if (rest.mark) return reading(text, rest.mark, endsSentence(rest.mark));
  const begins = after !== undefined && after.upper && (capital || OPENERS.has(after.core.toLowerCase()));
  const over = after === undefined || (!never && (after.breaks > 1 || begins));
  return reading(text, over ? "." : "", over);
}

/** Numbers with units, and dates, telephone numbers and mixed fractions of two written words. */
function withNext(word: WrittenWord, follow: Words, past: string): NormalizedWord | undefined {
  let core = word.core;
  const first = follow[0];
  const joined = first !== undefined && !word.tail && !first.lead && first.breaks < 2;
  const after = joined ? first.core : "";
  if (DECADE.test(core) && (core.length > 4 || past.toLowerCase() === "the")) return undefined; // not seconds
  if (Object.hasOwn(CODES, core) && ONLY_NUMBER.test(after)) {
    const scale = follow.length > 1 && !first!.tail ? SCALES[follow[1]!.core.toLowerCase()] : undefined;
    return closed(money(core, after, scale ?? ""), word, follow, scale === undefined ? 1 : 2);
  }
  if (after === "€" && /^[1-9]\d{0,2}\.\d{3}$/.test(core)) core = core.replaceAll(".", "");
  const counted = amount(core, after);
  if (counted !== undefined) return closedAmount(counted, word, follow, past);
  if (word.lead.endsWith("(") && /^\d{3}$/.test(core) && word.tail === ")" && first !== undefined) {
    if (!/^\d{3}[-.]\d{4}$/.test(first.core)) return undefined;
    return closed(`${digits(core)} ${digits(first.core)}`, word, follow, 1);
  }
  if (!joined) return undefined;
  const day = /^(\d\d?)(?:st|nd|rd|th)?$/.exec(core);
  const named = day !== null && Number(day[1]) <= 31 ? month(after) : undefined;
  if (named) return dated(Number(day![1]), named, word, follow, past);
  const part = /^\d{1,4}$/.test(core) ? /^([1-9])\/(\d{1,2})$/.exec(after) : null;
  return part === null ? undefined : closed(token(`${core}_${part[0]}`), word, follow, 1);
}

function closedAmount(
  [text, more]: [string, boolean],
  word: WrittenWord,
  follow: Words,
  past: string,
): NormalizedWord {
  const taken = more ? 1 : 0;
  const last = taken ? follow[taken - 1]! : word;
  const noun = follow[taken];
  const describes = noun !== undefined && !last.tail && !noun.lead && noun.breaks < 2;
  const made = closed(describes ? asAdjective(text, past.toLowerCase(), noun.core) : text, word, follow, taken);
  const afterAll = follow[made.taken];
  const abbreviated = made.mark === "." && afterAll !== undefined && isLower(afterAll.core.slice(0, 1));
  return abbreviated ? { ...made, mark: "", ends: false } : made; // 5 ft. of snow
}

function dated(
  day: number,
  named: string,
  word: WrittenWord,
  follow: Words,
  past: string,
): NormalizedWord | undefined {
  const after = follow[0]!;
  const verb = after.core === "May" && follow.length > 1 && isLower(follow[1]!.core);
  if (["may", "in"].includes(past.toLowerCase()) || verb) return undefined;
  const said = `${past.toLowerCase() === "the" ? "" : "the "}${ordinal(day)} of ${named}`;
  if (SHORT_MONTHS.has(after.core.toLowerCase()) && after.tail.startsWith(".")) {
    const rest = new WrittenWord("", after.core, after.tail.slice(1));
    return { ...unended(said, rest, follow[1]), taken: 1 };
  }
  return closed(said, word, follow, 1);
}

/** Numbers whose reading depends on context, and symbols that stand alone. */
function numbered(word: WrittenWord, follow: Words, past: string): string | undefined {
  const { core } = word;
  const next = follow[0]?.core;
  const sign = core.length === 1 && "#*~".includes(core) && !startsWithDigit(next);
  if (startsHeading(word) || (core === ">" && word.breaks) || sign) return " ";
  if (/^\d{3}$/.test(core)) {
    const emergency = core === "911" && next !== undefined && EMERGENCY.has(next.toLowerCase());
    if (DIALED.has(past.toLowerCase()) || emergency) return digits(core);
  }
  if (core === "x" && endsWithDigit(past) && startsWithDigit(next)) return "by";
  if (Object.hasOwn(SYMBOLS, core)) return SYMBOLS[core];
  const named = month(past);
  if (named && /^\d\d?$/.test(core) && Number(core) <= 31 && (named !== "may" || past === "May")) {
    return Number(core) ? ordinal(Number(core)) : undefined;
  }
  const besideDigits = startsWithDigit(past) || startsWithDigit(next);
  return SHORT_MONTHS.has(core.toLowerCase()) && besideDigits ? month(core) : undefined;
}

