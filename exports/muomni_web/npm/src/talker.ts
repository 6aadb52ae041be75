/** The Talker: words to code frames, while the text is still being written. */
import { RequestError } from "./errors.js";
import { floats, Graph, joined, type Feeds, type Ort } from "./graph.js";
import type { Bundle, PartEntry } from "./manifest.js";
import type { SpokenWord } from "./normalization/frontend.js";
import { END_SYMBOL, START_SYMBOL, symbols } from "./normalization/written.js";
import { roundHalfEven } from "./rounding.js";
import { draw, Random, type Sampling } from "./sampling.js";

const [FEWEST, MOST, EACH, EACH_LETTER] = [50, 1000, 30, 6]; // code frames of a text

/** Draws a code from logits. */
export type Sampler = (logits: Float32Array) => number;

/** Code frames are drawn with the Talker's own temperature unless another is given. */
export function codeSampler(part: PartEntry, temperature: number | undefined, seed: number): Sampler {
  const heat = temperature ?? (part.config.temperature as number | undefined) ?? 0;
  const sampling: Sampling = { temperature: heat, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1 };
  const random = new Random(seed);
  return (logits) => draw(logits, sampling, random);
}

/** The graphs of a Talker. */
export class Talker {
  private constructor(
    readonly part: PartEntry,
    private readonly graphs: ReadonlyMap<string, Graph>,
  ) {}

  /** RequestError: the model does not speak. */
  static async open(ort: Ort, bundle: Bundle): Promise<Talker> {
    const part = bundle.part("talker");
    if (part === undefined) throw new RequestError("this model has no voice", "export one with a Talker");
    const graphs = new Map<string, Graph>();
    for (const [name, entry] of Object.entries(part.graphs)) graphs.set(name, await Graph.open(ort, bundle, entry));
    return new Talker(part, graphs);
  }

  get codebooks(): number {
    return this.part.codes!.codebooks;
  }

  /** Whether frames are decoded one by one. */
  get causal(): boolean {
    return this.graphs.has("step");
  }

  /** The index of a voice. RequestError: there is no such voice. */
  voiceIndex(name: string | undefined): number {
    if (name === undefined) return 0;
    const place = (this.part.voices ?? []).indexOf(name);
    if (place < 0) {
      const known = (this.part.voices ?? []).join(", ") || "one without a name";
      throw new RequestError(`this model has no voice "${name}"`, `its voices: ${known}`);
    }
    return place;
  }

  /** A new sentence; `speed` is from 0.9 to 1.1. */
  sentence(voice: number, speed: number): Sentence {
    return new Sentence(this, voice, speed);
  }

  /** Features (n,W) and durations (n,) of the symbols from `first` to `last`. */
  async read(
    ids: readonly number[],
    voice: number,
    hidden: readonly (Float32Array | undefined)[],
    first: number,
    last: number,
  ): Promise<{ features: Float32Array; durations: Float32Array }> {
    const graph = this.graphs.get("reader")!;
    const feeds: Feeds = { ids: graph.int64(ids, [1, ids.length]), voice: graph.int64([voice], [1]) };
    const width = this.part.thinker_width ?? 0;
    if (width > 0) {
      const silent = new Float32Array(width);
      feeds.thoughts = graph.float(joined(hidden.map((state) => state ?? silent)), [1, ids.length, width]);
    }
    const made = await graph.run(feeds);
    const features = floats(made.features).subarray(first * this.featureWidth, last * this.featureWidth);
    return { features, durations: floats(made.durations).subarray(first, last) };
  }

  get featureWidth(): number {
    return this.part.config.d_text as number;
  }

  /** The conditioning (T,D) of frames, from the features (S,W) and the symbol, elapsed and left of each slot. */
  async plan(features: Float32Array, slots: readonly Slot[]): Promise<Float32Array[]> {
    const graph = this.graphs.get("framer")!;
    const each = this.part.config.subframes as number;
    const dims = [1, slots.length / each, each];
    const made = await graph.run({
      features: graph.float(features, [1, features.length / this.featureWidth, this.featureWidth]),
      symbol: graph.int64(slots.map((slot) => slot[0]), dims),
      elapsed: graph.int64(slots.map((slot) => slot[1]), dims),
      left: graph.int64(slots.map((slot) => slot[2]), dims),
    });
    return rowsOf(floats(made.plan), this.part.config.d_model as number);
  }

  emptyMemory(): Feeds {
    return this.graphs.get("step")?.emptyStates() ?? {};
  }

  /** The state of the next frame; `memory` is replaced by what the frame after it needs. */
  async step(before: readonly number[], plan: Float32Array, memory: Feeds): Promise<Float32Array> {
    const graph = this.graphs.get("step")!;
    const made = await graph.run({
      before: graph.int64(before, [1, 1, before.length]),
      plan: graph.float(plan, [1, 1, plan.length]),
      ...memory,
    });
    Object.assign(memory, graph.nextStates(made));
    return floats(made.states);
  }

  /** The states of all frames of a sentence. */
  async whole(plans: readonly Float32Array[]): Promise<Float32Array[]> {
    const graph = this.graphs.get("whole")!;
    const width = this.part.config.d_model as number;
    const made = await graph.run({ plan: graph.float(joined(plans), [1, plans.length, width]) });
    return rowsOf(floats(made.states), width);
  }

