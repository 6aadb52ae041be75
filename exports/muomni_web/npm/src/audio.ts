/** Sounds as the audio encoder takes them: WAV files, resampling, the level of speech, and silence that is cut. */
import { RequestError } from "./errors.js";
import type { PartEntry } from "./manifest.js";
import { percentile } from "./rounding.js";

/** Samples of one channel, full scale 1. */
export interface Sound {
  samples: Float32Array;
  rate: number;
}

const CANCELING = 0.5; // channels cancel out if their mean has less than this share of what independent ones leave
const CROSSINGS = 64; // zero crossings of the resampling filter's sinc on each side
const ATTENUATION = 80; // of its stop band, in dB
const FINEST = 1000; // largest denominator of a ratio of rates

const STEP = 0.005; // seconds between two measurements of loudness
const AROUND = 0.01; // half the width of a measurement, in seconds
const BELOW = 30; // dB below the loudest part at which a sound counts as quiet
const ABOVE = 5; // dB above the background up to which a noisy recording counts as quiet
const LEAST = 12; // dB below the loudest part at which it counts as quiet unless the background is steady
const STEADY = 3; // dB between two percentiles of a steady background
const ALONE = 8; // dB between background and loudest part below which a recording is noise alone
const LOUDEST = 0.06; // seconds that are at least as loud as the loudest part
const SHORTEST = 0.04; // seconds of the shortest active part
const MOST_GAIN = 60; // dB

/** A RIFF WAVE file of integers or floats. RequestError: it is another kind of file, or damaged. */
export function decodeWav(bytes: Uint8Array): Sound {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (at: number) => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (bytes.length < 12 || word(0) !== "RIFF" || word(8) !== "WAVE") {
    throw new RequestError("the sound is not a WAV file", "convert it to WAV");
  }
  let kind = 0;
  let channels = 0;
  let rate = 0;
  let bits = 0;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const size = view.getUint32(at + 4, true);
    if (word(at) === "fmt ") {
      kind = view.getUint16(at + 8, true);
      channels = view.getUint16(at + 10, true);
      rate = view.getUint32(at + 12, true);
      bits = view.getUint16(at + 22, true);
      if (kind === 0xfffe) kind = view.getUint16(at + 32, true);
    }
    if (word(at) === "data") {
      const end = Math.min(bytes.length, at + 8 + size);
      const frames = Math.floor((end - at - 8) / ((bits / 8) * channels));
      const read = readerOf(view, kind, bits);
      const held = Array.from({ length: channels }, (_, channel) =>
        Float32Array.from({ length: frames }, (_, frame) => read(at + 8 + ((frame * channels + channel) * bits) / 8)),
      );
      if (frames === 0) throw new RequestError("the sound contains no samples", "give a file with samples in it");
      return { samples: mono(held), rate };
    }
    at += 8 + size + (size % 2);
  }
  throw new RequestError("the WAV file has no samples", "save it again");
}

function readerOf(view: DataView, kind: number, bits: number): (at: number) => number {
  if (kind === 3 && bits === 32) return (at) => view.getFloat32(at, true);
  if (kind === 3 && bits === 64) return (at) => view.getFloat64(at, true);
  if (kind === 1 && bits === 8) return (at) => (view.getUint8(at) - 128) / 128;
  if (kind === 1 && bits === 16) return (at) => view.getInt16(at, true) / 2 ** 15;
  if (kind === 1 && bits === 24) return (at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 2 ** 16) / 2 ** 23;
  if (kind === 1 && bits === 32) return (at) => view.getInt32(at, true) / 2 ** 31;
  throw new RequestError(`the WAV file has an encoding that is not read (${kind}, ${bits} bits)`, "save it as 16-bit PCM");
}

/** The mean of channels; where they cancel out, with the sign that each has to the loudest. */
export function mono(channels: readonly Float32Array[]): Float32Array {
  const first = channels[0]!;
  if (channels.length === 1) return first;
  const mean = meanOf(channels, () => 1);
  const energies = channels.map(energy);
  const total = energies.reduce((sum, one) => sum + one, 0);
  if (energy(mean) >= (CANCELING * total) / channels.length ** 2) return mean;
  const loudest = channels[energies.indexOf(Math.max(...energies))]!;
  return meanOf(channels, (channel) => Math.sign(channel.reduce((sum, value, at) => sum + value * loudest[at]!, 0)));
}

