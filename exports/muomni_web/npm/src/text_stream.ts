/** The end of an answer: text that is final although stop strings or characters are incomplete, and repetition. */

const LONGEST_NGRAM = 8;
const COPIES = 4;

/** Decodes the tokens of one answer. Holds back what may become a stop string, and bytes of incomplete characters. */
export class TextStream {
  held = "";
  stopped = false;
  /** characters decoded so far */
  read = 0;
  private readonly decoder = new TextDecoder();
  private readonly stops: readonly string[];

  constructor(
    private readonly tokenBytes: (id: number) => Uint8Array,
    stops: readonly string[],
  ) {
    this.stops = stops.filter((stop) => stop !== "");
  }

  /** The text that is final after `token`. */
  push(token: number): string {
    return this.release(this.decoder.decode(this.tokenBytes(token), { stream: true }));
  }

  /** The rest, after the last token; an incomplete character becomes U+FFFD, or is dropped if later tokens were cut. */
  finish(cut = false): string {
    const text = cut ? "" : this.release(this.decoder.decode());
    const rest = this.held;
    this.held = "";
    return text + rest;
  }

  private release(fresh: string): string {
    if (this.stopped) return "";
    this.read += Array.from(fresh).length;
    const text = this.held + fresh;
    const places = this.stops.map((stop) => text.indexOf(stop)).filter((place) => place >= 0);
    if (places.length > 0) {
      this.stopped = true;
      this.held = "";
      return text.slice(0, Math.min(...places));
    }
    const final = text.length - Math.max(0, ...this.stops.map((stop) => overlap(text, stop)));
    this.held = text.slice(final);
    return text.slice(0, final);
  }
}

/** Length of the longest end of `text` that begins `stop`. */
function overlap(text: string, stop: string): number {
  for (let size = Math.min(text.length, stop.length - 1); size > 0; size--) {
    if (text.endsWith(stop.slice(0, size))) return size;
  }
  return 0;
}

/** Detects repetition in the tokens of one answer: 1 to 8 tokens four times in a row, or 32 tokens of digits alone. */
export class LoopGuard {
  /** tokens before the second copy, once there are four copies */
  cut: number | undefined;
  private readonly tokens: number[] = [];
  private readonly matched = new Array<number>(LONGEST_NGRAM + 1).fill(0);

  constructor(private readonly tokenBytes: (id: number) => Uint8Array) {}

  push(token: number): void {
    const { tokens, matched } = this;
    tokens.push(token);
    for (let n = 1; n <= Math.min(LONGEST_NGRAM, tokens.length - 1); n++) {
      matched[n] = tokens[tokens.length - 1 - n] === token ? matched[n]! + 1 : 0;
    }
    for (let n = 1; n <= LONGEST_NGRAM && this.cut === undefined; n++) {
      if (this.isLoop(n)) this.cut = this.begin(n);
    }
  }

  /** How many tokens from the start no loop can cut, however the answer continues. */
  get sure(): number {
    if (this.cut !== undefined) return this.cut;
    return Math.min(...this.matched.map((_, n) => this.begin(n)));
  }

  private begin(n: number): number {
    return this.tokens.length - this.matched[n]!;
  }

  private isLoop(n: number): boolean {
    const matched = this.matched[n]!;
    if (matched < (COPIES - 1) * n) return false;
    const bytes = this.tokens.slice(-n).flatMap((token) => Array.from(this.tokenBytes(token)));
    const number = bytes.length > 0 && bytes.every((byte) => byte >= 0x30 && byte <= 0x39);
    return matched >= COPIES * LONGEST_NGRAM - n || !number;
  }
}
