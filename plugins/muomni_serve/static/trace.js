// What is seen of an answer while it is made: spectrograms, tokens and speeds.

const SIZE = 512; // samples of a window, at SHOWN samples a second: 32 ms
const SHOWN = 16000;
const HOP = 160; // 10 ms
const FLOOR = -80; // dB that are drawn darkest
const FAINT = 0.01; // nats: less is not told
const COLORS = [[11, 10, 18], [58, 20, 92], [140, 41, 99], [214, 72, 62], [250, 150, 60], [252, 243, 190]];

function palette() {
  const table = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (COLORS.length - 1);
    const low = Math.min(Math.floor(place), COLORS.length - 2);
    for (let c = 0; c < 3; c++) {
      table[3 * i + c] = COLORS[low][c] + (place - low) * (COLORS[low + 1][c] - COLORS[low][c]);
    }
  }
  return table;
}

const TABLE = palette();
const WINDOW = Float32Array.from({ length: SIZE }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / SIZE));

/** In place: the discrete Fourier transform by the algorithm of Cooley and Tukey; the length is a power of two. */
export function fft(real, imaginary) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let size = 2; size <= n; size <<= 1) {
    const half = size >> 1;
    for (let k = 0; k < half; k++) {
      const angle = (-2 * Math.PI * k) / size;
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      for (let at = k; at < n; at += size) {
        const other = at + half;
        const re = real[other] * cos - imaginary[other] * sin;
        const im = real[other] * sin + imaginary[other] * cos;
        real[other] = real[at] - re;
        imaginary[other] = imaginary[at] - im;
        real[at] += re;
        imaginary[at] += im;
      }
    }
  }
}

/** Draws samples as they come, a column every 10 ms; the oldest leave on the left. */
export class Spectrogram {
  constructor(canvas, what) {
    this.canvas = canvas;
    this.what = what;
    this.paint = canvas.getContext("2d", { willReadFrequently: true });
    this.clear();
  }

  clear() {
    this.held = new Float32Array(0);
    this.phase = 0;
    this.column = 0;
    this.seconds = 0;
    this.paint.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.canvas.setAttribute("aria-label", `${this.what}: none yet`);
  }

  push(samples, rate) {
    this.seconds += samples.length / rate;
    const added = this.#resampled(samples, rate);
    const all = new Float32Array(this.held.length + added.length);
    all.set(this.held);
    all.set(added, this.held.length);
    let at = 0;
    for (; at + SIZE <= all.length; at += HOP) this.#draw(all.subarray(at, at + SIZE));
    this.held = all.slice(at);
    this.canvas.setAttribute("aria-label", `${this.what}: ${this.seconds.toFixed(1)} seconds`);
  }

  /** At 16 kHz, each sample the mean of those that it stands for: enough to look at. */
  #resampled(samples, rate) {
    const step = rate / SHOWN;
    const made = [];
    let at = this.phase;
    for (; at + step <= samples.length; at += step) {
      const [begin, end] = [Math.floor(at), Math.max(Math.floor(at) + 1, Math.floor(at + step))];
      let sum = 0;
      for (let i = begin; i < end; i++) sum += samples[i];
      made.push(sum / (end - begin));
    }
    this.phase = Math.max(0, at - samples.length);
    return Float32Array.from(made);
  }

  #draw(window) {
    const real = Float32Array.from(window, (value, i) => value * WINDOW[i]);
    const imaginary = new Float32Array(SIZE);
    fft(real, imaginary);
    const { width, height } = this.canvas;
    if (this.column >= width) {
      this.paint.drawImage(this.canvas, -1, 0);
      this.column = width - 1;
    }
    const image = this.paint.createImageData(1, height);
    for (let y = 0; y < height; y++) {
      const bin = Math.min(SIZE / 2 - 1, Math.floor(((height - 1 - y) / height) * (SIZE / 2)));
      const power = (real[bin] ** 2 + imaginary[bin] ** 2) / (SIZE / 4) ** 2;
      const level = Math.max(0, Math.min(1, 1 - (10 * Math.log10(power + 1e-12)) / FLOOR));
      const color = 3 * Math.round(255 * level);
      image.data.set([TABLE[color], TABLE[color + 1], TABLE[color + 2], 255], 4 * y);
    }
    this.paint.putImageData(image, this.column, 0);
    this.column += 1;
  }
}

/** Speeds of one answer, measured from the request on. */
export class Speeds {
  constructor(show) {
    this.show = show;
    this.begin = performance.now();
    this.first = this.last = this.sound = null;
    this.count = this.spoken = 0;
  }

  #now() {
    return (performance.now() - this.begin) / 1000;
  }

  /** Some tokens came. */
  tokens(count) {
    this.last = this.#now();
    this.first ??= this.last;
    this.count += count;
    this.show("first-token", milliseconds(this.first));
    if (this.last > this.first) this.show("token-rate", `${(this.count / this.last).toFixed(0)} /s`);
  }

  /** Some seconds of speech came. */
  speech(seconds) {
    const now = this.#now();
    this.sound ??= now;
    this.spoken += seconds;
    this.show("first-sound", milliseconds(this.sound));
    this.show("speech-rate", `${(this.spoken / now).toFixed(1)}× real time`);
  }
}

export function milliseconds(seconds) {
  return seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(2)} s`;
}

/**
 * Marks on a picture what an answer depends on, and tells where most: the parts of a map of rows from the top, in nats.
 * */
export function drawOcclusion(canvas, rows, tell) {
  const most = Math.max(...rows.flat());
  const paint = canvas.getContext("2d");
  canvas.width = rows[0].length;
  canvas.height = rows.length;
  if (!(most > FAINT)) return tell("No single part changes the answer.");
  const cells = rows.flatMap((row, y) => row.map((value, x) => ({ value, x, y })));
  for (const { value, x, y } of cells) {
    paint.fillStyle = `rgb(255 64 64 / ${0.75 * Math.max(0, value / most)})`;
    paint.fillRect(x, y, 1, 1);
  }
  const { x, y } = cells.find(({ value }) => value === most);
  tell(`Most at ${percent(x, rows[0].length)} from the left and ${percent(y, rows.length)} from the top.`);
}

function percent(cell, cells) {
  return `${Math.round((100 * (cell + 0.5)) / cells)} %`;
}

/** Items of the list of tokens. */
export function tokenItems(tokens) {
  return tokens.map(({ id, text, ms }) => {
    const item = document.createElement("li");
    const special = text === "";
    item.textContent = special ? "end" : text.replaceAll(" ", "\u00b7").replaceAll("\n", "\u21b5");
    item.title = `token ${id}, after ${ms} ms`;
    if (special) item.className = "special";
    return item;
  });
}
