// Requests to the server that this page came from.

const BASE = new URL(".", document.baseURI);
let key = sessionStorage.getItem("muomni.key") ?? "";

/** An answer with an error object. */
export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function useKey(given) {
  key = given;
  if (given) sessionStorage.setItem("muomni.key", given);
  else sessionStorage.removeItem("muomni.key");
}

async function request(path, options = {}) {
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(new URL(path, BASE), { ...options, headers, credentials: "omit", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "The server cannot be reached. Is it still running?");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new Failure(response.status, body?.error?.message ?? `The server answered with status ${response.status}.`);
}

export async function models() {
  return (await (await request("v1/models")).json()).data;
}

/** The words of a recording, as a text. */
export async function transcribe(model, file, signal) {
  const form = new FormData();
  form.append("model", model);
  form.append("file", file, "recording.wav");
  return (await (await request("v1/audio/transcriptions", { method: "POST", body: form, signal })).json()).text;
}

/** The events of a streamed chat answer, as they come. */
export function chat(body, signal) {
  return events("v1/chat/completions", { ...body, stream: true, stream_options: { include_usage: true } }, signal);
}

/** The events of a text that is spoken, as they come. */
export function speech(body, signal) {
  return events("v1/audio/speech", { ...body, response_format: "pcm", stream_format: "sse" }, signal);
}

async function* events(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  const response = await request(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const whole = (rest + value).split("\n\n");
      rest = whole.pop();
      for (const event of whole) {
        const data = event.slice("data: ".length);
        if (data === "[DONE]") return;
        const found = JSON.parse(data);
        if (found.error) throw new Failure(500, found.error.message);
        yield found;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Base64 of a file. */
export async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}
