/** The bundle to check, and the runtime to check it with: MUOMNI_BUNDLE, and MUOMNI_ORT=web for WebAssembly. */
import * as muomni from "../dist/index.js";
import { loadFolder } from "../dist/node.js";
import { readNpz } from "./npz.mjs";

export const folder = process.env.MUOMNI_BUNDLE;
export const web = process.env.MUOMNI_ORT === "web";
export const skip = folder === undefined ? "MUOMNI_BUNDLE names no bundle" : false;

export async function runtime() {
  if (!web) return import("onnxruntime-node");
  const ort = await import("onnxruntime-web");
  ort.env.wasm.numThreads = 1;
  return ort;
}

export async function openModel() {
  return loadFolder(folder, await runtime());
}

export function reference() {
  return readNpz(`${folder}/reference.npz`);
}

export { muomni };
