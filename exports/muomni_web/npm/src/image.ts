/** Pictures as the image encoder takes them: the same numbers as in training, by Pillow's bicubic resampling. */
import { RequestError } from "./errors.js";
import type { PartEntry } from "./manifest.js";
import { roundHalfEven } from "./rounding.js";

/** Pixels (height, width, 4): red, green, blue and alpha, from 0 to 255, rotated as they are to be seen. */
export interface Pixels {
  width: number;
  height: number;
  data: Uint8Array | Uint8ClampedArray;
}

/** Pixels (height, width, 3). */
interface Rgb {
  width: number;
  height: number;
  data: Uint8Array;
}

type Color = [number, number, number];

const FINE = 8; // longest side, in sides of the square, of the picture in which plain ends are looked for
const PLAIN = 20; // largest difference, in each channel, of pixels of one color
const PRECISION = 22; // fractional bits of the weights of a resampling

/** A picture as (3,S,S) numbers from 0 to 255, fitted to the encoder's square. */
export function encoderImage(part: PartEntry, pixels: Pixels): Uint8Array {
  if (pixels.width < 1 || pixels.height < 1) throw new RequestError("the picture has no pixels", "give another one");
  if (pixels.width * pixels.height > (part.config.max_pixels as number)) {
    throw new RequestError("the picture has too many pixels", "make it smaller");
  }
  const square = fitted(part, overWhite(pixels));
  const side = square.width;
  const planes = new Uint8Array(3 * side * side);
  for (let at = 0; at < side * side; at++) {
    for (let channel = 0; channel < 3; channel++) planes[channel * side * side + at] = square.data[3 * at + channel]!;
  }
  return planes;
}

function overWhite(pixels: Pixels): Rgb {
  const count = pixels.width * pixels.height;
  const data = new Uint8Array(3 * count);
  let seen = false;
  for (let at = 0; at < count; at++) {
    const alpha = pixels.data[4 * at + 3]!;
    seen ||= alpha > 0;
    for (let channel = 0; channel < 3; channel++) {
      const sum = pixels.data[4 * at + channel]! * alpha + 255 * (255 - alpha) + 128;
      data[3 * at + channel] = ((sum >> 8) + sum) >> 8;
    }
  }
  if (!seen) throw new RequestError("the picture is fully transparent: there is nothing to see", "give another one");
  return { width: pixels.width, height: pixels.height, data };
}

function fitted(part: PartEntry, image: Rgb): Rgb {
  const side = part.config.size as number;
  const fit = part.config.fit as string;
  const { width, height } = image;
  if (fit === "stretch" || width === height) return resized(image, side, side);
  if (fit === "crop") {
    const short = Math.min(width, height);
    const left = Math.floor((width - short) / 2);
    const top = Math.floor((height - short) / 2);
    return resized(cropped(image, left, top, left + short, top + short), side, side);
  }
  let color = (part.config.mean as number[]).map((share) => roundHalfEven(255 * share)) as Color;
  if (fit === "extend") {
    const small = resized(image, ...scaled(width, height, Math.min(Math.max(width, height), FINE * side)));
    color = edgeColor(small);
    image = withoutPlainEnds(image, small, color);
  }
  const inner = resized(image, ...scaled(image.width, image.height, side));
  const page: Rgb = { width: side, height: side, data: new Uint8Array(3 * side * side) };
  for (let at = 0; at < side * side; at++) page.data.set(color, 3 * at);
  const left = Math.floor((side - inner.width) / 2);
  const top = Math.floor((side - inner.height) / 2);
  for (let row = 0; row < inner.height; row++) {
    const line = inner.data.subarray(3 * row * inner.width, 3 * (row + 1) * inner.width);
    page.data.set(line, 3 * ((top + row) * side + left));
  }
  return page;
}

/** A size in proportion, with a longer side of `side`. */
function scaled(width: number, height: number, side: number): [number, number] {
  const most = Math.max(width, height);
  return [Math.max(1, roundHalfEven((width * side) / most)), Math.max(1, roundHalfEven((height * side) / most))];
}

function cropped(image: Rgb, left: number, top: number, right: number, bottom: number): Rgb {
  const width = right - left;
  const data = new Uint8Array(3 * width * (bottom - top));
  for (let row = top; row < bottom; row++) {
    const begin = 3 * (row * image.width + left);
    data.set(image.data.subarray(begin, begin + 3 * width), 3 * (row - top) * width);
  }
  return { width, height: bottom - top, data };
}

/** The median color of the outermost pixels, by channel. */
function edgeColor({ width, height, data }: Rgb): Color {
  const places: number[] = [];
  for (let x = 0; x < width; x++) places.push(x, (height - 1) * width + x);
  for (let y = 0; y < height; y++) places.push(y * width, y * width + width - 1);
  return [0, 1, 2].map((channel) => {
    const values = places.map((place) => data[3 * place + channel]!).sort((a, b) => a - b);
    const half = values.length / 2;
    return Math.floor((values[half - 1]! + values[half]!) / 2);
  }) as Color;
}

