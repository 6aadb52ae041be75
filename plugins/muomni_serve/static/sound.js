// Sound in and out: the microphone as a WAV file, and speech that is played while it is made.

export const RATE = 24000; // of the answer's pcm16

/** A WAV file of 16-bit samples, from pieces of Float32 samples. */
export function wav(pieces, rate) {
  const count = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const write = (at, text) => [...text].forEach((char, i) => view.setUint8(at + i, char.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + 2 * count, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  write(36, "data");
  view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const piece of pieces) {
    for (const sample of piece) {
      view.setInt16(at, Math.round(32767 * Math.max(-1, Math.min(1, sample))), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}

/** The microphone, from start() to stop(). */
export class Microphone {
  static get possible() {
    return Boolean(navigator.mediaDevices?.getUserMedia && window.AudioWorklet);
  }

  #stream;
  #context;
  #pieces = [];

  /** onPiece(samples, rate) is called about every 20 ms. */
  async start(onPiece) {
    this.#stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
    this.#context = new AudioContext();
    await this.#context.audioWorklet.addModule(new URL("recorder-worklet.js", import.meta.url));
    const node = new AudioWorkletNode(this.#context, "recorder", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => {
      this.#pieces.push(data);
      onPiece(data, this.#context.sampleRate);
    };
    this.#context.createMediaStreamSource(this.#stream).connect(node);
  }

  /** The recording as a file, and its seconds. */
  async stop() {
    for (const track of this.#stream.getTracks()) track.stop();
    const rate = this.#context.sampleRate;
    await this.#context.close();
    const count = this.#pieces.reduce((sum, piece) => sum + piece.length, 0);
    return { file: wav(this.#pieces, rate), seconds: count / rate };
  }
}

/** Plays pcm16 pieces one after the other, without gaps where they come in time. */
export class Player {
  #context = new AudioContext({ sampleRate: RATE });
  #next = 0;
  #sources = new Set();
  #odd = new Uint8Array(0);
  #begin = null;
  pieces = [];
  seconds = 0;

  constructor() {
    this.#context.resume();
  }

  /** Queue a piece in base64; returns its samples. */
  push(text) {
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    const whole = new Uint8Array(this.#odd.length + bytes.length);
    whole.set(this.#odd);
    whole.set(bytes, this.#odd.length);
    const count = whole.length >> 1;
    this.#odd = whole.slice(2 * count);
    const view = new DataView(whole.buffer, 0, 2 * count);
    const samples = Float32Array.from({ length: count }, (_, i) => view.getInt16(2 * i, true) / 32768);
    if (!count) return samples;
    this.pieces.push(samples);
    const buffer = this.#context.createBuffer(1, count, RATE);
    buffer.copyToChannel(samples, 0);
    const source = this.#context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#context.destination);
    const start = Math.max(this.#next, this.#context.currentTime + 0.03);
    this.#begin ??= start;
    if (start > this.#next) this.#begin += this.#next ? start - this.#next : 0; // what follows a gap comes later
    source.start(start);
    this.#next = start + buffer.duration;
    this.seconds += buffer.duration;
    this.#sources.add(source);
    source.onended = () => this.#sources.delete(source);
    return samples;
  }

  /** Seconds of the speech that were heard so far. */
  get heard() {
    if (this.#begin === null) return 0;
    return Math.max(0, Math.min(this.seconds, this.#context.currentTime - this.#begin));
  }

  get playing() {
    return this.#sources.size > 0;
  }

  /** Resolves when all that was queued has been heard, or was stopped. */
  async ended() {
    while (this.playing) await new Promise((resolve) => setTimeout(resolve, 40));
    if (this.#context.state !== "closed") await this.#context.close();
  }

  stop() {
    for (const source of this.#sources) source.stop();
    this.#sources.clear();
  }

  /** The speech as a file. */
  get file() {
    return wav(this.pieces, RATE);
  }
}
