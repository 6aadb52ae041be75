/** Removes markup from text that comes in pieces: HTML and SSML tags, character entities, targets of Markdown links. */
import { listed } from "./text.js";

const LONG_BREAK = 0.7; // seconds
const LONGEST = 1000; // characters that a tag, a comment or a link may have

const BLOCKS = listed(
  "p br div li ul ol tr table hr h1 h2 h3 h4 h5 h6 blockquote pre section article header footer title s sentence " +
    "paragraph",
);
const INLINE = listed(
  "a abbr amazon:effect audio b big body cite code del em emphasis font head html i img ins kbd lang mark " +
    "mstts:express-as phoneme prosody q say-as small span speak strike strong sub sup tbody td th thead token tt u " +
    "voice w",
);
const TAG =
  /<\/?([A-Za-z][\w:-]*)((?:\s+[\w:.-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+))*)\s*\/?>|<!--(?:.*?)-->|<[!?][^<>]*>/sy;
const ENTITY = /&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});/y;
const LINK = /\]\(([^\s()]*)\)/y;
const START = /<(?=[A-Za-z/!?]|\n?$)|&(?=[#A-Za-z]|\n?$)|\](?=\(|\n?$)/g;
const UNFINISHED = /^(?:<(?!!--)[^<>]*|<!--.*|<!?-?|&#?[0-9A-Za-z]{0,32}|\](?:\([^\s()]*)?)$/s;
const SECONDS = /time\s*=\s*["']?([\d.]+)(m?)s/;
const STRONG = /strength\s*=\s*["']?(?:x-)?strong/;

const LATIN =
  "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute micro " +
  "para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil " +
  "Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave " +
  "Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml " +
  "igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute " +
  "thorn yuml";
const ENTITIES = new Map<string, string>([
  ...LATIN.split(" ").map((name, place) => [name, String.fromCharCode(160 + place)] as [string, string]),
  ...Object.entries({
    ...{ amp: "&", AMP: "&", lt: "<", LT: "<", gt: ">", GT: ">", quot: '"', QUOT: '"', apos: "'" },
    ...{ ndash: "–", mdash: "—", lsquo: "‘", rsquo: "’", sbquo: "‚", ldquo: "“", rdquo: "”", bdquo: "„" },
    ...{ hellip: "…", bull: "•", trade: "™", euro: "€", minus: "−", le: "≤", ge: "≥", ne: "≠", asymp: "≈" },
    ...{ infin: "∞", pi: "π", rarr: "→", larr: "←", prime: "′", Prime: "″", ensp: "\u2002", emsp: "\u2003" },
    ...{ thinsp: "\u2009", zwnj: "\u200c", zwj: "\u200d", OElig: "Œ", oelig: "œ", Scaron: "Š", scaron: "š" },
    ...{ dollar: "$", percnt: "%", num: "#", commat: "@", ast: "*", plus: "+", equals: "=", lowbar: "_" },
    ...{ period: ".", comma: ",", colon: ":", semi: ";", excl: "!", quest: "?", lpar: "(", rpar: ")" },
  }),
]);

/** Text without markup, and what of the text as it was written it stands for. */
export interface Piece {
  shown: string;
  written: string;
}

const plain = (text: string): Piece => ({ shown: text, written: text });

/** Text without its markup; the result does not depend on how the text is split. */
export class MarkupFilter {
  private held = "";

  constructor(private readonly skipped: Set<string>) {}

  push(piece: string): Piece[] {
    return this.filtered(this.held + piece, false);
  }

  finish(): Piece[] {
    return this.filtered(this.held, true);
  }

  private filtered(text: string, finished: boolean): Piece[] {
    const made: Piece[] = [];
    let done = 0;
    this.held = "";
    for (;;) {
      START.lastIndex = done;
      const start = START.exec(text);
      if (start === null) break;
      made.push(plain(text.slice(done, start.index)));
      done = start.index;
      const near = text.slice(done, done + LONGEST);
      const found = replaced(near);
      if (found !== undefined) {
        if (found.link) this.skipped.add(found.link);
        made.push(found.piece);
        done += found.length;
      } else if (!finished && text.length - done < LONGEST && UNFINISHED.test(text.slice(done))) {
        this.held = text.slice(done);
        return made;
      } else {
        made.push(plain(text[done]!));
        done += 1;
      }
    }
    return [...made, plain(text.slice(done))];
  }
}

/** The text in place of the markup with which `text` begins; undefined if it is none. */
function replaced(text: string): { piece: Piece; length: number; link?: string } | undefined {
  for (const form of [TAG, ENTITY, LINK]) form.lastIndex = 0;
  const tag = TAG.exec(text);
  if (tag !== null) {
    const shown = ofTag(tag);
    return shown === undefined ? undefined : { piece: { shown, written: "" }, length: tag[0].length };
  }
  const entity = ENTITY.exec(text);
  if (entity !== null) {
    const shown = ofEntity(entity[0]);
    return shown === undefined ? undefined : { piece: { shown, written: entity[0] }, length: entity[0].length };
  }
  const link = LINK.exec(text);
  if (link === null) return undefined;
  return { piece: { shown: "", written: "]" }, length: link[0].length, ...(link[1] ? { link: link[1] } : {}) };
}

function ofEntity(entity: string): string | undefined {
  const name = entity.slice(1, -1);
  if (!name.startsWith("#")) return ENTITIES.get(name);
  const code = /^#[xX]/.test(name) ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10);
  if (code >= 128 && code < 160) return new TextDecoder("windows-1252").decode(Uint8Array.of(code));
  if (code === 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return "\ufffd";
  return String.fromCodePoint(code);
}

function ofTag(found: RegExpExecArray): string | undefined {
  const name = (found[1] ?? "").toLowerCase();
  if (name === "break") {
    const time = SECONDS.exec(found[2] ?? "");
    const points = time === null ? 0 : time[1]!.split(".").length - 1;
    const written = time === null ? "" : time[1]!.replace(/^\.+|\.+$/g, "");
    const seconds = time !== null && points < 2 ? Number(written || 0) / (time[2] ? 1000 : 1) : 0;
    return seconds >= LONG_BREAK || STRONG.test(found[2] ?? "") ? " . " : " , ";
  }
  if (BLOCKS.has(name)) return "\n\n";
  return !name || INLINE.has(name) ? "" : undefined;
}