/** The picture without lines of one color at the ends of its longer side, but no shorter than the other side. `small`
 * is the picture in proportion. */
function withoutPlainEnds(image: Rgb, small: Rgb, color: Color): Rgb {
  const upright = image.height > image.width;
  const [lines, across] = upright ? [small.height, small.width] : [small.width, small.height];
  const isPlain = (line: number) => {
    for (let at = 0; at < across; at++) {
      const place = upright ? line * small.width + at : at * small.width + line;
      for (let channel = 0; channel < 3; channel++) {
        if (Math.abs(small.data[3 * place + channel]! - color[channel]!) > PLAIN) return false;
      }
    }
    return true;
  };
  let before = 0;
  while (before < lines && isPlain(before)) before++;
  if (before === lines) before = 0;
  let after = 0;
  while (after < lines && isPlain(lines - 1 - after)) after++;
  if (after === lines) after = 0;
  const cut = Math.min(lines - across, before + after);
  const left = before + after - cut;
  const some = Math.min(Math.floor(across / 16), Math.floor(left / 2));
  const least = Math.min(before, some);
  const most = left - Math.min(after, some);
  const share = roundHalfEven((left * before) / Math.max(before + after, 1));
  const first = before - Math.min(Math.max(share, least), most);
  const longer = Math.max(image.width, image.height);
  const [begin, end] = [first, lines - cut + first].map((at) => roundHalfEven((at * longer) / lines)) as [number, number];
  return upright ? cropped(image, 0, begin, image.width, end) : cropped(image, begin, 0, end, image.height);
}

interface Weights {
  first: Int32Array;
  count: Int32Array;
  values: Int32Array;
  size: number;
}

/** Keys' cubic convolution with a = -0.5, as Pillow has it. */
function bicubic(x: number): number {
  const at = Math.abs(x);
  if (at < 1) return (1.5 * at - 2.5) * at * at + 1;
  return at < 2 ? ((-0.5 * at + 2.5) * at - 4) * at + 2 : 0;
}

function weightsOf(from: number, to: number): Weights {
  const scale = from / to;
  const wide = Math.max(scale, 1);
  const support = 2 * wide;
  const size = Math.ceil(support) * 2 + 1;
  const made = { first: new Int32Array(to), count: new Int32Array(to), values: new Int32Array(to * size), size };
  for (let place = 0; place < to; place++) {
    const center = (place + 0.5) * scale;
    const begin = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(from, Math.trunc(center + support + 0.5));
    const values = Array.from({ length: end - begin }, (_, at) => bicubic((at + begin - center + 0.5) * (1 / wide)));
    const sum = values.reduce((all, value) => all + value, 0);
    values.forEach((value, at) => {
      const share = (sum === 0 ? value : value * (1 / sum)) * 2 ** PRECISION;
      made.values[place * size + at] = Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    });
    made.first[place] = begin;
    made.count[place] = end - begin;
  }
  return made;
}

function resized(image: Rgb, width: number, height: number): Rgb {
  // as Pillow 13 does: the sides one after the other, rounded in between, and first the one that is cheaper
  const cut = image.height - height;
  const uprightFirst = cut > 0 && cut > 2 * (image.width - width);
  return uprightFirst ? wider(higher(image, height), width) : higher(wider(image, width), height);
}

function wider(image: Rgb, width: number): Rgb {
  if (width === image.width) return image;
  const data = new Uint8Array(3 * width * image.height);
  resample(image.data, data, weightsOf(image.width, width), image.height, 3 * image.width, 3 * width, 3, 3);
  return { width, height: image.height, data };
}

function higher(image: Rgb, height: number): Rgb {
  if (height === image.height) return image;
  const { width } = image;
  const data = new Uint8Array(3 * width * height);
  resample(image.data, data, weightsOf(image.height, height), width, 3, 3, 3 * width, 3 * width);
  return { width, height, data };
}

/** Resample each of `lines` lines, which begin `from` apart in `source` and `to` apart in `target`; the pixels of a line
 * are `step` and `stride` apart. */
function resample(
  source: Uint8Array,
  target: Uint8Array,
  weights: Weights,
  lines: number,
  from: number,
  to: number,
  step: number,
  stride: number,
): void {
  for (let line = 0; line < lines; line++) {
    for (let place = 0; place < weights.first.length; place++) {
      const begin = line * from + weights.first[place]! * step;
      const own = place * weights.size;
      for (let channel = 0; channel < 3; channel++) {
        let sum = 2 ** (PRECISION - 1);
        for (let at = 0; at < weights.count[place]!; at++) {
          sum += source[begin + at * step + channel]! * weights.values[own + at]!;
        }
        target[line * to + place * stride + channel] = Math.min(255, Math.max(0, Math.floor(sum / 2 ** PRECISION)));
      }
    }
  }
}
