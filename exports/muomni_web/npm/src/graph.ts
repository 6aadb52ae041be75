/** Graphs of a bundle as functions of tensors, over any build of onnxruntime for JavaScript, and their states. */
import type { InferenceSession, Tensor as OrtTensor, TensorConstructor } from "onnxruntime-common";

import { RequestError } from "./errors.js";
import type { Bundle, GraphEntry } from "./manifest.js";

export type Tensor = OrtTensor;
export type Feeds = Record<string, Tensor>;

/** What is used of onnxruntime-web and onnxruntime-node. */
export interface Ort {
  InferenceSession: {
    create(model: Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
  Tensor: TensorConstructor;
}

/** One open graph. */
export class Graph {
  private constructor(
    private readonly session: InferenceSession,
    readonly ort: Ort,
    readonly entry: GraphEntry,
  ) {}

  /** RequestError: the graph is not as it was exported, or this onnxruntime cannot open it. */
  static async open(ort: Ort, bundle: Bundle, entry: GraphEntry): Promise<Graph> {
    const bytes = await bundle.read(entry.file);
    try {
      const session = await ort.InferenceSession.create(bytes, {
        graphOptimizationLevel: "all",
        executionMode: "sequential",
        intraOpNumThreads: 1,
        enableMemPattern: false, // plans memory for one shape, and a cache has another at every step
        enableCpuMemArena: false,
        logSeverityLevel: 3,
        extra: {
          // an x86 CPU without VNNI sums 8-bit products in 16 bits otherwise, which saturates
          session: { x64quantprecision: "1" },
          // gives zero points of quantized blocks an invalid shape
          optimization: { disable_specified_optimizers: "QDQS8ToU8Transformer" },
        },
      });
      return new Graph(session, ort, entry);
    } catch (error) {
      const why = String(error instanceof Error ? error.message : error).split("\n")[0];
      throw new RequestError(`${entry.file} cannot be opened: ${why}`, "use onnxruntime 1.23 or newer");
    }
  }

  /** All outputs, or the `wanted` ones. */
  async run(feeds: Feeds, wanted?: readonly string[]): Promise<Feeds> {
    return (wanted === undefined ? await this.session.run(feeds) : await this.session.run(feeds, wanted)) as Feeds;
  }

  float(values: Float32Array, dims: readonly number[]): Tensor {
    return new this.ort.Tensor("float32", values, dims);
  }

  int64(values: ArrayLike<number>, dims: readonly number[]): Tensor {
    return new this.ort.Tensor("int64", BigInt64Array.from(Array.from(values, BigInt)), dims);
  }

  /** The states before the first call: zeros, and nothing along the axes that grow. */
  emptyStates(): Feeds {
    return Object.fromEntries(Object.keys(this.entry.states).map((name) => [name, this.emptyState(name)]));
  }

  private emptyState(name: string): Tensor {
    const dims = this.entry.inputs[name]!.map((axis) =>
      typeof axis === "number" ? axis : axis === "past" || axis === "known" ? 0 : 1,
    );
    const size = dims.reduce((product, dim) => product * dim, 1);
    const type = this.entry.types[name];
    if (type === "int64") return new this.ort.Tensor("int64", new BigInt64Array(size), dims);
    if (type === "float16") return new this.ort.Tensor("float16", new Uint16Array(size), dims);
    return new this.ort.Tensor("float32", new Float32Array(size), dims);
  }

  /** The states for the next call, from the outputs of this one. */
  nextStates(outputs: Feeds): Feeds {
    return Object.fromEntries(Object.entries(this.entry.states).map(([past, now]) => [past, outputs[now]!]));
  }
}

/** The values of a float32 output. */
export function floats(tensor: Tensor | undefined): Float32Array {
  return tensor!.data as Float32Array;
}

/** Row `row` of the last axis of a float32 output. */
export function lastRow(tensor: Tensor, row: number): Float32Array {
  const width = tensor.dims[tensor.dims.length - 1]!;
  return floats(tensor).slice(row * width, (row + 1) * width);
}

/** The first `length` places of a state along the axis `axis`. */
export function truncated(ort: Ort, tensor: Tensor, axis: number, length: number): Tensor {
  const dims = [...tensor.dims];
  const inner = dims.slice(axis + 1).reduce((product, dim) => product * dim, 1);
  const outer = dims.slice(0, axis).reduce((product, dim) => product * dim, 1);
  const before = dims[axis]! * inner;
  dims[axis] = length;
  const source = tensor.data as Float32Array | Uint16Array;
  const kept = new (source.constructor as Float32ArrayConstructor)(outer * length * inner);
  for (let row = 0; row < outer; row++) {
    kept.set(source.subarray(row * before, row * before + length * inner) as Float32Array, row * length * inner);
  }
  return new ort.Tensor(tensor.type as "float32", kept, dims);
}

/** Rows of equal width, one after the other. */
export function joined(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.reduce((size, row) => size + row.length, 0));
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  return all;
}
