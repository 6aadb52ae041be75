/** PNG files (ISO 15948) to pixels, alike in every program: browsers apply color profiles, and Node has no decoder. */
import { RequestError } from "./errors.js";
import type { Pixels } from "./image.js";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DAMAGED = "open and save it again in an image editor, or give another picture";

interface Header {
  width: number;
  height: number;
  bits: number;
  color: number;
  interlaced: boolean;
}

export function isPng(bytes: Uint8Array): boolean {
  return SIGNATURE.every((byte, place) => bytes[place] === byte);
}

/** RequestError: the file is damaged, or interlaced. */
export async function decodePng(bytes: Uint8Array): Promise<Pixels> {
  const chunks = chunksOf(bytes);
  const header = headerOf(chunks.get("IHDR")?.[0]);
  if (header.interlaced) throw new RequestError("the picture is an interlaced PNG", "save it without interlacing");
  const palette = chunks.get("PLTE")?.[0];
  const transparent = chunks.get("tRNS")?.[0];
  const raw = await inflated(chunks.get("IDAT") ?? []);
  const channels = CHANNELS[header.color]!;
  const perPixel = Math.max(1, (channels * header.bits) >> 3);
  const rowBytes = Math.ceil((header.width * channels * header.bits) / 8);
  if (raw.length < (rowBytes + 1) * header.height) throw new RequestError("the picture is cut off", DAMAGED);
  const rows = unfiltered(raw, header.height, rowBytes, perPixel);
  return { width: header.width, height: header.height, data: toRgba(header, rows, rowBytes, palette, transparent) };
}

function chunksOf(bytes: Uint8Array): Map<string, Uint8Array[]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = new Map<string, Uint8Array[]>();
  for (let at = 8; at + 12 <= bytes.length; ) {
    const size = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (at + 12 + size > bytes.length) throw new RequestError("the picture is cut off", DAMAGED);
    found.set(kind, [...(found.get(kind) ?? []), bytes.subarray(at + 8, at + 8 + size)]);
    at += 12 + size;
  }
  return found;
}

function headerOf(chunk: Uint8Array | undefined): Header {
  if (chunk === undefined || chunk.length < 13) throw new RequestError("the picture has no header", DAMAGED);
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  const header = {
    width: view.getUint32(0),
    height: view.getUint32(4),
    bits: chunk[8]!,
    color: chunk[9]!,
    interlaced: chunk[12] === 1,
  };
  if (CHANNELS[header.color] === undefined || header.width < 1 || header.height < 1) {
    throw new RequestError("the picture's header is damaged", DAMAGED);
  }
  return header;
}

async function inflated(pieces: readonly Uint8Array[]): Promise<Uint8Array> {
  try {
    const stream = new Blob(pieces as Uint8Array<ArrayBuffer>[]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch {
    throw new RequestError("the picture is damaged", DAMAGED);
  }
}

function unfiltered(raw: Uint8Array, height: number, rowBytes: number, perPixel: number): Uint8Array {
  const rows = new Uint8Array(rowBytes * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (rowBytes + 1)]!;
    const own = y * rowBytes;
    for (let x = 0; x < rowBytes; x++) {
      const left = x >= perPixel ? rows[own + x - perPixel]! : 0;
      const above = y > 0 ? rows[own - rowBytes + x]! : 0;
      const corner = y > 0 && x >= perPixel ? rows[own - rowBytes + x - perPixel]! : 0;
      rows[own + x] = raw[y * (rowBytes + 1) + 1 + x]! + predicted(filter, left, above, corner);
    }
  }
  return rows;
}

function predicted(filter: number, left: number, above: number, corner: number): number {
  if (filter === 1) return left;
  if (filter === 2) return above;
  if (filter === 3) return (left + above) >> 1;
  if (filter !== 4) return 0;
  const [a, b, c] = [Math.abs(above - corner), Math.abs(left - corner), Math.abs(left + above - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? above : corner;
}

function toRgba(
  header: Header,
  rows: Uint8Array,
  rowBytes: number,
  palette: Uint8Array | undefined,
  transparent: Uint8Array | undefined,
): Uint8Array {
  const { width, height, bits, color } = header;
  const channels = CHANNELS[color]!;
  const data = new Uint8Array(4 * width * height);
  const most = 2 ** Math.min(bits, 8) - 1;
  const sample = (y: number, place: number) => {
    if (bits >= 8) return rows[y * rowBytes + (place * bits) / 8]!;
    const bit = place * bits;
    return (rows[y * rowBytes + (bit >> 3)]! >> (8 - bits - (bit & 7))) & most;
  };
  const wide = (y: number, place: number) =>
    bits === 16 ? 256 * rows[y * rowBytes + 2 * place]! + rows[y * rowBytes + 2 * place + 1]! : sample(y, place);
  const key = transparent && color !== 3 ? Array.from({ length: channels }, (_, n) => 256 * transparent[2 * n]! + transparent[2 * n + 1]!) : undefined;
  const low = color === 0 && bits === 16 && !someAbove(rows, 255);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = 4 * (y * width + x);
      const first = x * channels;
      if (color === 3) {
        const index = sample(y, first);
        data.set(palette?.subarray(3 * index, 3 * index + 3) ?? [], at);
        data[at + 3] = transparent?.[index] ?? 255;
        continue;
      }
      const level = (n: number) => (low ? wide(y, first + n) : bits < 8 ? (sample(y, first + n) * 255) / most : sample(y, first + n));
      const gray = color === 0 || color === 4;
      for (let n = 0; n < 3; n++) data[at + n] = level(gray ? 0 : n);
      const hidden = key !== undefined && key.every((value, n) => value === wide(y, first + n));
      data[at + 3] = color === 4 ? sample(y, first + 1) : color === 6 ? sample(y, first + 3) : hidden ? 0 : 255;
    }
  }
  return data;
}

/** Whether one of 16-bit numbers is above `limit`: gray of so many bits may hold values of 8. */
function someAbove(rows: Uint8Array, limit: number): boolean {
  for (let at = 0; at < rows.length; at += 2) if (256 * rows[at]! + rows[at + 1]! > limit) return true;
  return false;
}
