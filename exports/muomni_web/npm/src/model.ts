/** A model: chat about pictures and sounds, speech, and transcription. */
import { encoderSound, type Sound } from "./audio.js";
import { RequestError } from "./errors.js";
import { floats, Graph, type Ort } from "./graph.js";
import { encoderImage, type Pixels } from "./image.js";
import { Bundle, CHAT_DEFAULTS, type ChatDefaults, type PartEntry, type ReadFile } from "./manifest.js";
import { chatIds, type Role, type Turn } from "./prompt.js";
import { Recognizer, type Word } from "./recognizer.js";
import { Speaker, type Speech, type SpeechSettings } from "./speaker.js";
import { Talker } from "./talker.js";
import { Thinker, type Finish, type GenerationSettings } from "./thinker.js";
import { Tokenizer } from "./tokenizer.js";
import { Sounds } from "./vocoder.js";

/** One turn of a conversation. */
export interface Message {
  role: Role;
  text: string;
  image?: Pixels;
  audio?: Sound;
}

/** A conversation that ends with a question, or a single question about a picture or a sound. */
export type ChatRequest = { messages: readonly Message[] } | { text: string; image?: Pixels; audio?: Sound };

export interface ChatOptions {
  /** called with each piece of the answer once it is final */
  stream?: (text: string) => void;
  /** speaks the answer while it is being written; called with samples, full scale 1 */
  onSamples?: (samples: Float32Array, rate: number) => void;
  voice?: string;
  speed?: number;
  signal?: AbortSignal;
  system?: string;
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  repetitionPenalty?: number;
  maxTokens?: number;
  stop?: readonly string[];
  seed?: number;
}

export interface Answer {
  text: string;
  tokens: number[];
  finish: Finish | undefined;
  /** of the answer, in milliseconds, prompt included */
  milliseconds: number;
}

export interface LoadOptions {
  /** onnxruntime: the module `onnxruntime-web` or `onnxruntime-node` */
  ort: Ort;
}

/** What a model can do, by what its bundle holds. */
export interface Capabilities {
  chat: boolean;
  image: boolean;
  audio: boolean;
  speak: boolean;
  transcribe: boolean;
  voices: string[];
  /** samples per second of its speech */
  sampleRate: number | undefined;
}

const MEDIA_SHARE: Readonly<Record<string, number>> = { image: 0.5, audio: 0.25 }; // of the context, at most

/** Opens parts when they are first needed, each once. */
export class Model {
  private readonly opened = new Map<string, Promise<unknown>>();
  private conversation: { shown: readonly unknown[]; ids: Map<unknown, readonly number[]> } | undefined;

  private constructor(
    private readonly ort: Ort,
    readonly bundle: Bundle,
    readonly tokenizer: Tokenizer | undefined,
  ) {}

  /** RequestError: the bundle is damaged, or its tokenizer is of a kind that is not read here. */
  static async open(readFile: ReadFile, { ort }: LoadOptions): Promise<Model> {
    const bundle = await Bundle.open(readFile);
    const entry = bundle.manifest.tokenizer;
    if (entry === null) return new Model(ort, bundle, undefined);
    const file = new TextDecoder().decode(await bundle.read(`${entry.weights}/tokenizer.json`));
    return new Model(ort, bundle, new Tokenizer(file, bundle.manifest.special_tokens));
  }

  get name(): string {
    return this.bundle.manifest.name;
  }

  get capabilities(): Capabilities {
    const { parts } = this.bundle.manifest;
    const speaks = ["talker", "codec", "vocoder"].every((name) => parts[name] !== undefined);
    return {
      chat: parts.thinker !== undefined,
      image: parts.image?.graphs.projector !== undefined && parts.image.use === "vit",
      audio: parts.audio?.graphs.projector !== undefined && parts.audio.use === "listener",
      speak: speaks,
      transcribe: [parts["audio-alone"], parts.audio].some((part) => part?.graphs.head !== undefined),
      voices: parts.talker?.voices ?? [],
      sampleRate: parts.codec?.sample_rate,
    };
  }

  /** Open everything now, so that the first request waits for nothing. `onProgress`: share that is open. */
  async warm(onProgress: (share: number) => void = () => {}): Promise<void> {
    const can = this.capabilities;
    const steps = [
      ...(can.chat ? [() => this.thinker()] : []),
      ...(can.image ? [() => this.encoder("image")] : []),
      ...(can.audio ? [() => this.encoder("audio")] : []),
      ...(can.speak ? [() => this.talker(), () => this.sounds()] : []),
      ...(can.transcribe ? [() => this.recognizer()] : []),
    ];
    for (const [at, step] of steps.entries()) {
      await step();
      onProgress((at + 1) / steps.length);
    }
  }

