/** Transcription: the audio encoder of its own stage with its CTC head (Graves et al., ICML 2006), greedy decoding. */
import { prepared, resample, samplesPerToken, tokenCount, type Sound } from "./audio.js";
import { RequestError } from "./errors.js";
import { floats, Graph, type Ort } from "./graph.js";
import type { Bundle, PartEntry } from "./manifest.js";
import { argmax } from "./sampling.js";

/** A word, and when it is spoken, in seconds. */
export interface Word {
  text: string;
  start: number;
  end: number;
}

const WINDOW = 20; // seconds of a window
const SIDE = 2; // seconds at either side of a window that serve only as context
const ROOM = 0.16; // seconds of silence added before and after a recording
const BLANK = 0;

interface Mark {
  symbol: number;
  begin: number;
  end: number;
}

export class Recognizer {
  private constructor(
    private readonly part: PartEntry,
    private readonly encoder: Graph,
    private readonly head: Graph,
  ) {}

  /** RequestError: the model has no head for transcripts. */
  static async open(ort: Ort, bundle: Bundle): Promise<Recognizer> {
    const part = [bundle.part("audio-alone"), bundle.part("audio")].find((one) => one?.graphs.head !== undefined);
    if (part === undefined || typeof part.config.characters !== "string") {
      throw new RequestError("this model cannot transcribe", "export one whose audio encoder was trained by itself");
    }
    const encoder = await Graph.open(ort, bundle, part.graphs.encoder!);
    return new Recognizer(part, encoder, await Graph.open(ort, bundle, part.graphs.head!));
  }

  /** The words of a recording of any length; each is passed to `onWord` once it is final. */
  async words(sound: Sound, onWord: (word: Word) => void = () => {}): Promise<Word[]> {
    const rate = this.part.config.sample_rate as number;
    const wave = resample(sound, rate);
    const shortest = samplesPerToken(this.part);
    if (wave.length < shortest) return [];
    const room = Math.round((ROOM * rate) / shortest) * shortest;
    const padded = new Float32Array(wave.length + 2 * room);
    padded.set(wave, room);
    const classes: number[] = [];
    const found: Word[] = [];
    let told = 0;
    const tell = (final: number) => {
      for (const [at, word] of this.wordsOf(classes, final).entries()) {
        if (at < told) continue;
        const timed = fitted(word, room / rate, wave.length / rate, shortest / rate);
        found.push(timed);
        told++;
        onWord(timed);
      }
    };
    for await (const scored of this.windows(padded)) {
      classes.push(...scored);
      tell(classes.length);
    }
    tell(Infinity);
    return found;
  }

  /** The most likely class of every token, window by window. */
  private async *windows(padded: Float32Array): AsyncGenerator<number[]> {
    const shortest = samplesPerToken(this.part);
    const rate = this.part.config.sample_rate as number;
    const [window, side] = [WINDOW, SIDE].map((seconds) => Math.round((seconds * rate) / shortest)) as [number, number];
    let begin = 0;
    let first = 0;
    while (padded.length - begin > window * shortest) {
      const heard = await this.classes(padded.subarray(begin, begin + window * shortest));
      yield heard.slice(first, window - side);
      begin += (window - 2 * side) * shortest;
      first = side;
    }
    if (padded.length - begin >= shortest) yield (await this.classes(padded.subarray(begin))).slice(first);
  }

  private async classes(wave: Float32Array): Promise<number[]> {
    const ready = prepared(this.part, wave);
    const inputs = this.encoder.float(ready.wave, [1, ready.wave.length]);
    const { tokens } = await this.encoder.run({ inputs });
    const { scores } = await this.head.run({ tokens: tokens! });
    const [, count, width] = scores!.dims as [number, number, number];
    const values = floats(scores);
    const heard = Array.from({ length: count }, (_, at) => argmax(values.subarray(at * width, (at + 1) * width)));
    if (ready.stay.every(Boolean)) return heard;
    let next = 0;
    return Array.from({ length: tokenCount(this.part, wave.length) }, (_, at) =>
      ready.stay[at] ? (heard[next++] ?? BLANK) : BLANK,
    );
  }

  /** The words whose end is known: those before a space, and all once `final` is infinite. */
  private wordsOf(classes: readonly number[], final: number): Word[] {
    const characters = Array.from(this.part.config.characters as string);
    const seconds = samplesPerToken(this.part) / (this.part.config.sample_rate as number);
    const marks: Mark[] = [];
    for (let begin = 0; begin < classes.length; ) {
      let end = begin + 1;
      while (end < classes.length && classes[end] === classes[begin]) end++;
      if (classes[begin] !== BLANK && end < final) marks.push({ symbol: classes[begin]!, begin, end });
      begin = end;
    }
    const words: Word[] = [];
    let open: Mark[] = [];
    const close = () => {
      if (open.length > 0) {
        const text = open.map((mark) => characters[mark.symbol - 1]).join("");
        words.push({ text, start: open[0]!.begin * seconds, end: open[open.length - 1]!.end * seconds });
      }
      open = [];
    };
    for (const mark of marks) {
      if (characters[mark.symbol - 1] === " ") close();
      else open.push(mark);
    }
    if (final === Infinity) close();
    return words;
  }
}

/** The times of a word without the silence before it; it lasts at least one token. */
function fitted(word: Word, early: number, last: number, token: number): Word {
  const start = Math.min(Math.max(word.start - early, 0), last - token);
  const end = Math.min(Math.max(word.end - early, start + token), last);
  const thousandths = (seconds: number) => Math.round(seconds * 1000) / 1000;
  return { text: word.text, start: thousandths(start), end: thousandths(end) };
}