function meanOf(channels: readonly Float32Array[], signOf: (channel: Float32Array) => number): Float32Array {
  const mean = new Float32Array(channels[0]!.length);
  for (const channel of channels) {
    const share = signOf(channel) / channels.length;
    for (let at = 0; at < mean.length; at++) mean[at] = mean[at]! + share * channel[at]!;
  }
  return mean;
}

function energy(samples: Float32Array): number {
  return samples.reduce((sum, value) => sum + value * value, 0);
}

/** Samples at another rate, by a sinc in Kaiser's window; silence lies beyond both ends. */
export function resample({ samples, rate }: Sound, target: number): Float32Array {
  if (rate === target || samples.length === 0) return samples;
  const [up, down] = ratio(target, rate);
  const lower = Math.min(1, up / down);
  const cutoff = lower * (1 - (ATTENUATION - 8) / (2.285 * 2 * CROSSINGS * Math.PI) / 2);
  const reach = Math.ceil(CROSSINGS / lower);
  const phases = phasesOf(up, reach, cutoff);
  const made = new Float32Array(Math.ceil((samples.length * target) / rate));
  for (let place = 0; place < made.length; place++) {
    const center = Math.floor((place * down) / up);
    const phase = phases[(place * down) % up]!;
    let sum = 0;
    for (let at = Math.max(0, center - reach); at <= Math.min(samples.length - 1, center + reach + 1); at++) {
      sum += samples[at]! * phase[at - center + reach]!;
    }
    made[place] = sum;
  }
  return made;
}

/** The filter for each position between two input samples, in steps of 1 / up. */
function phasesOf(up: number, reach: number, cutoff: number): Float64Array[] {
  const beta = 0.1102 * (ATTENUATION - 8.7);
  const bottom = bessel(beta);
  return Array.from({ length: up }, (_, phase) =>
    Float64Array.from({ length: 2 * reach + 2 }, (_, at) => {
      const place = (at - reach) * up - phase;
      if (Math.abs(place) > reach * up) return 0;
      const x = (cutoff / up) * place * Math.PI;
      const window = bessel(beta * Math.sqrt(1 - (place / (reach * up)) ** 2)) / bottom;
      return cutoff * (x === 0 ? 1 : Math.sin(x) / x) * window;
    }),
  );
}

/** The modified Bessel function of the first kind, order 0. */
function bessel(x: number): number {
  let sum = 1;
  let term = 1;
  for (let n = 1; term > 1e-17 * sum; n++) {
    term *= (x / (2 * n)) ** 2;
    sum += term;
  }
  return sum;
}

/** The fraction nearest to `over` / `under` with a denominator of at most FINEST. */
function ratio(over: number, under: number): [number, number] {
  let best: [number, number] = [Math.round(over / under) || 1, 1];
  const wanted = over / under;
  for (let down = 1; down <= FINEST; down++) {
    const up = Math.max(1, Math.round(wanted * down));
    if (Math.abs(up / down - wanted) < Math.abs(best[0] / best[1] - wanted)) best = [up, down];
    if (up * under === down * over) return [up, down];
  }
  return best;
}

/** Power in dB of full scale at every STEP, at least -100. */
function loudness(wave: Float32Array, rate: number): Float64Array {
  const around = Math.max(1, Math.round(AROUND * rate));
  const total = new Float64Array(wave.length + 2 * around + 1);
  for (let at = 0; at < total.length - 1; at++) {
    const value = at >= around && at < around + wave.length ? wave[at - around]! : 0;
    total[at + 1] = total[at]! + value * value;
  }
  return Float64Array.from({ length: Math.floor(wave.length / (STEP * rate)) + 1 }, (_, step) => {
    const center = Math.trunc(step * STEP * rate);
    const power = Math.max(0, total[center + 2 * around]! - total[center]!) / (2 * around);
    return 10 * Math.log10(power + 1e-10);
  });
}

