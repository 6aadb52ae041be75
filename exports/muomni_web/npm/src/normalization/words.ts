/** Reads a word independent of its context: acronyms, abbreviations, Roman numerals, web addresses, mixtures. */
import { currency, CURRENCIES, unit, withUnit } from "./amounts.js";
import { calendarRange, date, time } from "./dates.js";
import {
  cardinal,
  counted,
  decade,
  digits,
  fraction,
  number,
  NUMBER,
  ordinal,
  signed,
  whole as wholeNumber,
} from "./numbers.js";
import { hasAlphanumeric, isAlpha, isUpper, listed, partition, startsWithDigit, whole } from "./text.js";

export const SYMBOLS: Readonly<Record<string, string>> = {
  ...{ "&": "and", "@": "at", "+": "plus", "=": "equals", "/": "slash", "\\": "backslash", "%": "percent" },
  ...{ "#": "number", "°": "degrees", "<": "less than", ">": "greater than", "×": "times", "÷": "divided by" },
  ...{ "±": "plus or minus", "≈": "about", "≤": "at most", "≥": "at least", "≠": "is not", "π": "pi", "§": "section" },
  ...{ "©": "copyright", "∞": "infinity", "→": "to", "¢": "cents", "µ": "micro", "^": "to the power of", "~": "about" },
  ...{ "*": "times", "**": "star star" },
  ...Object.fromEntries(Array.from(CURRENCIES, (sign) => [sign, currency(sign)])),
};
const FIXED = new Map(
  Object.entries({
    ...{ "24/7": "twenty four seven", "9/11": "nine eleven", "and/or": "and or", "w/": "with", "w/o": "without" },
    ...{ "n/a": "n a", "c++": "c plus plus", "c#": "c sharp", "f#": "f sharp", co2: "c o two", h2o: "h two o" },
    ...{ "->": "to", "=>": "to", "<-": "from", "<=": "at most", ">=": "at least", "==": "equals", "!=": "is not" },
    ...{ "++": "plus plus", "&&": "and", "||": "or", "**": "star star" },
    ...{ "km/h": "kilometers per hour", "'90s": "nineties", "i/o": "i o", "a/c": "a c" },
  }),
);
export const DECADE = whole("'?(\\d0|\\d\\d\\d0)'?s");
const RUNS = new RegExp(
  `\\d+(?:st|nd|rd|th)(?![A-Za-z])|\\d+0s(?![A-Za-z])|${NUMBER}|\\*\\*|[A-Za-z]+(?:'[A-Za-z]+)*|[^A-Za-z0-9]`,
  "gu",
);

const READ = listed(
  "THE AND NOT YES NO ALL YOU ARE IS OF TO IN ON WE HE SHE BE DO SO IF OR BUT FOR CAN HAS HAD HIS HER WAS DID OUT " +
    "OUR OFF OLD NEW NOW ONE TWO SIX TEN WHY HOW MY ME BY AT AS AN UP GO OH HI MAY GET SEE SAY DAY WAY MAN TOP BIG " +
    "BAD CAT DOG RUN SUN RED HEY LET PUT TOO ANY END USE PIN RAM ROM GIF SIM ZIP",
);
const SPELLED = listed("ISBN IEEE ONNX HDMI NAACP UCLA RSVP AAAI UEFI ETA FAQ");
const OTHERWISE = new Map(
  Object.entries({ phd: "p h d", ok: "okay", tv: "t v", vs: "versus", aka: "a k a", cv: "c v" }),
);