  /** The codes of a frame, each drawn given those before it. */
  async draw(state: Float32Array, sampler: Sampler): Promise<number[]> {
    const codes: number[] = [];
    for (let q = 0; q < this.codebooks; q++) {
      const graph = this.graphs.get(`head${q}`)!;
      const feeds: Feeds = { states: graph.float(state, [1, state.length]) };
      if (q > 0) feeds.codes = graph.int64(codes, [1, q]);
      codes.push(sampler(floats((await graph.run(feeds)).logits)));
    }
    return codes;
  }
}

/** A slot of the plan: its symbol, and how many slots of that symbol lie before and after it. */
type Slot = readonly [number, number, number];

function rowsOf(values: Float32Array, width: number): Float32Array[] {
  return Array.from({ length: values.length / width }, (_, row) => values.slice(row * width, (row + 1) * width));
}

/** One sentence while its words come in: the symbols so far, the plan of its final frames, and their codes. */
export class Sentence {
  private readonly ids: number[] = [START_SYMBOL];
  private readonly hidden: (Float32Array | undefined)[] = [undefined];
  private features: Float32Array[] = [];
  private done = 0; // symbols whose features are final
  private clock = 0; // their duration in slots, before rounding
  private readonly slots: Slot[] = [];
  private planned = 0; // final frames
  private plans: Float32Array[] = [];
  private words = 0;
  private letters = 0;
  private decoded = 0;
  private readonly memory: Feeds;
  private before: number[];

  constructor(
    private readonly talker: Talker,
    private readonly voice: number,
    private readonly speed: number,
  ) {
    this.memory = talker.emptyMemory();
    this.before = new Array<number>(talker.codebooks).fill(0);
  }

  /** Add a word; yields the code frames that can be decoded with it. */
  async *add(word: SpokenWord, sampler: Sampler): AsyncGenerator<number[]> {
    const added = symbols(word.text);
    this.ids.push(...added);
    added.forEach(() => this.hidden.push(word.hidden));
    if (word.ends) {
      this.ids.push(END_SYMBOL);
      this.hidden.push(undefined);
    }
    const spoken = word.text.split(/\s+/).filter(Boolean);
    this.words += spoken.length;
    this.letters += spoken.reduce((sum, one) => sum + one.length, 0);
    await this.read(word.ends);
    yield* this.decode(await this.plan(word.ends), sampler, word.ends);
  }

  /** Compute features and durations of the symbols that are now final. */
  private async read(ended: boolean): Promise<void> {
    const { config } = this.talker.part;
    const reach = (config.text_layers as number) * Math.floor((config.text_kernel as number) / 2);
    const final = ended ? this.ids.length : Math.max(this.done, this.ids.length - reach);
    if (final === this.done) return;
    const first = Math.max(0, this.done - reach);
    const last = Math.min(this.ids.length, final + reach);
    const made = await this.talker.read(
      this.ids.slice(first, last),
      this.voice,
      this.hidden.slice(first, last),
      this.done - first,
      final - first,
    );
    this.features.push(made.features);
    made.durations.forEach((lasting, at) => {
      this.clock += lasting / this.speed; // so that rounding errors carry over to the next symbols
      this.extend(this.done + at, roundHalfEven(this.clock) - this.slots.length);
    });
    this.done = final;
    const each = config.subframes as number;
    if (ended) this.extend(final - 1, (each - (this.slots.length % each)) % each);
  }

  private extend(symbol: number, count: number): void {
    for (let at = 0; at < count; at++) this.slots.push([symbol, at, count - 1 - at]);
  }

  /** The plan of the frames that became final: those whose neighbors are there. */
  private async plan(ended: boolean): Promise<Float32Array[]> {
    const each = this.talker.part.config.subframes as number;
    const whole = Math.floor(this.slots.length / each);
    const ready = ended ? whole : Math.max(this.planned, whole - 1);
    const made = this.planned;
    if (ready === made) return [];
    const first = Math.max(0, made - 1);
    const last = Math.min(whole, ready + 1);
    this.planned = ready;
    const plan = await this.talker.plan(joined(this.features), this.slots.slice(first * each, last * each));
    return plan.slice(made - first, ready - first);
  }

  private async *decode(plan: readonly Float32Array[], sampler: Sampler, ended: boolean): AsyncGenerator<number[]> {
    const likely = Math.max(FEWEST, Math.min(MOST, Math.max(EACH * this.words, EACH_LETTER * this.letters)));
    const most = Math.min(roundHalfEven(likely / this.speed), this.talker.part.config.ctx_len as number);
    const room = Math.max(0, most - this.decoded);
    if (this.talker.causal) {
      for (const row of plan.slice(0, room)) {
        this.before = await this.talker.draw(await this.talker.step(this.before, row, this.memory), sampler);
        this.decoded++;
        yield this.before;
      }
      return;
    }
    this.plans.push(...plan);
    if (!ended) return;
    for (const state of await this.talker.whole(this.plans.slice(0, room))) yield await this.talker.draw(state, sampler);
  }
}
