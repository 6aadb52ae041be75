/** Speech: text that may still be written, as samples. */
import { RequestError } from "./errors.js";
import { joined } from "./graph.js";
import { Pronouncer, TextFrontend, type SpokenWord, type TextChunk } from "./normalization/frontend.js";
import { codeSampler, type Sampler, type Sentence, type Talker } from "./talker.js";
import { MelStretch, type Sounds } from "./vocoder.js";

const SPEEDS = [0.5, 2] as const;
const OWN_SPEEDS = [0.9, 1.1] as const; // asked of a Talker; the rest is stretched

export interface SpeechSettings {
  voice?: string;
  /** from 0.5 to 2 */
  speed?: number;
  /** of the code frames; the Talker's own by default */
  temperature?: number;
  seed?: number;
  onSamples?: (samples: Float32Array, rate: number) => void;
  signal?: AbortSignal;
}

export interface Speech {
  samples: Float32Array;
  /** samples per second */
  rate: number;
  /** pieces of the text that have no spoken form */
  skipped: string[];
}

/** Speaks one text. The result depends on the text, not on how it is split. */
export class Speaker {
  private readonly frontend = new TextFrontend();
  private readonly pronouncer = new Pronouncer();
  private readonly voice: number;
  private readonly speed: number;
  private readonly stretch: MelStretch | undefined;
  private readonly sampler: Sampler;
  private readonly pieces: Float32Array[] = [];
  private sentence: Sentence | undefined;
  private spoke = false;

  /** RequestError: there is no such voice, or the speed is out of range. */
  constructor(
    private readonly talker: Talker,
    private readonly sounds: Sounds,
    private readonly settings: SpeechSettings,
    private readonly onSamples: (samples: Float32Array, rate: number) => void,
  ) {
    const speed = settings.speed ?? 1;
    if (!(speed >= SPEEDS[0] && speed <= SPEEDS[1])) {
      throw new RequestError(`speed is ${speed}`, `speed must be from ${SPEEDS[0]} to ${SPEEDS[1]}`);
    }
    const own = speed <= OWN_SPEEDS[1] ? Math.max(speed, OWN_SPEEDS[0]) : 1;
    const factor = speed / own;
    this.speed = speed / factor;
    this.stretch = factor === 1 ? undefined : new MelStretch(factor);
    this.voice = talker.voiceIndex(settings.voice);
    this.sampler = codeSampler(talker.part, settings.temperature, settings.seed ?? 0);
    sounds.begin();
  }

  /** Say what is final with a piece of the text. */
  async push(chunk: TextChunk): Promise<void> {
    await this.say(this.frontend.push(chunk));
  }

  /** Say the rest. */
  async finish(): Promise<Speech> {
    await this.say(this.frontend.finish());
    if (this.spoke && !this.settings.signal?.aborted) this.give(await this.sounds.finish(this.stretch));
    return { samples: joined(this.pieces), rate: this.sounds.rate, skipped: [...this.frontend.skipped] };
  }

  private async say(words: readonly SpokenWord[]): Promise<void> {
    for (const word of words.map((one) => this.pronouncer.of(one))) {
      this.sentence ??= this.talker.sentence(this.voice, this.speed);
      for await (const codes of this.sentence.add(word, this.sampler)) {
        if (this.settings.signal?.aborted) return;
        this.spoke = true;
        this.give(await this.sounds.push([codes], this.stretch));
      }
      if (word.ends) this.sentence = undefined;
    }
  }

  private give(samples: Float32Array): void {
    if (samples.length === 0) return;
    this.pieces.push(samples);
    this.onSamples(samples, this.sounds.rate);
  }
}
