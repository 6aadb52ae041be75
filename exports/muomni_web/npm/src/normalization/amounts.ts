/** Amounts as words: money, percent and units, and numbers in other notations. */
import { cardinal, number, signed, SIGNS, NUMBER } from "./numbers.js";
import { calendarRange } from "./dates.js";
import { isAlpha, isLower, listed, partition, stripped, whole, withoutSuffix } from "./text.js";

/** By sign or code: one, many, one hundredth, many hundredths. */
const MONEY: Readonly<Record<string, readonly [string, string, string, string]>> = {
  "$": ["dollar", "dollars", "cent", "cents"],
  "€": ["euro", "euros", "cent", "cents"],
  "£": ["pound", "pounds", "penny", "pence"],
  "¥": ["yen", "yen", "", ""],
  "₹": ["rupee", "rupees", "paisa", "paise"],
  "₩": ["won", "won", "", ""],
  "₽": ["ruble", "rubles", "kopek", "kopeks"],
  "₺": ["lira", "lira", "kurush", "kurush"],
  "₴": ["hryvnia", "hryvnias", "kopiyka", "kopiykas"],
  "₫": ["dong", "dong", "", ""],
  "฿": ["baht", "baht", "satang", "satang"],
  "₱": ["peso", "pesos", "centavo", "centavos"],
  "₦": ["naira", "naira", "kobo", "kobo"],
  "₪": ["shekel", "shekels", "agora", "agorot"],
  "₿": ["bitcoin", "bitcoins", "", ""],
  "₸": ["tenge", "tenge", "", ""],
  "₡": ["colon", "colones", "", ""],
  USD: ["u s dollar", "u s dollars", "cent", "cents"],
  CAD: ["canadian dollar", "canadian dollars", "cent", "cents"],
  AUD: ["australian dollar", "australian dollars", "cent", "cents"],
  CHF: ["swiss franc", "swiss francs", "centime", "centimes"],
  CNY: ["yuan", "yuan", "", ""],
  RMB: ["yuan", "yuan", "", ""],
  SEK: ["swedish krona", "swedish kronor", "", ""],
  NOK: ["norwegian krone", "norwegian kroner", "", ""],
  DKK: ["danish krone", "danish kroner", "", ""],
  PLN: ["zloty", "zlotys", "grosz", "groszy"],
  CZK: ["czech koruna", "czech korunas", "", ""],
  BRL: ["real", "reais", "centavo", "centavos"],
  MXN: ["mexican peso", "mexican pesos", "centavo", "centavos"],
  ZAR: ["rand", "rand", "cent", "cents"],
};
export const CURRENCIES = Object.keys(MONEY).filter((key) => key.length === 1).join("");
export const CODES: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.keys(MONEY).filter((key) => key.length > 1).map((key) => [key, key])),
  ...{ EUR: "€", GBP: "£", JPY: "¥", INR: "₹", KRW: "₩", RUB: "₽", TRY: "₺", UAH: "₴", VND: "₫" },
  ...{ THB: "฿", PHP: "₱", NGN: "₦", ILS: "₪", BTC: "₿", KZT: "₸" },
};
const ARTICLES = listed("a an");
const NOUNS = listed(
  "acquisition aid bailout bid bill bond bonds bonus budget business campaign check company contract debt deal " +
    "deficit donation expansion facility fine fund fundraise gift grant house industry investment judgment jackpot " +
    "lawsuit loan loans loss merger mortgage note offer package plan prize profit program project purchase reward " +
    "round salary settlement stake surplus takeover tax ticket tickets valuation verdict",
);
const NO_NOUNS = listed(
  "a an and are as at but by each for from had has have he if in is it less more now of off on or per she since so " +
    "than that the then they this to today was we were which who will with worth you",
);
export const SCALES: Readonly<Record<string, string>> = {
  ...{ hundred: "hundred", thousand: "thousand", million: "million", billion: "billion", trillion: "trillion" },
  ...{ k: "thousand", m: "million", mn: "million", bn: "billion", b: "billion", tn: "trillion" },
};
const SCALE_WORDS = new Set([...Object.values(SCALES), "bn", "mn", "tn"]);
const UNITS: Readonly<Record<string, string>> = {
  ...{ km: "kilometer", m: "meter", cm: "centimeter", mm: "millimeter", "µm": "micrometer", nm: "nanometer" },
  ...{ mi: "mile", yd: "yard", ft: "foot/feet", in: "inch/inches", kg: "kilogram", g: "gram" },
  ...{ mg: "milligram", "µg": "microgram", lb: "pound", lbs: "pound", oz: "ounce", t: "ton" },
  ...{ l: "liter", L: "liter", ml: "milliliter", mL: "milliliter", cl: "centiliter", dl: "deciliter" },
  ...{ s: "second", sec: "second", secs: "second", ms: "millisecond", "µs": "microsecond", ns: "nanosecond" },
  ...{ min: "minute", mins: "minute", h: "hour", hr: "hour", hrs: "hour" },
  ...{ Hz: "hertz/hertz", kHz: "kilohertz/kilohertz", MHz: "megahertz/megahertz", GHz: "gigahertz/gigahertz" },
  ...{ W: "watt", kW: "kilowatt", MW: "megawatt", GW: "gigawatt", kWh: "kilowatt hour", Wh: "watt hour" },
  ...{ V: "volt", mV: "millivolt", kV: "kilovolt", A: "amp", mA: "milliamp", mAh: "milliamp hour" },
  ...{ J: "joule", kJ: "kilojoule", kcal: "kilocalorie", cal: "calorie", N: "newton", Pa: "pascal" },
  ...{ KB: "kilobyte", kB: "kilobyte", MB: "megabyte", GB: "gigabyte", TB: "terabyte", PB: "petabyte" },
  ...{ KiB: "kibibyte", MiB: "mebibyte", GiB: "gibibyte", kbps: "kilobit per second/kilobits per second" },
  ...{ Mbps: "megabit per second/megabits per second", Gbps: "gigabit per second/gigabits per second" },
  ...{ mph: "mile per hour/miles per hour", kph: "kilometer per hour/kilometers per hour", dB: "decibel" },
  ...{ "km/h": "kilometer per hour/kilometers per hour", kmh: "kilometer per hour/kilometers per hour" },
  ...{ "m/s": "meter per second/meters per second", fps: "frame per second/frames per second", px: "pixel" },
  ...{ "m^2": "square meter", "km^2": "square kilometer", "cm^2": "square centimeter", "m^3": "cubic meter" },
  ...{ "cm^3": "cubic centimeter", sqm: "square meter", sqft: "square foot/square feet", ha: "hectare" },
  ...{ "°": "degree", "°C": "degree celsius/degrees celsius", "°F": "degree fahrenheit/degrees fahrenheit" },
  ...{ "°N": "degree north/degrees north", "°S": "degree south/degrees south" },
  ...{ "°E": "degree east/degrees east", "°W": "degree west/degrees west" },
  ...{ "%": "percent/percent", "¢": "cent", rpm: "revolution per minute/revolutions per minute" },
  ...{ x: "times/times" },
};
// after a space, these are more often words or single letters
const ONLY_JOINED = listed("in A x t N J B cal min sec");

