/** Dates, days, months and times of day as words. */
import { cardinal, ordinal, year } from "./numbers.js";
import { isUpper, whole } from "./text.js";

const DAY_NAMES = "monday tuesday wednesday thursday friday saturday sunday".split(" ");
const DAYS = new Map<string, string>([
  ...DAY_NAMES.map((day) => [day.slice(0, 3), day] as [string, string]),
  ["tues", "tuesday"],
  ["thur", "thursday"],
  ["thurs", "thursday"],
]);
const MONTHS = (
  "january february march april may june july august september october november december"
).split(" ");
const SHORT_MONTHS = new Map<string, string>([
  ...MONTHS.map((name) => [name.slice(0, 3), name] as [string, string]),
  ["sept", "september"],
]);
const ISO = whole("(\\d{4})[-/](\\d\\d?)[-/](\\d\\d?)(?:T(\\d\\d?:\\d\\d)(?::\\d\\d(?:\\.\\d+)?)?(?:Z|[-+]\\d\\d:?\\d\\d)?)?");
const SLASHED = whole("(\\d\\d?)([/.-])(\\d\\d?)\\2(\\d{4}|\\d\\d)");
const BRIEF = whole("(0[1-9]|1[0-2])/(0[1-9]|[12]\\d|3[01])");
const TIME = whole("(\\d\\d?)[:.](\\d\\d)(?::(\\d\\d))?\\s?([ap]\\.?m)?", "i");
const HOUR = whole("(\\d\\d?)([ap])\\.?m", "i");

/** The full name of a day or its abbreviation; undefined if it is not one, or not capitalized. */
export function weekday(core: string): string | undefined {
  const low = core.toLowerCase();
  if (!isUpper(core.slice(0, 1))) return undefined;
  return DAY_NAMES.includes(low) ? low : DAYS.get(low);
}

/** The full name of a month or its abbreviation; undefined if it is not one, or not capitalized. */
export function month(core: string): string | undefined {
  const low = core.toLowerCase();
  if (!isUpper(core.slice(0, 1))) return undefined;
  return MONTHS.includes(low) ? low : SHORT_MONTHS.get(low);
}

/** Mon, Fri -> monday to friday; undefined if they are not two days or two months. */
export function calendarRange(first: string, last: string): string | undefined {
  for (const reader of [weekday, month]) {
    const [begin, end] = [reader(first), reader(last)];
    if (begin && end) return `${begin} to ${end}`;
  }
  return undefined;
}

/** 2024-03-05, 3/5/2024 (month first unless impossible), 5.3.2024 (day first). */
export function date(core: string): string | undefined {
  const iso = ISO.exec(core);
  if (iso !== null) {
    const said = dayOf(Number(iso[2]), Number(iso[3]), iso[1]!);
    const clock = iso[4] ? time(iso[4]) : "";
    return said === undefined || clock === undefined ? undefined : `${said} ${clock}`.trim();
  }
  const brief = BRIEF.exec(core);
  if (brief !== null && (core[0] === "0" || core[3] === "0")) {
    return `${MONTHS[Number(brief[1]) - 1]} ${ordinal(Number(brief[2]))}`;
  }
  const hit = SLASHED.exec(core);
  if (hit === null) return undefined;
  const [first, second] = [Number(hit[1]), Number(hit[3])];
  let written = hit[4]!;
  if (written.length === 2) {
    if (hit[2] === ".") return undefined; // a version
    written = (Number(written) >= 50 ? "19" : "20") + written;
  }
  return hit[2] === "." || first > 12 ? dayOf(second, first, written) : dayOf(first, second, written);
}

function dayOf(at: number, day: number, written: string): string | undefined {
  if (!(at >= 1 && at <= 12 && day >= 1 && day <= 31)) return undefined;
  return `${MONTHS[at - 1]} ${ordinal(day)} ${year(Number(written))}`;
}

/** 3:05 -> three oh five; 3:00 -> three o'clock; 3:45pm -> three forty five p m; 3pm -> three p m. */
export function time(core: string): string | undefined {
  const hour = HOUR.exec(core);
  if (hour !== null && Number(hour[1]) <= 24) return `${cardinal(Number(hour[1]))} ${hour[2]!.toLowerCase()} m`;
  const hit = TIME.exec(core);
  if (hit === null || Number(hit[1]) > 24 || Number(hit[2]) > 59 || Number(hit[3] ?? 0) > 59) return undefined;
  if (core.slice(0, 3).includes(".") && !hit[4]) return undefined; // a decimal
  const [hours, minutes] = [Number(hit[1]), Number(hit[2])];
  let said = cardinal(hours);
  if (minutes) said += ` ${minutes < 10 ? "oh " : ""}${cardinal(minutes)}`;
  else if (hours > 12 || hours === 0) said = hours === 0 || hours === 24 ? "midnight" : `${said} hundred`;
  else if (!hit[4]) said += " o'clock";
  const seconds = Number(hit[3] ?? 0);
  if (seconds) said += ` and ${cardinal(seconds)} second${seconds === 1 ? "" : "s"}`;
  return hit[4] ? `${said} ${hit[4][0]!.toLowerCase()} m` : said;
}
