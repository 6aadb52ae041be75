/** The Thinker: prompts in, tokens and hidden states out. */
import { RequestError } from "./errors.js";
import { Graph, lastRow, truncated, type Feeds, type Ort } from "./graph.js";
import type { Bundle } from "./manifest.js";
import { draw, Random, type Sampling } from "./sampling.js";
import { LoopGuard, TextStream } from "./text_stream.js";
import type { Tokenizer } from "./tokenizer.js";

/** Why an answer ended. */
export type Finish = "eos" | "stop" | "length" | "context" | "loop";

/** One token of an answer, with the text that became final and the state that predicted it. */
export interface TokenEvent {
  text: string;
  token: number;
  hidden: Float32Array;
  finish?: Finish;
}

export interface GenerationSettings {
  sampling: Sampling;
  seed: number;
  maxTokens: number;
  stop: readonly string[];
  loopGuard: boolean;
}

interface Predicted {
  logits: Float32Array;
  hidden: Float32Array;
}

const CHUNK_LOGITS = 2 ** 24; // most logits of one call: long prompts run in chunks

/** Runs the graphs `embed` and `thinker`. Keeps the states of the last prompt, so that one that begins alike runs only
 * its new tokens. */
export class Thinker {
  private ids: number[] = [];
  private states: Feeds;
  private media: Float32Array[] = [];
  private readonly growing: Map<string, number>;

  private constructor(
    private readonly ort: Ort,
    private readonly embed: Graph,
    private readonly graph: Graph,
    readonly context: number,
    private readonly vocabulary: number,
  ) {
    this.states = graph.emptyStates();
    this.growing = new Map(
      Object.keys(graph.entry.states).map((name) => [name, graph.entry.inputs[name]!.indexOf("past")]),
    );
  }

  static async open(ort: Ort, bundle: Bundle): Promise<Thinker> {
    const part = bundle.part("thinker");
    if (part === undefined) throw new RequestError("this model has no Thinker, so it cannot chat", "use speak");
    const embed = await Graph.open(ort, bundle, part.graphs.embed!);
    const graph = await Graph.open(ort, bundle, part.graphs.thinker!);
    return new Thinker(ort, embed, graph, part.config.ctx_len as number, part.vocab_size!);
  }

  /** Forget media that no further prompt names. */
  forgetMedia(): void {
    this.media = [];
    this.reset();
  }

  /** Ids that stand for the (T,D) `rows` in a prompt. */
  addMedia(rows: readonly Float32Array[]): number[] {
    return rows.map((row) => -this.media.push(row));
  }

  /** The logits after the last of `ids`, and the state that they come from. */
  async predict(ids: readonly number[]): Promise<Predicted> {
    this.keepShared(ids);
    const piece = Math.max(1, Math.floor(CHUNK_LOGITS / this.vocabulary));
    let predicted: Predicted | undefined;
    while (this.ids.length < ids.length) {
      const fresh = ids.slice(this.ids.length, this.ids.length + piece);
      predicted = await this.extend(fresh);
    }
    return predicted!;
  }

  /** Continue `prompt` until it ends. Events are held back while they may be cut off as a loop. */
  async *generate(
    prompt: readonly number[],
    tokenizer: Tokenizer,
    settings: GenerationSettings,
  ): AsyncGenerator<TokenEvent> {
    this.requireRoom(prompt);
    const answer = new AnswerInProgress(prompt, tokenizer, settings, this.context);
    while (answer.running) {
      const { logits, hidden } = await this.predict(answer.ids);
      yield* answer.advance(logits, hidden);
    }
  }

  private requireRoom(prompt: readonly number[]): void {
    if (prompt.length > this.context) {
      throw new RequestError(
        `the prompt is ${prompt.length} tokens long and the model's context holds ${this.context}`,
        `shorten it by ${prompt.length - this.context} tokens`,
      );
    }
  }

  private async extend(fresh: readonly number[]): Promise<Predicted> {
    const made = await this.graph.run({ inputs_embeds: await this.embedded(fresh), ...this.states });
    this.states = this.graph.nextStates(made);
    this.ids.push(...fresh);
    const last = fresh.length - 1;
    return { logits: lastRow(made.logits!, last), hidden: lastRow(made.hidden!, last) };
  }

