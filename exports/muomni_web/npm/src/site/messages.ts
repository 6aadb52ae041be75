/** What the page and its worker tell each other. */
import type { Sound } from "../audio.js";
import type { Pixels } from "../image.js";
import type { Capabilities } from "../model.js";

export interface SiteMessage {
  role: "user" | "assistant";
  text: string;
  /** an attachment: its number, by which the worker knows it again; its content goes with the message that is new */
  image?: { number: number; pixels?: Pixels };
  audio?: { number: number; sound?: Sound };
}

export type Request =
  | { kind: "load"; id: number }
  | { kind: "chat"; id: number; messages: SiteMessage[]; voice?: string | undefined; speed: number; aloud: boolean }
  | { kind: "speak"; id: number; text: string; voice?: string | undefined; speed: number }
  | { kind: "transcribe"; id: number; sound: Sound }
  | { kind: "stop"; id: number };

export type Reply =
  | { kind: "progress"; id: number; share: number }
  | { kind: "ready"; id: number; name: string; capabilities: Capabilities }
  | { kind: "text"; id: number; text: string }
  | { kind: "samples"; id: number; samples: Float32Array; rate: number }
  | { kind: "done"; id: number; milliseconds: number; tokens?: number; skipped?: string[]; text?: string }
  | { kind: "failed"; id: number; what: string; fix: string };