const AMOUNT = whole(
  `([-+±~≈]?)((?:US|A|C|CA|AU)?[${CURRENCIES}]|(?:${Object.keys(CODES).join("|")})(?=\\d)|)(${NUMBER})(.*)`,
);
const RANGE = whole(`(${NUMBER})([$€£%°]?)[-–](${NUMBER})(.+)`);
const OTHER_NUMBERS = new RegExp(
  "(?<![\\d.,'_])(?:(?<european>[1-9]\\d{0,2}(?:\\.\\d{3})+),(?<part>\\d+)|(?<dotted>[1-9]\\d{0,2}(?:\\.\\d{3}){2,})" +
    "|(?<swiss>[1-9]\\d{0,2}(?:['_]\\d{3})+)|(?<indian>\\d{1,2}(?:,\\d\\d)+,\\d{3})" +
    "|(?<money>(?<=€)[1-9]\\d{0,2}\\.\\d{3}|[1-9]\\d{0,2}\\.\\d{3}(?=€))|(?<comma>\\d+),(?<tail>\\d{1,2}|\\d{4,}))" +
    "(?![\\d_]|[.,]\\d)",
  "g",
);

const own = <T>(table: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined;

/** The key of a unit in the table; case is ignored for units of three letters or more. */
export function unit(text: string, apart: boolean): string | undefined {
  if (apart && ONLY_JOINED.has(text)) return undefined;
  if (own(UNITS, text) !== undefined) return text;
  const low = text.toLowerCase();
  return low.length > 2 && own(UNITS, low) !== undefined ? low : undefined;
}

/** Number and unit, singular after exactly one. */
export function withUnit(text: string, key: string): string {
  const [one, , many] = partition(UNITS[key]!, "/");
  return `${signed(text)} ${text === "1" || text === "-1" ? one : many || `${one}s`}`;
}

/** Other notations as NUMBER: 1.234,5 and 1'234 -> 1,234.5 and 1,234; 3,5 -> 3.5; 1,00,000 -> 100,000. */
export function regrouped(text: string): string {
  if (text.includes("–")) {
    const [first, , last] = partition(stripped(text, ".,;:!?()"), "–");
    if (calendarRange(first, last) !== undefined) return text.replaceAll("–", "-");
  }
  if (!/\d[.,'_]\d/.test(text)) return text;
  return text.replace(OTHER_NUMBERS, (...given) => {
    const hit = given[0] as string;
    const found = given[given.length - 1] as Record<string, string | undefined>;
    if (found.comma !== undefined) return `${found.comma}.${found.tail}`;
    const written = found.european ?? found.dotted ?? found.swiss ?? found.indian ?? found.money ?? "";
    const groups = written.split(/[.,'_]/);
    if (found.dotted && groups.length === 4 && groups.every((group) => Number(group) < 256)) return hit;
    let part = found.part ?? "";
    if (part && !Array.from(text).some((character) => CURRENCIES.includes(character))) {
      part = part.replace(/0+$/, "") || "0";
    }
    const bare = BigInt(groups.join("")).toString();
    return bare.replace(/\B(?=(\d{3})+$)/g, ",") + (part ? `.${part}` : "");
  });
}

/** € -> euros. */
export const currency = (sign: string): string => MONEY[sign]![1];

/** An amount in the singular if it describes the `noun` after it: a five dollar bill. */
export function asAdjective(said: string, before: string, noun: string): string {
  const described =
    NOUNS.has(noun) || (ARTICLES.has(before) && isAlpha(noun) && isLower(noun) && !NO_NOUNS.has(noun));
  if (!described) return said;
  for (const [one, many] of Object.values(MONEY)) {
    if (said.endsWith(` ${many}`)) return withoutSuffix(said, many) + one;
  }
  for (const names of Object.values(UNITS)) {
    const [one, , several] = partition(names, "/");
    const many = several || `${one}s`;
    if (ARTICLES.has(before) && said.endsWith(` ${many}`)) return withoutSuffix(said, many) + one;
  }
  return said;
}

/** $5.50 -> five dollars and fifty cents; €5.50 -> five euros fifty; $1.5 million -> one point five million dollars. */
export function money(sign: string, amountText: string, scale = ""): string {
  const [one, many, cent, cents] = own(MONEY, sign) ?? MONEY[own(CODES, sign) ?? sign.slice(-1)]!;
  if (scale) return `${number(amountText)} ${scale} ${many}`;
  const [front, point, after] = partition(amountText.replaceAll(",", ""), ".");
  if (!point || after.length !== 2 || !cent || front.length > 15) {
    return `${number(amountText)} ${amountText === "1" ? one : many}`;
  }
  const before = Number(front || 0);
  if (one === "euro" && before && after >= "10") {
    return `${cardinal(front)} ${front === "1" ? one : many} ${cardinal(after)}`;
  }
  const parts: string[] = [];
  if (before || !Number(after)) parts.push(`${cardinal(front || 0)} ${front === "1" ? one : many}`);
  if (Number(after)) parts.push(`${cardinal(after)} ${after === "01" ? cent : cents}`);
  return parts.join(" and ");
}

/** A number with a currency or a unit, and whether the word `follow` belongs to it; undefined if it has neither. */
export function amount(core: string, follow: string): [string, boolean] | undefined {
  if ((core.slice(1).match(/[-–]/g) ?? []).length > 1) return undefined;
  const span = RANGE.exec(core);
  if (span !== null) {
    const end = amount(span[3]! + span[4]!, "");
    if (end !== undefined) return [`${number(span[1]!)} to ${end[0]}`, false];
  }
  const hit = AMOUNT.exec(core);
  if (hit === null || /[-–]/.test(core.slice(1))) return amountSpan(core, follow);
  const [, sign, given, digits, rest] = hit as unknown as [string, string, string, string, string];
  const minus = own(SIGNS, sign) ?? "";
  const known = (key: string) => own(MONEY, key) !== undefined || own(CODES, key) !== undefined;
  if (given || known(rest)) {
    const name = given || (own(CODES, rest) ?? rest);
    const scale = own(SCALES, rest.toLowerCase());
    if (scale !== undefined) return [minus + money(name, digits, scale), false];
    if (rest === "" || known(rest)) {
      const scaled = rest === "" && SCALE_WORDS.has(follow.toLowerCase());
      return [minus + money(name, digits, scaled ? SCALES[follow.toLowerCase()]! : ""), scaled];
    }
    return undefined;
  }
  if (rest) {
    const key = unit(rest, false);
    return key === undefined ? undefined : [withUnit(sign + digits, key), false];
  }
  if (known(follow)) return [minus + money(own(CODES, follow) ?? follow, digits), true];
  const key = unit(follow, true);
  return key === undefined ? undefined : [withUnit(sign + digits, key), true];
}

/** $5-$10, $5-10 million, 5km-10km. */
function amountSpan(core: string, follow: string): [string, boolean] | undefined {
  const ends = core.split(/[-–]/);
  if (ends.length !== 2) return undefined;
  const first = amount(ends[0]!, "");
  if (first === undefined) return undefined;
  const last = amount(ends[1]!, follow);
  if (last !== undefined) return [`${first[0]} to ${last[0]}`, last[1]];
  const sign = ends[0]![0]!;
  const other = CURRENCIES.includes(sign) ? amount(sign + ends[1]!, follow) : undefined;
  return other === undefined ? undefined : [`${number(ends[0]!.slice(1))} to ${other[0]}`, other[1]];
}