/** Abbreviations whose period usually does not end a sentence. */
export const SHORT: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ...{ mr: "mister", mrs: "missus", ms: "miz", dr: "doctor", prof: "professor", rev: "reverend" },
    ...{ gen: "general", sen: "senator", rep: "representative", gov: "governor", lt: "lieutenant" },
    ...{ col: "colonel", sgt: "sergeant", capt: "captain", cpl: "corporal", maj: "major", hon: "honorable" },
    ...{ pres: "president", messrs: "messieurs", mme: "madame", mlle: "mademoiselle" },
    ...{ st: "saint", mt: "mount", ft: "fort", fig: "figure", figs: "figures", eq: "equation" },
    ...{ vol: "volume", pp: "pages", vs: "versus", cf: "compare", ca: "circa", approx: "approximately" },
    ...{ dept: "department", est: "established", govt: "government", univ: "university", assn: "association" },
    ...{ no: "number", nos: "numbers", ch: "chapter", ext: "extension", tel: "telephone", apt: "apartment" },
    ...{ "e.g": "for example", "i.e": "that is", viz: "namely" },
  }),
);
/** Abbreviations that often end a sentence. */
export const ENDING: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ...{ etc: "et cetera", inc: "incorporated", ltd: "limited", co: "company", corp: "corporation" },
    ...{ bros: "brothers", jr: "junior", sr: "senior", ave: "avenue", blvd: "boulevard", rd: "road" },
    ...{ "a.m": "a m", "p.m": "p m", "ph.d": "p h d", al: "al", esq: "esquire" },
  }),
);
/** Abbreviations only if capitalized. */
export const CAPITAL = listed(
  "gen sen rep gov lt col sgt capt cpl maj hon rev pres st mt ft prof mr mrs ms dr messrs mme mlle",
);
/** Abbreviations only before a number. */
export const NUMBERED = listed("no nos ch ext fig figs eq vol pp apt ca est tel p");
/** Abbreviations that British English writes without a period. */
export const TITLES = listed("mr mrs ms dr prof");

const KINGS = listed(
  "henry louis elizabeth george edward charles james william richard john paul pius benedict leo philip francis " +
    "napoleon alexander catherine mary ivan nicholas peter frederick gregory innocent clement urban ramesses ptolemy " +
    "christian gustav henri carl haakon harald robert david constantine leopold maximilian otto wilhelm victor",
);
const COUNTED = listed(
  "chapter part volume act scene book section war appendix phase type class title level article stage grade " +
    "figure table step version unit",
);
const ROMAN = whole("(?=[IVX])(X{0,3})(IX|IV|V?I{0,3})");
const ONES: Readonly<Record<string, number>> = {
  ...{ "": 0, I: 1, II: 2, III: 3, IV: 4, V: 5, VI: 6, VII: 7, VIII: 8, IX: 9 },
};
const DOMAIN = whole(
  "(?:https?://|ftp://)?((?:[A-Za-z0-9-]+\\.)+(?:com|org|net|edu|gov|io|ai|co|uk|de|fr|eu|dev|app|info|us|ca|tv|me))" +
    "((?::\\d+)?(?:[/?#].*)?)",
);
const SCHEME = /^(?:https?|ftp|file|mailto):\/*/;
const MAIL = whole("[\\w.+-]+@[\\w-]+(?:\\.[\\w-]+)*");
const WEB: Readonly<Record<string, string>> = {
  ...{ ".": "dot", "/": "slash", "@": "at", "-": "dash", _: "underscore", "?": "question mark", "=": "equals" },
  ...{ "&": "and", "#": "hash", ":": "colon", "+": "plus", "%": "percent", "~": "tilde", "\\": "backslash" },
};
const SUFFIXES = listed("com org net edu gov info app dev");

/** USB -> u s b. */
const spell = (letters: string): string => Array.from(letters.toLowerCase()).join(" ");

/** Letters and apostrophes, read as a word or letter by letter. */
function word(text: string): string {
  const otherwise = OTHERWISE.get(text.toLowerCase());
  if (otherwise !== undefined) return otherwise;
  const [bare, , end] = partition(text, "'");
  const plural = bare.length > 2 && bare.endsWith("s") && isUpper(bare.slice(0, -1));
  const capitals = plural ? bare.slice(0, -1) : bare;
  const byLetter = capitals.length <= 3 || SPELLED.has(capitals) || !/[AEIOUY]/.test(capitals);
  if (capitals.length === 1 || !isUpper(capitals) || READ.has(capitals) || !byLetter) return text.toLowerCase();
  return spell(capitals) + (plural ? "'s" : "") + (end ? `'${end.toLowerCase()}` : "");
}

/** Henry VIII -> the eighth; Chapter IV -> four; undefined if ambiguous. */
export function roman(text: string, before: string): string | undefined {
  const hit = ROMAN.exec(text);
  if (hit === null) return undefined;
  const value = 10 * hit[1]!.length + ONES[hit[2]!]!;
  if (COUNTED.has(before.toLowerCase())) return cardinal(value);
  const king = isUpper(before.slice(0, 1)) && KINGS.has(before.toLowerCase());
  return king && text !== "I" ? `the ${ordinal(value)}` : undefined;
}

