/** The manifest of a bundle, `muomni.json`: its types, and what is checked before anything else is opened. */
import { crc32, sha256 } from "./digest.js";
import { RequestError } from "./errors.js";

export const MANIFEST = "muomni.json";
const FORMAT = 1;
const AGAIN = "export the model again, or copy the whole folder again";

export interface GraphEntry {
  file: string;
  /** input -> its axes: a size, or a name */
  inputs: Record<string, (number | string)[]>;
  types: Record<string, string>;
  outputs: string[];
  /** input -> the output that it is at the next call */
  states: Record<string, string>;
  precision?: string;
  tolerance: number;
}

export interface PartEntry {
  kind: string;
  use: string;
  plugin: string;
  config: Record<string, any>;
  graphs: Record<string, GraphEntry>;
  vocab_size?: number;
  codes?: { codebooks: number; size: number; seconds: number };
  voices?: string[];
  thinker_width?: number;
  mel?: MelSettings;
  sample_rate?: number;
  head_metadata?: Record<string, any>;
}

export interface MelSettings {
  sample_rate: number;
  n_fft: number;
  window: number;
  hop: number;
  n_mels: number;
  mel_floor: number;
}

export interface ChatDefaults {
  template: string;
  system: string;
  temperature: number;
  top_k: number;
  top_p: number;
  min_p: number;
  repetition_penalty: number;
  max_tokens: number;
  stop: string[];
  reattach: string[];
  loop_guard: boolean;
  form: Record<string, unknown>;
}

export interface Manifest {
  format: number;
  checksum: string;
  name: string;
  parts: Record<string, PartEntry>;
  tokenizer: { kind: string; use: string; weights: string; vocab_size: number } | null;
  special_tokens: Record<string, number>;
  chat: Partial<ChatDefaults>;
  precision: string;
  files: Record<string, string>;
}

/** What a recipe has where the manifest says nothing. */
export const CHAT_DEFAULTS: ChatDefaults = {
  template: "plain",
  system: "",
  temperature: 0.8,
  top_k: 0,
  top_p: 0.95,
  min_p: 0,
  repetition_penalty: 1,
  max_tokens: 256,
  stop: [],
  reattach: ["audio"],
  loop_guard: true,
  form: {},
};

/** Reads one file of a bundle by its path within it. */
export type ReadFile = (path: string) => Promise<Uint8Array>;

/** A bundle whose manifest holds; files are compared with their digests when they are read. */
export class Bundle {
  private constructor(
    readonly manifest: Manifest,
    private readonly readFile: ReadFile,
  ) {}

  /** RequestError: the manifest is missing, damaged, or of a format that is not known here. */
  static async open(readFile: ReadFile): Promise<Bundle> {
    const bytes = await readFile(MANIFEST);
    const manifest = parseManifest(bytes);
    for (const part of Object.values(manifest.parts)) {
      for (const graph of Object.values(part.graphs)) requireInside(graph.file);
    }
    Object.keys(manifest.files).forEach(requireInside);
    return new Bundle(manifest, readFile);
  }

  /** The bytes of a listed file. RequestError: it is not part of the bundle, or not as it was written. */
  async read(path: string): Promise<Uint8Array> {
    const expected = this.manifest.files[path];
    if (expected === undefined) throw new RequestError(`${path} is not a file of the bundle`, AGAIN);
    const bytes = await this.readFile(path);
    if ((await sha256(bytes)) !== expected) throw new RequestError(`${path} is not as it was exported`, AGAIN);
    return bytes;
  }

  part(name: string): PartEntry | undefined {
    return this.manifest.parts[name];
  }
}

function parseManifest(bytes: Uint8Array): Manifest {
  const text = new TextDecoder().decode(bytes);
  let manifest: Manifest;
  try {
    manifest = JSON.parse(text) as Manifest;
  } catch {
    throw new RequestError(`${MANIFEST} is not JSON`, AGAIN);
  }
  if (manifest.format !== FORMAT) {
    throw new RequestError(`the bundle has format ${manifest.format}, and this program reads ${FORMAT}`, AGAIN);
  }
  const told = /"checksum"\s*:\s*"crc32:([0-9a-f]{8})"/.exec(text);
  if (told === null) throw new RequestError(`${MANIFEST} has no checksum`, AGAIN);
  const blank = text.replace(told[0], told[0].replace(told[1]!, "00000000"));
  const found = crc32(new TextEncoder().encode(blank)).toString(16).padStart(8, "0");
  if (found !== told[1]) throw new RequestError(`${MANIFEST} is not as it was exported`, AGAIN);
  return manifest;
}

function requireInside(path: string): void {
  if (path.startsWith("/") || path.includes("\\") || path.includes(":") || path.split("/").includes("..")) {
    throw new RequestError(`the bundle names a file outside of it: ${path}`, AGAIN);
  }
}
