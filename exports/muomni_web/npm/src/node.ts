/** Bundles, pictures and sounds from the disk, under Node. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { decodeWav, type Sound } from "./audio.js";
import { RequestError } from "./errors.js";
import type { Ort } from "./graph.js";
import type { Pixels } from "./image.js";
import { Model } from "./model.js";
import { decodePng, isPng } from "./png.js";

/** Open the bundle in a folder. `ort`: onnxruntime-node by default. RequestError: there is none, or it is damaged. */
export async function loadFolder(folder: string, ort?: Ort): Promise<Model> {
  const runtime = ort ?? ((await import("onnxruntime-node")) as unknown as Ort);
  return Model.open((path) => readBytes(join(folder, ...path.split("/"))), { ort: runtime });
}

/** A PNG file. RequestError: it cannot be read, or is another kind of picture. */
export async function readPicture(path: string): Promise<Pixels> {
  const bytes = await readBytes(path);
  if (!isPng(bytes)) throw new RequestError(`${path} is not a PNG file`, "convert it to PNG");
  return decodePng(bytes);
}

/** A WAV file. RequestError: it cannot be read, or is another kind of sound. */
export async function readSound(path: string): Promise<Sound> {
  return decodeWav(await readBytes(path));
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(path));
  } catch {
    throw new RequestError(`${path} cannot be read`, "check the path");
  }
}