/** john@example.com -> john at example dot com; the scheme is dropped. */
function web(core: string): string | undefined {
  const rest = core.replace(SCHEME, "");
  const known = rest !== core || core.toLowerCase().startsWith("www.") || DOMAIN.test(core) || MAIL.test(core);
  if (!known || !rest) return undefined;
  const said = (rest.replace(/\/+$/, "").match(/[A-Za-z]+|\d+|./gsu) ?? []).map((run) => {
    if (/^[A-Za-z]+$/.test(run)) {
      const alone = (run.length <= 2 && !READ.has(run.toUpperCase())) || run.toLowerCase() === "www";
      return alone && !SUFFIXES.has(run.toLowerCase()) ? spell(run) : word(run);
    }
    return startsWithDigit(run) ? wholeNumber(run) : (WEB[run] ?? "");
  });
  return said.filter(Boolean).join(" ");
}

/** Spoken words of `core`, possibly none. */
export function token(core: string): string {
  const fixed = FIXED.get(core.toLowerCase());
  if (fixed !== undefined) return fixed;
  for (const reader of [letters, web, date, time, countedForms, ranges, codes]) {
    const said = reader(core);
    if (said !== undefined) return said;
  }
  return mixed(core);
}

const DOTTED = whole("(?:[A-Za-z]\\.)+[A-Za-z]");
const HYPHENATED = whole("[A-Za-z]+(?:'[A-Za-z]+)*(?:-[A-Za-z]+(?:'[A-Za-z]+)*)*");

export const isDotted = (core: string): boolean => DOTTED.test(core);

/** Hyphenated words; dotted letters (U.S.A). */
function letters(core: string): string | undefined {
  if (isDotted(core)) return spell(core.replaceAll(".", ""));
  const ends = core.split("-");
  const span = ends.length === 2 ? calendarRange(ends[0]!, ends[1]!) : undefined;
  if (span !== undefined) return span;
  return HYPHENATED.test(core) ? ends.map(word).join(" ") : undefined;
}

const ORDINAL = whole("(\\d[\\d,]{0,15})(?:st|nd|rd|th)", "i");
const FRACTION = whole("(?:(\\d{1,6})_)?(\\d{1,3})/(\\d{1,3})");
const SCIENTIFIC = whole(`(${NUMBER})[eE]([-+]?\\d{1,3})`);
const POWER = whole(`(${NUMBER}|[A-Za-z])\\^(-?\\d+)`);
const BARE = whole(`[-+±~≈]?(?:${NUMBER})`);

/** Ordinals, decades, fractions, powers, plain numbers. */
function countedForms(core: string): string | undefined {
  let hit = ORDINAL.exec(core);
  if (hit) return ordinal(hit[1]!.replaceAll(",", ""));
  hit = DECADE.exec(core);
  if (hit) return decade(Number(hit[1]));
  hit = FRACTION.exec(core);
  if (hit) {
    const said = fraction(Number(hit[2]), Number(hit[3]));
    if (!hit[1]) return said;
    return `${cardinal(hit[1])} and ${said.startsWith("one ") ? `a ${said.slice(4)}` : said}`;
  }
  hit = SCIENTIFIC.exec(core);
  if (hit) return `${number(hit[1]!)} times ten to the power of ${signed(hit[2]!.replaceAll("+", ""))}`;
  hit = POWER.exec(core);
  if (hit) {
    const power = { "2": "squared", "3": "cubed" }[hit[2]!] ?? `to the power of ${mixed(hit[2]!)}`;
    return `${isAlpha(hit[1]!) ? hit[1]!.toLowerCase() : number(hit[1]!)} ${power}`;
  }
  return BARE.test(core) ? counted(core) : undefined;
}