  /** Answer a question or continue a conversation.
   *
   * RequestError: the model cannot see or hear what is given, the conversation does not fit its context, or a setting
   * is out of range. An aborted answer ends with what was said so far.
   */
  async chat(request: ChatRequest, options: ChatOptions = {}): Promise<Answer> {
    const begin = performance.now();
    const thinker = await this.thinker();
    const settings = this.settings(options);
    const ids = await this.promptIds(thinker, request, options.system);
    const speaker = options.onSamples === undefined ? undefined : await this.speaker(options, options.onSamples);
    const answer: Answer = { text: "", tokens: [], finish: undefined, milliseconds: 0 };
    for await (const event of thinker.generate(ids, this.tokenizer!, settings)) {
      if (options.signal?.aborted) break;
      answer.text += event.text;
      answer.tokens.push(event.token);
      answer.finish = event.finish;
      answer.milliseconds = performance.now() - begin;
      if (event.text) {
        options.stream?.(event.text);
        await speaker?.push({ text: event.text, hidden: event.hidden });
      }
    }
    if (!options.signal?.aborted) await speaker?.finish();
    return answer;
  }

  /** Say a text. Samples come one piece after the other to `onSamples`, and all of them at the end.
   *
   * RequestError: the model has no such voice, the speed is out of range, or nothing in the text can be spoken.
   */
  async speak(text: string, settings: SpeechSettings = {}): Promise<Speech> {
    const pieces: Float32Array[] = [];
    const speaker = await this.speaker(settings, (samples, rate) => {
      pieces.push(samples);
      settings.onSamples?.(samples, rate);
    });
    await speaker.push({ text });
    const speech = await speaker.finish();
    if (pieces.length === 0 && !settings.signal?.aborted) {
      throw new RequestError("nothing in the text can be spoken", "write words in Latin letters, or numbers");
    }
    return speech;
  }

  /** The words of a recording of any length. RequestError: the model cannot transcribe. */
  async transcribe(sound: Sound, onWord?: (word: Word) => void): Promise<{ text: string; words: Word[] }> {
    const recognizer = await this.recognizer();
    const words = await recognizer.words(sound, onWord);
    return { text: words.map((word) => word.text).join(" "), words };
  }

  /** Opens `make` once; a failure is tried again at the next call. */
  private once<T>(name: string, make: () => Promise<T>): Promise<T> {
    let made = this.opened.get(name) as Promise<T> | undefined;
    if (made === undefined) {
      made = make();
      made.catch(() => this.opened.delete(name));
      this.opened.set(name, made);
    }
    return made;
  }

  thinker(): Promise<Thinker> {
    return this.once("thinker", () => Thinker.open(this.ort, this.bundle));
  }

  talker(): Promise<Talker> {
    return this.once("talker", () => Talker.open(this.ort, this.bundle));
  }

  sounds(): Promise<Sounds> {
    return this.once("sounds", () => Sounds.open(this.ort, this.bundle));
  }

  private recognizer(): Promise<Recognizer> {
    return this.once("recognizer", () => Recognizer.open(this.ort, this.bundle));
  }

  private encoder(modality: "image" | "audio"): Promise<{ part: PartEntry; encoder: Graph; projector: Graph }> {
    return this.once(modality, async () => {
      const part = this.bundle.part(modality);
      if (part?.graphs.projector === undefined) {
        const sense = modality === "image" ? "see pictures" : "hear sounds";
        throw new RequestError(`this model cannot ${sense}`, "ask it without one");
      }
      const encoder = await Graph.open(this.ort, this.bundle, part.graphs.encoder!);
      return { part, encoder, projector: await Graph.open(this.ort, this.bundle, part.graphs.projector) };
    });
  }

  private async speaker(settings: SpeechSettings, onSamples: (samples: Float32Array, rate: number) => void) {
    return new Speaker(await this.talker(), await this.sounds(), settings, onSamples);
  }

