/** Sounds in and out: playing samples as they come, recording, and decoding files. */
import { decodeWav, mono, type Sound } from "../audio.js";
import { RequestError } from "../errors.js";

/** Plays pieces of samples one after the other, without a gap. */
export class Player {
  private context: AudioContext | undefined;
  private readonly playing = new Set<AudioBufferSourceNode>();
  private next = 0;
  /** all samples since the last `begin`, for saving */
  readonly samples: Float32Array[] = [];
  rate = 16000;

  /** Call it on a press of a button: browsers start sound only then. */
  begin(): void {
    this.stop();
    this.samples.length = 0;
    this.context ??= new AudioContext();
    void this.context.resume();
    this.next = 0;
  }

  push(samples: Float32Array, rate: number): void {
    this.samples.push(samples);
    this.rate = rate;
    const context = this.context!;
    const buffer = context.createBuffer(1, samples.length, rate);
    buffer.copyToChannel(samples as Float32Array<ArrayBuffer>, 0);
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(context.destination);
    // a little ahead at first, so that the next piece is there in time
    this.next = Math.max(this.next, context.currentTime + (this.next === 0 ? 0.12 : 0.01));
    source.start(this.next);
    this.next += buffer.duration;
    this.playing.add(source);
    source.addEventListener("ended", () => this.playing.delete(source));
  }

  stop(): void {
    for (const source of this.playing) source.stop();
    this.playing.clear();
  }
}

/** Records the microphone until it is stopped. */
export class Recorder {
  private constructor(
    private readonly stream: MediaStream,
    private readonly recorder: MediaRecorder,
    private readonly pieces: Blob[],
  ) {}

  /** RequestError: there is no microphone, or it may not be used. */
  static async start(): Promise<Recorder> {
    let stream: MediaStream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch {
      throw new RequestError("the microphone cannot be used", "allow it for this page, or choose a file");
    }
    const recorder = new MediaRecorder(stream);
    const pieces: Blob[] = [];
    recorder.addEventListener("dataavailable", ({ data }) => pieces.push(data));
    recorder.start();
    return new Recorder(stream, recorder, pieces);
  }

  async stop(): Promise<Sound> {
    const stopped = new Promise((resolve) => this.recorder.addEventListener("stop", resolve, { once: true }));
    this.recorder.stop();
    await stopped;
    this.stream.getTracks().forEach((track) => track.stop());
    return decodeSound(new Uint8Array(await new Blob(this.pieces).arrayBuffer()));
  }
}

/** A file of sound. RequestError: it cannot be decoded. */
export async function decodeSound(bytes: Uint8Array): Promise<Sound> {
  try {
    return decodeWav(bytes);
  } catch {
    // other formats are decoded by the browser
  }
  const context = new AudioContext();
  try {
    const buffer = await context.decodeAudioData(bytes.slice().buffer);
    const channels = Array.from({ length: buffer.numberOfChannels }, (_, at) => buffer.getChannelData(at));
    return { samples: mono(channels), rate: buffer.sampleRate };
  } catch {
    throw new RequestError("the sound cannot be read", "give a WAV, MP3, Ogg or M4A file");
  } finally {
    void context.close();
  }
}