const TELEPHONE = whole("\\+?(?:\\d{1,3}[-.])?(?:\\(?\\d{3}\\)?[-.])?\\d{3}[-.]\\d{4}|\\+\\d{7,15}");
const PAIR = whole("([^-–]+)[-–]([^-–]+)");
const NUMBERS_PAIR = whole(`(${NUMBER})[-–](${NUMBER})`);
const RATIO = whole("(\\d+):(\\d+)");
const PRODUCT = whole(`(${NUMBER})([x×*])(${NUMBER})`);
const FEET = whole("(\\d+)'(\\d+)\"");
const ONLY_NUMBER = whole(NUMBER);

/** 5-10, 1990-1995; telephone numbers; scores and ratios; 3x4. */
function ranges(core: string): string | undefined {
  if (TELEPHONE.test(core)) return (core.startsWith("+") ? "plus " : "") + digits(core);
  let hit = PAIR.exec(core);
  if (hit) {
    const [first, last] = [time(hit[1]!), time(hit[2]!)];
    if (last && (first || (/^\d\d?$/.test(hit[1]!) && Number(hit[1]) <= 24))) {
      return `${first ?? cardinal(hit[1]!)} to ${last}`;
    }
    const key = unit(hit[2]!, true);
    if (key !== undefined && ONLY_NUMBER.test(hit[1]!)) {
      return `${number(hit[1]!)} ${partition(withUnit("1", key), " ")[2]}`;
    }
  }
  hit = NUMBERS_PAIR.exec(core);
  if (hit) return `${counted(hit[1]!)} to ${counted(hit[2]!)}`;
  hit = RATIO.exec(core);
  if (hit) return `${wholeNumber(hit[1]!)} to ${wholeNumber(hit[2]!)}`;
  hit = PRODUCT.exec(core);
  if (hit) return `${counted(hit[1]!)} ${hit[2] === "x" ? "by" : "times"} ${counted(hit[3]!)}`;
  hit = FEET.exec(core);
  return hit ? `${wholeNumber(hit[1]!)} feet ${wholeNumber(hit[2]!)} inches` : undefined;
}

const VERSION = whole("([vV]?)(\\d+(?:\\.\\d+)+)");
const ISSUE = whole("#(\\d+)");
const HASHTAG = whole("#([A-Za-z]\\w*)");

/** Versions, IP addresses, #1, hashtags. */
function codes(core: string): string | undefined {
  let hit = VERSION.exec(core);
  if (hit) {
    const parts = hit[2]!.split(".");
    if (hit[1] || parts.length > 2) {
      const address = parts.length === 4;
      const said = parts.map(address ? digits : wholeNumber).join(address ? " dot " : " point ");
      return (hit[1] ? "version " : "") + said;
    }
  }
  hit = ISSUE.exec(core);
  if (hit) return `number ${wholeNumber(hit[1]!)}`;
  hit = HASHTAG.exec(core);
  return hit ? `hashtag ${mixed(hit[1]!)}` : undefined;
}

/** Anything else, run by run: MP3 -> m p three; foo.txt -> foo dot t x t. Empty for pictures of signs, such as ^_^. */
function mixed(core: string): string {
  if (core.length > 1 && !hasAlphanumeric(core)) return "";
  const runs = core.match(RUNS) ?? [];
  const said = runs.map((run, at) => {
    const signsNumber = startsWithDigit(runs[at + 1]) && (at === 0 || !hasAlphanumeric(runs[at - 1]![0]!));
    if (DECADE.test(run)) return decade(Number(run.slice(0, -1)));
    if (startsWithDigit(run) && isAlpha(run.slice(-1))) return ordinal(run.slice(0, -2));
    if (startsWithDigit(run) || (run.startsWith(".") && run.length > 1)) {
      return runs.length > 1 && !run.startsWith(".") ? counted(run) : number(run);
    }
    if (isAlpha(run[0]!)) {
      // beside digits or symbols, short capitals and letters without a vowel are spelled
      const short = isAlpha(run) && ((isUpper(run) && run.length <= 3) || !/[aeiouy]/.test(run.toLowerCase()));
      return short && runs.length > 1 ? spell(run) : word(run);
    }
    if (run === "-" && signsNumber) return "minus";
    if (run === "." && at > 0 && at < runs.length - 1) return "dot";
    if (run === "#" && at) return "sharp";
    return SYMBOLS[run] ?? "";
  });
  return said.filter(Boolean).join(" ");
}
