/** Code frames to log-mel to samples, both streaming: the codec's decoder, the vocoders, and faster or slower speech. */
import { RequestError } from "./errors.js";
import { floats, Graph, joined, type Feeds, type Ort } from "./graph.js";
import type { Bundle, MelSettings, PartEntry } from "./manifest.js";
import { roundHalfEven } from "./rounding.js";

/** A stream of frames to a stream of numbers; reusable after `finish`. */
interface MelToSamples {
  push(mel: readonly Float32Array[]): Promise<Float32Array>;
  finish(): Promise<Float32Array>;
  begin(): void;
}

/** The codec's decoder: code frames to log-mel frames (F,). */
export class CodecDecoder {
  private states: Feeds;
  private drop: number;

  private constructor(
    private readonly part: PartEntry,
    private readonly graph: Graph,
  ) {
    this.states = graph.emptyStates();
    this.drop = this.delay;
  }

  static async open(ort: Ort, bundle: Bundle): Promise<CodecDecoder> {
    const part = bundle.part("codec");
    if (part === undefined) throw new RequestError("this model has no codec", "export one that speaks");
    return new CodecDecoder(part, await Graph.open(ort, bundle, part.graphs.decoder!));
  }

  get mel(): MelSettings {
    return this.part.config.mel as MelSettings;
  }

  private get delay(): number {
    return (this.part.config.lookahead as number) * (this.part.config.frame as number);
  }

  async push(codes: readonly (readonly number[])[]): Promise<Float32Array[]> {
    return this.step(codes, 1);
  }

  async finish(): Promise<Float32Array[]> {
    const silence = new Array<number>(this.part.config.codebooks as number).fill(0);
    const rest = await this.step(new Array(this.part.config.lookahead as number).fill(silence), 0);
    this.begin();
    return rest;
  }

  /** Forget what was pushed. */
  begin(): void {
    this.states = this.graph.emptyStates();
    this.drop = this.delay;
  }

  private async step(codes: readonly (readonly number[])[], real: number): Promise<Float32Array[]> {
    if (codes.length === 0) return [];
    const made = await this.graph.run({
      codes: this.graph.int64(codes.flat(), [1, codes.length, codes[0]!.length]),
      real: this.graph.float(new Float32Array(codes.length).fill(real), [1, codes.length]),
      ...this.states,
    });
    this.states = this.graph.nextStates(made);
    const width = this.mel.n_mels;
    const values = floats(made.mel);
    const rows = Array.from({ length: values.length / width }, (_, n) => values.slice(n * width, (n + 1) * width));
    const dropped = Math.min(this.drop, rows.length);
    this.drop -= dropped;
    return rows.slice(dropped);
  }
}

/** Log-mel that is faster by a factor: between two frames linearly. */
export class MelStretch {
  private held: Float32Array[] = [];
  private start = 0; // frame of the first held one
  private given = 0;
  private returned = 0;

  constructor(private readonly speed: number) {}

  push(frames: readonly Float32Array[]): Float32Array[] {
    this.given += frames.length;
    this.held.push(...frames);
    let count = this.returned;
    while (count * this.speed < this.given - 1) count++;
    return this.made(count);
  }

  finish(): Float32Array[] {
    return this.made(Math.max(this.returned, roundHalfEven(this.given / this.speed)));
  }

  private made(count: number): Float32Array[] {
    const frames: Float32Array[] = [];
    for (let at = this.returned; at < count; at++) {
      const place = Math.min(at * this.speed, this.given - 1);
      const before = Math.floor(place);
      const share = Math.fround(place - before);
      const first = this.held[before - this.start]!;
      const second = this.held[Math.min(before + 1, this.given - 1) - this.start]!;
      frames.push(first.map((value, bin) => value + share * (second[bin]! - value)));
    }
    this.returned = count;
    const forgotten = Math.max(this.start, Math.min(Math.trunc(count * this.speed), this.given));
    this.held = this.held.slice(forgotten - this.start);
    this.start = forgotten;
    return frames;
  }
}

/** What both vocoders share: the states, the samples before the start, which are dropped, and those after the end. */
abstract class VocoderStream {
  protected states!: Feeds;
  protected drop = 0;
  protected owed = 0; // samples of the pushed mel that were not returned yet
  private rest = new Float32Array();

  constructor(
    protected readonly part: PartEntry,
    protected readonly graph: Graph,
  ) {
    this.begin();
  }

  protected get mel(): MelSettings {
    return this.part.mel!;
  }

  begin(): void {
    this.states = this.graph.emptyStates();
    this.rest = new Float32Array();
    this.drop = Math.floor(this.mel.window / 2);
    this.owed = 0;
  }

  protected tensor(frames: readonly Float32Array[]) {
    return this.graph.float(joined(frames), [1, frames.length, this.mel.n_mels]);
  }

  protected async step(feeds: Feeds): Promise<Float32Array> {
    const made = await this.graph.run({ ...feeds, ...this.states });
    this.states = this.graph.nextStates(made);
    this.rest = floats(made.rest).slice();
    return this.given(floats(made.samples));
  }