  private settings(options: ChatOptions): GenerationSettings {
    const own = this.chatDefaults;
    if (Object.keys(own.form).length > 0) {
      throw new RequestError("the answers of this model have a form, which muomni-web does not enforce", "use Python");
    }
    const sampling = {
      temperature: options.temperature ?? own.temperature,
      topK: options.topK ?? own.top_k,
      topP: options.topP ?? own.top_p,
      minP: options.minP ?? own.min_p,
      repetitionPenalty: options.repetitionPenalty ?? own.repetition_penalty,
    };
    requireRange("temperature", sampling.temperature, sampling.temperature >= 0, "0 or more");
    requireRange("topP", sampling.topP, sampling.topP > 0 && sampling.topP <= 1, "more than 0 and at most 1");
    requireRange("minP", sampling.minP, sampling.minP >= 0 && sampling.minP <= 1, "from 0 to 1");
    requireRange("repetitionPenalty", sampling.repetitionPenalty, sampling.repetitionPenalty > 0, "more than 0");
    const maxTokens = options.maxTokens ?? own.max_tokens;
    requireRange("maxTokens", maxTokens, maxTokens >= 1, "1 or more");
    const { seed = 0, stop = own.stop } = options;
    return { sampling, seed, maxTokens, stop, loopGuard: own.loop_guard };
  }

  private get chatDefaults(): ChatDefaults {
    return { ...CHAT_DEFAULTS, ...this.bundle.manifest.chat };
  }

  private async promptIds(thinker: Thinker, request: ChatRequest, system: string | undefined): Promise<number[]> {
    const messages: Message[] = "messages" in request ? [...request.messages] : [{ role: "user", ...request }];
    const last = messages[messages.length - 1];
    if (last?.role !== "user" || !(last.text.trim() || last.image || last.audio)) {
      throw new RequestError("the conversation does not end with a question", "end it with a user's message");
    }
    const { template, reattach, system: usual } = this.chatDefaults;
    const instruction = system ?? usual;
    if (instruction && messages[0]!.role !== "system") messages.unshift({ role: "system", text: instruction });
    this.startMedia(thinker, messages);
    const turns: Turn[] = [];
    const recent: Partial<Record<"image" | "audio", readonly number[]>> = {};
    for (const message of messages) {
      const media: number[] = [];
      for (const modality of ["image", "audio"] as const) {
        const given = message[modality];
        const repeated = message.role === "user" && reattach.includes(modality) ? (recent[modality] ?? []) : [];
        const ids = given === undefined ? repeated : await this.mediaIds(thinker, modality, given);
        if (given !== undefined) recent[modality] = ids;
        media.push(...ids);
      }
      turns.push({ role: message.role, text: message.text, media });
    }
    return chatIds(this.tokenizer!, turns, template);
  }

  /** Forget the media of another conversation; those of this one keep their ids, and so the Thinker its states. */
  private startMedia(thinker: Thinker, messages: readonly Message[]): void {
    const shown = messages.flatMap(({ image, audio }) => [image, audio]).filter((one) => one !== undefined);
    const goesOn = this.conversation?.shown.every((one, at) => one === shown[at]) === true;
    if (!goesOn) thinker.forgetMedia();
    this.conversation = { shown, ids: goesOn ? this.conversation!.ids : new Map() };
  }

  private async mediaIds(
    thinker: Thinker,
    modality: "image" | "audio",
    given: Pixels | Sound,
  ): Promise<readonly number[]> {
    const { ids } = this.conversation!;
    const known = ids.get(given);
    if (known !== undefined) return known;
    const { part, encoder, projector } = await this.encoder(modality);
    let inputs;
    if (modality === "image") {
      const side = part.config.size as number;
      inputs = new this.ort.Tensor("uint8", encoderImage(part, given as Pixels), [1, 3, side, side]);
    } else {
      const wave = encoderSound(part, given as Sound);
      inputs = encoder.float(wave, [1, wave.length]);
    }
    const { tokens } = await encoder.run({ inputs });
    const made = (await projector.run({ tokens: tokens! })).inputs_embeds!;
    const width = made.dims[2]!;
    const values = floats(made);
    const room = Math.floor(thinker.context * MEDIA_SHARE[modality]!);
    const count = Math.min(made.dims[1]!, modality === "audio" ? room : Infinity);
    if (count > room) throw new RequestError("the picture takes more than half of the context", "use another model");
    const rows = Array.from({ length: count }, (_, row) => values.slice(row * width, (row + 1) * width));
    const added = thinker.addMedia(rows);
    ids.set(given, added);
    return added;
  }
}

function requireRange(name: string, value: number, holds: boolean, wanted: string): void {
  if (!holds || !Number.isFinite(value)) throw new RequestError(`${name} is ${value}`, `${name} must be ${wanted}`);
}
