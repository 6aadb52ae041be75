/** Runs the model beside the page, so that the page stays responsive. One request at a time; a stop ends it. */
import type { Sound } from "../audio.js";
import type { Ort } from "../graph.js";
import type { Pixels } from "../image.js";
import { load, RequestError, type Message, type Model } from "../index.js";
import type { Reply, Request, SiteMessage } from "./messages.js";

declare const self: DedicatedWorkerGlobalScope;

let model: Model | undefined;
let stopping = new AbortController();
let running: Promise<void> = Promise.resolve();
const attachments = new Map<number, Pixels | Sound>();

function send(reply: Reply, transfer: Transferable[] = []): void {
  self.postMessage(reply, transfer);
}

self.addEventListener("message", ({ data }: MessageEvent<Request>) => {
  stopping.abort(); // what runs, and what waits
  if (data.kind === "stop") return;
  stopping = new AbortController();
  const { signal } = stopping;
  running = running.then(() => answer(data, signal));
});

async function answer(request: Exclude<Request, { kind: "stop" }>, signal: AbortSignal): Promise<void> {
  try {
    await carryOut(request, signal);
  } catch (error) {
    const known = error instanceof RequestError;
    const what = known ? error.what : String(error instanceof Error ? error.message : error);
    send({ kind: "failed", id: request.id, what, fix: known ? error.fix : "load the page again" });
  }
}

async function carryOut(request: Exclude<Request, { kind: "stop" }>, signal: AbortSignal): Promise<void> {
  const { id } = request;
  const begin = performance.now();
  const onSamples = (samples: Float32Array, rate: number) => {
    const copy = samples.slice();
    send({ kind: "samples", id, samples: copy, rate }, [copy.buffer]);
  };
  if (request.kind === "load") return open(id);
  const opened = model!;
  if (request.kind === "chat") {
    const { voice, speed, aloud } = request;
    const made = await opened.chat(
      { messages: request.messages.map(attached) },
      {
        signal,
        speed,
        stream: (text) => send({ kind: "text", id, text }),
        ...(voice === undefined ? {} : { voice }),
        ...(aloud ? { onSamples } : {}),
      },
    );
    send({ kind: "done", id, milliseconds: made.milliseconds, tokens: made.tokens.length });
  } else if (request.kind === "speak") {
    const { text, voice, speed } = request;
    const speech = await opened.speak(text, { speed, signal, onSamples, ...(voice === undefined ? {} : { voice }) });
    send({ kind: "done", id, milliseconds: performance.now() - begin, skipped: speech.skipped });
  } else {
    const { text } = await opened.transcribe(request.sound, (word) => send({ kind: "text", id, text: word.text }));
    send({ kind: "done", id, milliseconds: performance.now() - begin, text });
  }
}

async function open(id: number): Promise<void> {
  const path = "./ort/ort.wasm.min.mjs";
  const ort = (await import(path)) as Ort & { env: { wasm: { numThreads: number; wasmPaths: string } } };
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("./ort/", self.location.href).href;
  model = await load(new URL("./bundle/", self.location.href).href, { ort });
  await model.warm((share) => send({ kind: "progress", id, share }));
  send({ kind: "ready", id, name: model.name, capabilities: model.capabilities });
}

/** A message with the attachments themselves, each the same object whenever it is shown. */
function attached(message: SiteMessage): Message {
  const known = <T extends Pixels | Sound>(number: number, content: T | undefined): T => {
    if (content !== undefined) attachments.set(number, content);
    return attachments.get(number) as T;
  };
  const { role, text, image, audio } = message;
  return {
    role,
    text,
    ...(image === undefined ? {} : { image: known(image.number, image.pixels) }),
    ...(audio === undefined ? {} : { audio: known(audio.number, audio.sound) }),
  };
}