  private async embedded(ids: readonly number[]) {
    const positive = ids.map((id) => Math.max(0, id));
    const made = (await this.embed.run({ input_ids: this.embed.int64(positive, [1, ids.length]) })).inputs_embeds!;
    if (ids.every((id) => id >= 0)) return made;
    const values = (made.data as Float32Array).slice();
    const width = made.dims[2]!;
    ids.forEach((id, place) => {
      if (id < 0) values.set(this.media[-id - 1]!, place * width);
    });
    return this.embed.float(values, made.dims);
  }

  /** Cut the states back to what `ids` shares with the tokens that they hold. */
  private keepShared(ids: readonly number[]): void {
    const limit = Math.min(this.ids.length, ids.length - 1); // the last token runs again, for its logits
    let shared = 0;
    while (shared < limit && this.ids[shared] === ids[shared]) shared++;
    if (shared === this.ids.length) return;
    if (shared === 0 || [...this.growing.values()].some((axis) => axis < 0)) {
      this.reset();
      return;
    }
    for (const [name, axis] of this.growing) {
      this.states[name] = truncated(this.ort, this.states[name]!, axis, shared);
    }
    this.ids.length = shared;
  }

  private reset(): void {
    this.ids = [];
    this.states = this.graph.emptyStates();
  }
}

/** An answer while it is generated. */
class AnswerInProgress {
  running = true;
  readonly ids: number[];
  private readonly random: Random;
  private readonly stream: TextStream;
  private readonly guard: LoopGuard | undefined;
  private readonly begin: number;
  private readonly eos: number;
  private said = "";
  private given = 0;
  private held: TokenEvent[] = [];
  private readAtCut = 0;

  constructor(
    prompt: readonly number[],
    private readonly tokenizer: Tokenizer,
    private readonly settings: GenerationSettings,
    private readonly context: number,
  ) {
    this.ids = [...prompt];
    this.begin = prompt.length;
    this.eos = tokenizer.specials.eos!;
    this.random = new Random(settings.seed);
    const bytes = (id: number) => tokenizer.tokenBytes(id);
    this.stream = new TextStream(bytes, settings.stop);
    this.guard = settings.loopGuard ? new LoopGuard(bytes) : undefined;
  }

  /** Draw a token; returns the events that are final. */
  advance(logits: Float32Array, hidden: Float32Array): TokenEvent[] {
    const token = draw(logits, this.settings.sampling, this.random, this.ids);
    this.ids.push(token);
    let text = this.stream.push(token);
    const finish = this.finishOf(token);
    this.running = finish === undefined;
    if (finish === "loop") return this.cutOff(hidden);
    if (finish !== undefined) text += this.stream.finish();
    this.held.push({ text, token, hidden, ...(finish === undefined ? {} : { finish }) });
    const sure = this.running && this.guard !== undefined ? this.guard.sure - this.given : this.held.length;
    const events = this.held.splice(0, Math.max(0, sure));
    this.said += events.map((event) => event.text).join("");
    this.given += events.length;
    return events;
  }

  private finishOf(token: number): Finish | undefined {
    if (token === this.eos) return "eos";
    if (this.stream.stopped) return "stop";
    let goesOn = false;
    if (this.guard?.cut !== undefined) {
      // whether an answer continues is unknown while the text after the loop may become a stop string
      const held = this.stream.held.length;
      goesOn = !(held > 0 && held >= this.stream.read - this.readAtCut);
    } else if (this.guard !== undefined) {
      this.guard.push(token);
      this.readAtCut = this.stream.read;
    }
    const made = this.ids.length - this.begin;
    const ended: Finish | undefined =
      made >= this.settings.maxTokens ? "length" : this.ids.length > this.context ? "context" : undefined;
    if (this.guard?.cut !== undefined && (goesOn || ended !== undefined)) return "loop";
    return ended;
  }

  /** The text before the second copy, and the end of the text instead of the rest. */
  private cutOff(hidden: Float32Array): TokenEvent[] {
    const cut = this.guard!.cut!;
    const sure = this.held.slice(0, cut - this.given);
    const said = this.said + sure.map((event) => event.text).join("");
    const stream = new TextStream((id) => this.tokenizer.tokenBytes(id), this.settings.stop);
    const whole = this.ids.slice(this.begin, this.begin + cut).map((id) => stream.push(id)).join("");
    const text = (whole + stream.finish(true)).slice(said.length);
    return [...sure, { text, token: this.eos, hidden, finish: "loop" }];
  }
}
