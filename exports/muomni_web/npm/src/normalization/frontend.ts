/** Text to spoken words: lower-case letters, apostrophes, spaces and a few punctuation marks. Text may come in pieces;
 * each word is final as soon as later text cannot change how it is spoken. */
import { MarkupFilter, type Piece } from "./markup.js";
import { LOOK, read, type NormalizedWord } from "./readings.js";
import { ALPHABET, cut, isPlain, saysSomething, startsHeading, startsItem, unspoken, WrittenWord } from "./written.js";
import { stripped, withoutSuffix } from "./text.js";

const LONGEST = 40; // most spoken words of a sentence
const ENOUGH = 25; // spoken words after which a sentence is cut at a comma
const LETTERS = 40; // most letters of a spoken word
const MOST_LETTERS = 400; // letters after which a sentence of long words ends
const NAMES = (
  "ay bee see dee ee ef gee aitch eye jay kay el em en oh pee cue are es tee you vee double_you ex why zee"
).split(" ");
const SINGLE = /(?<![a-z'])[a-z](?=(?:'s)?(?![a-z']))/g;
const WHITE = "\\s\\x1c-\\x1f\\x85";
const PARTS = new RegExp(`[${WHITE}]+|[^${WHITE}]+`, "g");
const IS_WHITE = new RegExp(`^[${WHITE}]`);

/** A piece of the text to speak, with the Thinker's state that produced it. */
export interface TextChunk {
  text: string;
  hidden?: Float32Array | undefined;
}

/** The spoken form of one written word. `ends`: a sentence ends here. */
export interface SpokenWord {
  text: string;
  hidden?: Float32Array | undefined;
  ends: boolean;
}

/** Incremental text normalization; the result does not depend on how the text is split. */
export class TextFrontend {
  /** what has no spoken form */
  readonly skipped = new Set<string>();
  private readonly markup = new MarkupFilter(this.skipped);
  private shown: string[] = [];
  private hidden: Float32Array | undefined;
  private last: Float32Array | undefined;
  private breaks = 1; // the start of the text counts as a new line
  private queue: { word: WrittenWord; hidden: Float32Array | undefined }[] = [];
  private before: WrittenWord | undefined;
  private held: SpokenWord | undefined;
  private mark = "";
  private count = 0;
  private letters = 0;
  private heading = false;

  /** Feed a piece of text; returns the words that are now final. */
  push(piece: TextChunk): SpokenWord[] {
    this.last = piece.hidden;
    this.take(this.markup.push(piece.text), piece.hidden);
    return this.drain(false);
  }

  /** The remaining words at the end of the text. */
  finish(): SpokenWord[] {
    this.take(this.markup.finish(), this.last);
    this.close();
    return [...this.drain(true), ...this.release(true)];
  }

  private take(pieces: readonly Piece[], hidden: Float32Array | undefined): void {
    for (const { shown } of pieces) {
      for (const part of shown.match(PARTS) ?? []) {
        if (IS_WHITE.test(part)) {
          this.close();
          this.breaks += part.split("\n").length - 1;
        } else {
          this.shown.push(part);
          this.hidden = hidden;
        }
      }
    }
  }

  /** End the current run of characters and queue its written words. */
  private close(): void {
    if (this.shown.length === 0) return;
    const text = this.shown.join("");
    unspoken(text).forEach((piece) => this.skipped.add(piece));
    const words = cut(text, this.breaks);
    this.queue.push(...words.map((word) => ({ word, hidden: this.hidden })));
    this.shown = [];
    if (words.length > 0) this.breaks = 0;
  }

  private drain(finished: boolean): SpokenWord[] {
    const made: SpokenWord[] = [];
    while (this.queue.length > 0) {
      const { word } = this.queue[0]!;
      const plain = isPlain(word);
      if (!finished && !plain && this.queue.length <= LOOK) return made;
      const follow = plain ? [] : this.queue.slice(1, LOOK + 1).map((one) => one.word);
      const reading = read(word, follow, this.before);
      if (word.breaks > 1 || startsItem(word) || (this.heading && word.breaks)) made.push(...this.release(true));
      this.heading = startsHeading(word) || (this.heading && !word.breaks);
      if (!reading.text.trim() && saysSomething(word)) this.skipped.add(word.lead + word.core + word.tail);
      const taken = this.queue.splice(0, reading.taken + 1);
      const last = taken[taken.length - 1]!;
      this.before = last.word;
      made.push(...this.say(reading, last.hidden, word.lead.includes("(") && !reading.taken));
      if (reading.ends) this.before = undefined;
    }
    return made;
  }

  /** Hold spoken words until the next are known. `opens`: a parenthesis opens before them. */
  private say(reading: NormalizedWord, hidden: Float32Array | undefined, opens: boolean): SpokenWord[] {
    const made: SpokenWord[] = [];
    const words: string[] = [];
    for (const word of reading.text.split(/\s+/).filter(Boolean)) {
      const kept = stripped(Array.from(word).filter((one) => ALPHABET.includes(one)).join(""), "'");
      for (let begin = 0; begin < kept.length; begin += LETTERS) words.push(kept.slice(begin, begin + LETTERS));
    }
    const { mark } = reading;
    if (this.held !== undefined && !this.mark) {
      if (words.length === 0 && mark) {
        this.mark = mark === "-" ? " -" : mark; // a mark that stands alone belongs to the word before it
        if (reading.ends) made.push(...this.release(true));
      } else if (words.length > 0 && opens) this.mark = ",";
    }
    if (words.length === 0) return made;
    for (let begin = 0; begin < words.length; begin += LONGEST) {
      const some = words.slice(begin, begin + LONGEST);
      const letters = some.reduce((sum, word) => sum + word.length, 0);
      made.push(...this.release(this.count + some.length > LONGEST || this.letters + letters > MOST_LETTERS));
      this.count += some.length;
      this.letters += letters;
      this.held = { text: some.join(" "), hidden, ends: false };
    }
    this.mark = mark;
    if (reading.ends || (this.count >= ENOUGH && mark)) made.push(...this.release(true));
    return made;
  }

  /** The word that waited for the next one. */
  private release(ends: boolean): SpokenWord[] {
    if (this.held === undefined) return [];
    const text = this.held.text + (ends ? withoutSuffix(this.mark, " -") : `${this.mark} `);
    const word = { ...this.held, text, ends };
    this.held = undefined;
    this.mark = "";
    if (ends) this.count = this.letters = 0;
    return [word];
  }
}

/** The same words with single letters as their names (u s b -> you es bee), as a Talker reads them. */
export class Pronouncer {
  private begins = true;

  of(word: SpokenWord): SpokenWord {
    const singles = word.text.match(SINGLE) ?? [];
    const alone = this.begins && word.ends && word.text.trim().split(/\s+/).length === 1;
    const kept = singles.length > 1 || alone ? "" : "aio";
    this.begins = word.ends;
    const named = (letter: string) =>
      kept.includes(letter) ? letter : NAMES[letter.charCodeAt(0) - 97]!.replace("_", " ");
    return { ...word, text: word.text.replace(SINGLE, named) };
  }
}

/** All words of a text as a Talker reads them, sentences joined by a space; empty if nothing can be spoken. */
export function pronounceable(text: string): string {
  const frontend = new TextFrontend();
  const pronouncer = new Pronouncer();
  const words = [...frontend.push({ text }), ...frontend.finish()].map((word) => pronouncer.of(word));
  return withoutSuffix(words.map((word) => word.text + (word.ends ? " " : "")).join(""), " ");
}