  private given(samples: Float32Array): Float32Array {
    const dropped = Math.min(this.drop, samples.length);
    this.drop -= dropped;
    const kept = samples.slice(dropped, dropped + this.owed);
    this.owed -= kept.length;
    return kept;
  }

  protected ended(): Float32Array {
    const made = joined([this.given(this.rest), new Float32Array(this.owed)]);
    this.begin();
    return made;
  }
}

/** Vocos (arXiv:2306.00814): late by its lookahead. */
class VocosStream extends VocoderStream implements MelToSamples {
  private late = 0;

  override begin(): void {
    super.begin();
    this.late = this.part.config.lookahead as number;
    this.drop += this.late * this.mel.hop;
  }

  async push(frames: readonly Float32Array[]): Promise<Float32Array> {
    this.owed += frames.length * this.mel.hop;
    return this.take(frames);
  }

  async finish(): Promise<Float32Array> {
    const silent = new Float32Array(this.mel.n_mels).fill(Math.log(this.mel.mel_floor));
    const flush = new Array<Float32Array>(this.part.config.lookahead as number).fill(silent);
    const made = this.owed > 0 ? await this.take(flush) : new Float32Array();
    return joined([made, this.ended()]);
  }

  private async take(frames: readonly Float32Array[]): Promise<Float32Array> {
    if (frames.length === 0) return new Float32Array();
    const late = Math.min(this.late, frames.length);
    this.late -= late;
    const real = new Float32Array(frames.length).fill(1).fill(0, 0, late);
    return this.step({ mel: this.tensor(frames), real: this.graph.float(real, [1, frames.length]) });
  }
}

/** Griffin-Lim (IEEE TASSP 1984), on its fixed grid of blocks. */
class GriffinLimStream extends VocoderStream implements MelToSamples {
  private size = 0;
  private held: Float32Array[] = [];

  override begin(): void {
    super.begin();
    this.size = Math.min(this.part.config.first as number, this.part.config.block as number);
    this.held = [];
  }

  async push(frames: readonly Float32Array[]): Promise<Float32Array> {
    this.owed += frames.length * this.mel.hop;
    this.held.push(...frames);
    const ahead = this.part.config.lookahead as number;
    const made: Float32Array[] = [];
    while (this.held.length >= this.size + ahead) {
      made.push(await this.block(this.size, ahead));
      this.size = Math.min(2 * this.size, this.part.config.block as number);
    }
    return joined(made);
  }

  async finish(): Promise<Float32Array> {
    const made = this.held.length > 0 ? await this.block(this.held.length, 0) : new Float32Array();
    return joined([made, this.ended()]);
  }

  private async block(count: number, ahead: number): Promise<Float32Array> {
    const frames = this.held.slice(0, count);
    const next = this.held.slice(count, count + ahead);
    this.held = this.held.slice(count);
    return this.step({ mel: this.tensor(frames), ahead: this.tensor(next) });
  }
}

/** Opens the vocoder of a bundle. */
async function openVocoder(ort: Ort, bundle: Bundle): Promise<MelToSamples> {
  const part = bundle.part("vocoder");
  if (part === undefined) throw new RequestError("this model has no vocoder", "export one that speaks");
  const graph = await Graph.open(ort, bundle, part.graphs.vocoder!);
  if (part.use === "vocos") return new VocosStream(part, graph);
  if (part.use === "griffin-lim") return new GriffinLimStream(part, graph);
  throw new RequestError(`the vocoder "${part.use}" is not one that muomni-web runs`, "use vocos or griffin-lim");
}

/** Code frames to samples, one after the other. */
export class Sounds {
  private constructor(
    private readonly codec: CodecDecoder,
    private readonly vocoder: MelToSamples,
  ) {}

  static async open(ort: Ort, bundle: Bundle): Promise<Sounds> {
    return new Sounds(await CodecDecoder.open(ort, bundle), await openVocoder(ort, bundle));
  }

  get rate(): number {
    return this.codec.mel.sample_rate;
  }

  /** Forget a stream that was broken off. */
  begin(): void {
    this.codec.begin();
    this.vocoder.begin();
  }

  /** The samples that are final with these code frames. */
  async push(codes: readonly (readonly number[])[], stretch?: MelStretch): Promise<Float32Array> {
    const mel = await this.codec.push(codes);
    return this.vocoder.push(stretch ? stretch.push(mel) : mel);
  }

  /** The rest. */
  async finish(stretch?: MelStretch): Promise<Float32Array> {
    const mel = await this.codec.finish();
    const last = await this.vocoder.push(stretch ? [...stretch.push(mel), ...stretch.finish()] : mel);
    return joined([last, await this.vocoder.finish()]);
  }

  /** Log-mel frames of code frames, without the vocoder; for checks. */
  async mel(codes: readonly (readonly number[])[]): Promise<Float32Array[]> {
    return [...(await this.codec.push(codes)), ...(await this.codec.finish())];
  }
}
