/** The byte-level BPE of a `tokenizer.json`, read by hand: what muomni trains, and most of what it imports. */
import { RequestError } from "./errors.js";

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const SPACE = "\\t-\\r\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const WORD = "[\\p{L}\\p{M}\\p{N}\\p{Pc}]";

interface TokenizerFile {
  normalizer: { type: string } | null;
  pre_tokenizer: PreTokenizer | null;
  model: {
    type: string;
    vocab: Record<string, number>;
    merges: (string | [string, string])[];
    ignore_merges?: boolean;
  };
}

interface PreTokenizer {
  type: string;
  pretokenizers?: PreTokenizer[];
  pattern?: { Regex?: string; String?: string };
  behavior?: string;
  invert?: boolean;
  use_regex?: boolean;
  add_prefix_space?: boolean;
  individual_digits?: boolean;
}

type Splitter = (text: string) => string[];

/** The printable character of GPT-2's alphabet that spells each byte. */
const SPELLING: string[] = spelling();

function spelling(): string[] {
  const visible = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let hidden = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(visible(byte) ? byte : 0x100 + hidden++));
}

/** Text to ids and ids to bytes. Text that spells a special token is ordinary text. */
export class Tokenizer {
  private readonly ids: Map<string, number>;
  private readonly bytes: Uint8Array[] = [];
  private readonly ranks = new Map<string, number>();
  private readonly splitters: Splitter[];
  private readonly cache = new Map<string, number[]>();
  private readonly encoder = new TextEncoder();
  private readonly normalize: (text: string) => string;

  /** RequestError: the file describes another kind of tokenizer. `specials`: name -> id. */
  constructor(
    file: string,
    readonly specials: Readonly<Record<string, number>>,
  ) {
    const parsed = JSON.parse(file) as TokenizerFile;
    const { model } = parsed;
    if (model.type !== "BPE") throw unknown(`a ${model.type} model`);
    if (parsed.normalizer !== null && parsed.normalizer !== undefined && parsed.normalizer.type !== "NFC") {
      throw unknown(`the normalizer ${parsed.normalizer.type}`);
    }
    this.normalize = parsed.normalizer ? (text) => text.normalize("NFC") : (text) => text;
    this.ids = new Map(Object.entries(model.vocab));
    model.merges.forEach((merge, rank) => {
      this.ranks.set(typeof merge === "string" ? merge : merge.join(" "), rank);
    });
    if (model.ignore_merges) this.ids.forEach((id, piece) => this.cache.set(piece, [id]));
    const byteOf = new Map(SPELLING.map((character, byte) => [character, byte]));
    const special = new Set(Object.values(specials));
    for (const [piece, id] of this.ids) {
      this.bytes[id] = special.has(id)
        ? new Uint8Array()
        : Uint8Array.from(Array.from(piece, (character) => byteOf.get(character) ?? 0x3f));
    }
    this.splitters = splittersOf(parsed.pre_tokenizer);
  }

  encode(text: string): number[] {
    let pieces = [this.normalize(text)];
    for (const split of this.splitters) pieces = pieces.flatMap(split);
    return pieces.flatMap((piece) => this.merged(piece));
  }

  /** The bytes of one token; none for special tokens. */
  tokenBytes(id: number): Uint8Array {
    return this.bytes[id] ?? new Uint8Array();
  }

  decode(ids: readonly number[]): string {
    const decoder = new TextDecoder();
    return ids.map((id) => decoder.decode(this.tokenBytes(id), { stream: true })).join("") + decoder.decode();
  }

  private merged(piece: string): number[] {
    const spelt = Array.from(this.encoder.encode(piece), (byte) => SPELLING[byte]!);
    const key = spelt.join("");
    const known = this.cache.get(key);
    if (known !== undefined) return known;
    while (spelt.length > 1) {
      let best = Infinity;
      let place = -1;
      for (let at = 0; at + 1 < spelt.length; at++) {
        const rank = this.ranks.get(`${spelt[at]} ${spelt[at + 1]}`);
        if (rank !== undefined && rank < best) [best, place] = [rank, at];
      }
      if (place < 0) break;
      spelt.splice(place, 2, spelt[place]! + spelt[place + 1]!);
    }
    const ids = spelt.map((one) => this.ids.get(one)!);
    if (this.cache.size < 50_000) this.cache.set(key, ids);
    return ids;
  }
}

function unknown(what: string): RequestError {
  return new RequestError(
    `tokenizer.json has ${what}, which muomni-web does not read`,
    "use a byte-level BPE tokenizer, or run this model with muomni in Python",
  );
}

function splittersOf(part: PreTokenizer | null): Splitter[] {
  if (part === null) return [];
  switch (part.type) {
    case "Sequence":
      return part.pretokenizers!.flatMap(splittersOf);
    case "Split": {
      if (part.behavior !== "Isolated" || part.invert) throw unknown(`the split behavior ${part.behavior}`);
      const { Regex, String: text } = part.pattern!;
      return [isolated(Regex ?? text!.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))];
    }
    case "Digits":
      return [isolated(part.individual_digits ? "\\p{N}" : "\\p{N}+")];
    case "ByteLevel": {
      const prefixed: Splitter[] = part.add_prefix_space
        ? [(text) => [text.startsWith(" ") ? text : ` ${text}`]]
        : [];
      return part.use_regex === false ? prefixed : [...prefixed, isolated(GPT2)];
    }
    default:
      throw unknown(`the pre-tokenizer ${part.type}`);
  }
}

/** Cuts a text into the matches of a pattern and what lies between them. */
function isolated(pattern: string): Splitter {
  const expression = new RegExp(inScript(pattern), "gu");
  return (text) => {
    const pieces: string[] = [];
    let done = 0;
    for (const match of text.matchAll(expression)) {
      if (match.index > done) pieces.push(text.slice(done, match.index));
      if (match[0]) pieces.push(match[0]);
      done = match.index + match[0].length;
    }
    if (done < text.length) pieces.push(text.slice(done));
    return pieces;
  };
}

/** A pattern of the library `tokenizers` as a regular expression of JavaScript, where `\s` and `\b` mean other
 * characters and groups cannot ignore case. */
function inScript(pattern: string): string {
  let made = "";
  let inClass = false;
  const ignoring: boolean[] = [];
  for (let at = 0; at < pattern.length; at++) {
    const character = pattern[at]!;
    if (character === "\\") {
      const next = pattern[++at]!;
      if (next === "s") made += inClass ? SPACE : `[${SPACE}]`;
      else if (next === "S" && !inClass) made += `[^${SPACE}]`;
      else if (next === "b" && !inClass) made += `(?:(?<=${WORD})(?!${WORD})|(?<!${WORD})(?=${WORD}))`;
      else made += character + next;
      if ((next === "p" || next === "P" || next === "u") && pattern[at + 1] === "{") {
        const end = pattern.indexOf("}", at);
        made += pattern.slice(at + 1, end + 1);
        at = end;
      }
      continue;
    }
    if (character === "[" || character === "]") inClass = character === "[";
    if (character === "(" && !inClass) {
      const ignores = pattern.startsWith("(?i:", at);
      ignoring.push(ignores || ignoring.at(-1) === true);
      made += ignores ? "(?:" : "(";
      at += ignores ? 3 : 0;
      continue;
    }
    if (character === ")" && !inClass) ignoring.pop();
    const either = ignoring.at(-1) && /[a-z]/i.test(character) && pattern[at - 1] !== "?";
    made += either ? `[${character.toLowerCase()}${character.toUpperCase()}]` : character;
  }
  return made;
}
