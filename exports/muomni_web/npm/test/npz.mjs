/** Arrays of numpy's .npz files, with Node's own zlib. */
import { readFileSync } from "node:fs";
import { inflateRawSync } from "node:zlib";

const TYPES = { f4: Float32Array, f2: Uint16Array, f8: Float64Array, i8: BigInt64Array, i4: Int32Array, u1: Uint8Array };

/** name -> { type, dims, data } of every array in a file. */
export function readNpz(path) {
  const bytes = readFileSync(path);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (view.getUint32(end, true) !== 0x06054b50) end--;
  const arrays = new Map();
  let at = view.getUint32(end + 16, true);
  for (let entry = view.getUint16(end + 10, true); entry > 0; entry--) {
    const [method, packed] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true)];
    const [nameSize, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    const local = view.getUint32(at + 42, true);
    const name = bytes.toString("utf8", at + 46, at + 46 + nameSize).replace(/\.npy$/, "");
    const begin = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const raw = bytes.subarray(begin, begin + packed);
    arrays.set(name, readNpy(method === 8 ? inflateRawSync(raw) : raw));
    at += 46 + nameSize + extra + comment;
  }
  return arrays;
}

function readNpy(bytes) {
  const size = bytes[6] === 1 ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8);
  const begin = (bytes[6] === 1 ? 10 : 12) + size;
  const header = bytes.toString("latin1", begin - size, begin);
  const type = /'descr': '[<|=](\w\d)'/.exec(header)[1];
  const dims = /'shape': \(([^)]*)\)/.exec(header)[1].split(",").map((one) => one.trim()).filter(Boolean).map(Number);
  const content = bytes.buffer.slice(bytes.byteOffset + begin, bytes.byteOffset + bytes.length);
  return { type, dims, data: new TYPES[type](content) };
}
