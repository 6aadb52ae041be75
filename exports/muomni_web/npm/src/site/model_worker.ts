/** The worker as functions that the page calls. */
import type { Sound } from "../audio.js";
import { RequestError } from "../errors.js";
import type { Capabilities } from "../model.js";
import type { Reply, Request, SiteMessage } from "./messages.js";

export interface Listeners {
  onText?: (text: string) => void;
  onSamples?: (samples: Float32Array, rate: number) => void;
  onProgress?: (share: number) => void;
}

export interface Voiced {
  voice?: string | undefined;
  speed: number;
}

type Done = Extract<Reply, { kind: "done" | "ready" }>;
type Asked<T> = T extends { id: number } ? Omit<T, "id"> : never;

export class ModelWorker {
  private readonly worker = new Worker("worker.js", { type: "module" });
  private readonly waiting = new Map<
    number,
    { listeners: Listeners; resolve: (done: Done) => void; reject: (error: Error) => void }
  >();
  private next = 1;

  constructor() {
    this.worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => this.take(data));
    this.worker.addEventListener("error", () => {
      for (const { reject } of this.waiting.values()) {
        reject(new RequestError("the model cannot be run in this browser", "use a newer browser"));
      }
      this.waiting.clear();
    });
  }

  async load(onProgress: (share: number) => void): Promise<{ name: string; capabilities: Capabilities }> {
    return (await this.ask({ kind: "load" }, { onProgress })) as Extract<Reply, { kind: "ready" }>;
  }

  chat(messages: SiteMessage[], voiced: Voiced, aloud: boolean, listeners: Listeners): Promise<DoneReply> {
    return this.ask({ kind: "chat", messages, ...voiced, aloud }, listeners) as Promise<DoneReply>;
  }

  speak(text: string, voiced: Voiced, listeners: Listeners): Promise<DoneReply> {
    return this.ask({ kind: "speak", text, ...voiced }, listeners) as Promise<DoneReply>;
  }

  transcribe(sound: Sound, listeners: Listeners): Promise<DoneReply> {
    return this.ask({ kind: "transcribe", sound }, listeners) as Promise<DoneReply>;
  }

  /** End what is running; its promise is fulfilled with what there was. */
  stop(): void {
    this.worker.postMessage({ kind: "stop", id: 0 } satisfies Request);
  }

  private ask(request: Asked<Request>, listeners: Listeners): Promise<Done> {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { listeners, resolve, reject });
      this.worker.postMessage({ ...request, id });
    });
  }

  private take(reply: Reply): void {
    const waiting = this.waiting.get(reply.id);
    if (waiting === undefined) return;
    const { listeners } = waiting;
    if (reply.kind === "text") listeners.onText?.(reply.text);
    else if (reply.kind === "samples") listeners.onSamples?.(reply.samples, reply.rate);
    else if (reply.kind === "progress") listeners.onProgress?.(reply.share);
    else {
      this.waiting.delete(reply.id);
      if (reply.kind === "failed") waiting.reject(new RequestError(reply.what, reply.fix));
      else waiting.resolve(reply);
    }
  }
}

export type DoneReply = Extract<Reply, { kind: "done" }>;