/** Which steps hold speech or another sound; none in steady noise. */
function active(levels: Float64Array): boolean[] {
  const loud = Math.min(Math.round(LOUDEST / STEP), levels.length);
  const top = Float64Array.from(levels).sort()[levels.length - loud]!;
  const [quietest, low] = [percentile(levels, 5), percentile(levels, 20)];
  const found = new Array<boolean>(levels.length).fill(false);
  if (top - low < ALONE) return found;
  const noisy = low - quietest < STEADY ? low + ABOVE : Math.min(low + ABOVE, top - LEAST);
  const limit = Math.max(top - BELOW, noisy);
  for (let begin = 0; begin < levels.length; ) {
    let end = begin;
    while (end < levels.length && levels[end]! >= limit) end++;
    if (end - begin >= SHORTEST / STEP) found.fill(true, begin, end);
    begin = Math.max(end, begin + 1);
  }
  return found;
}

function atLevel(part: PartEntry, wave: Float32Array): Float32Array {
  const range = part.config.level as [number, number] | null | undefined;
  if (!range) return wave;
  const levels = loudness(wave, part.config.sample_rate as number);
  const speaking = active(levels);
  const powers = Array.from(levels.filter((_, step) => speaking[step]), (level) => 10 ** (level / 10));
  if (powers.length === 0) return wave;
  const level = 10 * Math.log10(powers.reduce((sum, power) => sum + power, 0) / powers.length);
  const gain = Math.min(MOST_GAIN, Math.min(Math.max(level, range[0]), range[1]) - level);
  const factor = Math.fround(10 ** (gain / 20));
  return wave.map((value) => value * factor);
}

/** Samples per token of an audio encoder. */
export function samplesPerToken(part: PartEntry): number {
  return (part.config.hop as number) * (part.config.downsample as number);
}

/** Tokens of so many samples. */
export function tokenCount(part: PartEntry, samples: number): number {
  let frames = Math.floor(samples / (part.config.hop as number));
  for (let factor = part.config.downsample as number; factor > 1; factor /= 2) frames = Math.floor((frames + 1) / 2);
  return frames;
}

/** Which tokens stay: those near speech; all if there is none. */
function keptTokens(part: PartEntry, wave: Float32Array): boolean[] {
  const shortest = samplesPerToken(part);
  const tokens = Math.ceil(wave.length / shortest);
  const all = new Array<boolean>(tokens).fill(true);
  const silence = part.config.silence as number | null | undefined;
  if (!silence) return all;
  const rate = part.config.sample_rate as number;
  const stay = new Array<boolean>(tokens).fill(false);
  const around = (silence * rate) / shortest;
  active(loudness(wave, rate)).forEach((speaks, step) => {
    if (!speaks) return;
    const place = (step * STEP * rate) / shortest;
    const inside = (token: number) => Math.min(Math.max(token, 0), tokens);
    stay.fill(true, inside(Math.floor(place - around)), inside(Math.floor(place + around + 1)));
  });
  return stay.slice(0, Math.floor(wave.length / shortest)).some(Boolean) ? stay : all;
}

/** Samples as the encoder takes them, at their level and without long silence, and the tokens that stayed. */
export function prepared(part: PartEntry, wave: Float32Array): { wave: Float32Array; stay: boolean[] } {
  const leveled = atLevel(part, wave);
  const stay = keptTokens(part, leveled);
  if (stay.every(Boolean)) return { wave: leveled, stay };
  const shortest = samplesPerToken(part);
  return { wave: leveled.filter((_, at) => stay[Math.floor(at / shortest)]), stay };
}

/** A recording as the encoder takes it. RequestError: it is too short or too long. */
export function encoderSound(part: PartEntry, sound: Sound): Float32Array {
  const rate = part.config.sample_rate as number;
  const wave = resample(sound, rate);
  if (wave.length < samplesPerToken(part)) {
    throw new RequestError("the recording is shorter than one token", "record something longer");
  }
  const made = part.config.silence ? prepared(part, wave).wave : atLevel(part, wave);
  const seconds = part.config.max_seconds as number;
  if (made.length > seconds * rate) {
    throw new RequestError(`the recording is longer than ${seconds} s`, "cut it");
  }
  return made;
}

/** A RIFF WAVE file of 16-bit integers. */
export function encodeWav({ samples, rate }: Sound): Uint8Array {
  const bytes = new Uint8Array(44 + 2 * samples.length);
  const view = new DataView(bytes.buffer);
  const word = (at: number, text: string) => bytes.set(new TextEncoder().encode(text), at);
  word(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  word(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  word(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, at) => {
    view.setInt16(44 + 2 * at, Math.max(-32768, Math.min(32767, Math.round(value * 32767))), true);
  });
  return bytes;
}
