/** Runs bundles of `muomni export --onnx` with onnxruntime for JavaScript, in browsers and under Node. */
import { RequestError } from "./errors.js";
import type { ReadFile } from "./manifest.js";
import { Model, type LoadOptions } from "./model.js";

export { decodeWav, encodeWav, mono, resample, type Sound } from "./audio.js";
export { RequestError } from "./errors.js";
export { encoderImage, type Pixels } from "./image.js";
export { decodePng, isPng } from "./png.js";
export { pronounceable } from "./normalization/frontend.js";
export type { Word } from "./recognizer.js";
export type { Speech, SpeechSettings } from "./speaker.js";
export { Model, type Answer, type Capabilities, type ChatOptions, type ChatRequest, type Message } from "./model.js";

/** Open the bundle whose files lie below `url`, such as `./bundle/`; parts are fetched when they are first needed.
 *
 * RequestError: there is no bundle, or it is damaged.
 */
export async function load(url: string, options: LoadOptions): Promise<Model> {
  return Model.open(fetcher(url), options);
}

/** Reads files below `url`. RequestError: one cannot be fetched. */
export function fetcher(url: string): ReadFile {
  const base = url.endsWith("/") ? url : `${url}/`;
  return async (path) => {
    let response: Response;
    try {
      response = await fetch(base + path);
    } catch {
      throw new RequestError(`${path} cannot be fetched`, "check the connection, and load the page again");
    }
    if (!response.ok) throw new RequestError(`${path} cannot be fetched (${response.status})`, "upload the whole bundle");
    return new Uint8Array(await response.arrayBuffer());
  };
}
