/** What a bundle computes here against what it computed when it was exported. */
import assert from "node:assert/strict";
import { before, test } from "node:test";

import { Graph } from "../dist/graph.js";
import { argmax } from "../dist/sampling.js";
import { Speaker } from "../dist/speaker.js";
import { folder, openModel, reference, runtime, skip } from "./bundle.mjs";

const SPREAD = 512; // most values saved of an output
const SENTENCE = "One two three four five six seven eight nine ten. It costs $5!";

let model;
let saved;

before(async () => {
  if (skip) return;
  model = await openModel();
  saved = reference();
});

/** The norm of the difference relative to that of what was saved; the largest difference in fp32. */
function distance(expected, made, exact) {
  assert.equal(made.length, expected.length);
  let [wrong, size, most] = [0, 0, 0];
  for (let at = 0; at < expected.length; at++) {
    const apart = Math.abs(Number(expected[at]) - Number(made[at]));
    wrong += apart ** 2;
    size += Number(expected[at]) ** 2;
    most = Math.max(most, apart);
  }
  return exact ? most : wrong === 0 ? 0 : Math.sqrt(wrong / size);
}

function few(values) {
  const count = Math.min(SPREAD, values.length);
  const step = (values.length - 1) / Math.max(1, count - 1);
  return Array.from({ length: count }, (_, at) =>
    Number(values[at === count - 1 ? values.length - 1 : Math.floor(at * step)]),
  );
}

/** A cache (B,H,past,Dh) of one row without its first places. */
function withoutFirst(ort, { data, dims }, places) {
  const [, heads, past, width] = dims;
  const rows = Array.from({ length: heads }, (_, head) => data.slice((head * past + places) * width, (head + 1) * past * width));
  return new ort.Tensor("float32", Float32Array.from(rows.flatMap((row) => [...row])), [1, heads, past - places, width]);
}

test("every graph gives what it gave when it was exported", { skip }, async () => {
  const ort = await runtime();
  for (const [part, entry] of Object.entries(model.bundle.manifest.parts)) {
    for (const [name, graph] of Object.entries(entry.graphs)) {
      const opened = await Graph.open(ort, model.bundle, graph);
      for (let number = 0; saved.has(`${part}/${name}/${number}/in/${Object.keys(graph.inputs)[0]}`); number++) {
        const feeds = {};
        for (const input of Object.keys(graph.inputs)) {
          const array = saved.get(`${part}/${name}/${number}/in/${input}`);
          if (array && input !== "padding") feeds[input] = new ort.Tensor(graph.types[input], array.data, array.dims);
        }
        // `padding` cannot be given from JavaScript: the empty places of a single row are left out instead
        const padding = saved.get(`${part}/${name}/${number}/in/padding`)?.data ?? [];
        const empty = Number(padding[0] ?? 0);
        const held = Object.keys(graph.states).map((state) => feeds[state].dims[2]);
        if (padding.length > 1 || (empty > 0 && held.some((places) => places < empty))) continue;
        for (const state of empty > 0 ? Object.keys(graph.states) : []) feeds[state] = withoutFirst(ort, feeds[state], empty);
        const made = await opened.run(feeds);
        for (const output of graph.outputs) {
          if (graph.unchecked?.includes(output)) continue;
          if (empty > 0 && Object.values(graph.states).includes(output)) continue;
          const expected = saved.get(`${part}/${name}/${number}/out/${output}`);
          const values = few(made[output].data);
          if (expected.type.startsWith("i") && graph.max_mismatch_fraction > 0) {
            const differing = values.filter((value, at) => value !== Number(expected.data[at])).length;
            assert.ok(differing / values.length <= Math.max(graph.max_mismatch_fraction, graph.tolerance));
            continue;
          }
          const apart = distance(expected.data, values, graph.precision === "fp32");
          assert.ok(apart <= graph.tolerance, `${part} ${name} ${output}: ${apart} apart, ${graph.tolerance} allowed`);
        }
      }
    }
  }
});

test("the greedy tokens are the same, up to a near tie of rounded weights", { skip }, async () => {
  const prompt = saved.get("text/prompt");
  if (prompt === undefined) return;
  const expected = Array.from(saved.get("text/tokens").data, Number);
  const { precision, tolerance } = model.bundle.part("thinker").graphs.thinker;
  const thinker = await model.thinker();
  const ids = Array.from(prompt.data, Number);
  for (const token of expected) {
    const { logits } = await thinker.predict(ids);
    const made = argmax(logits);
    if (made !== token) {
      const size = Math.sqrt(logits.reduce((sum, logit) => sum + logit ** 2, 0) / logits.length);
      const allowed = precision === "fp32" ? 0 : 4 * tolerance * size;
      assert.ok(logits[made] - logits[token] <= allowed, `token ${ids.length - prompt.data.length} differs`);
      return;
    }
    ids.push(token);
  }
});

test("the samples of code frames are the same", { skip }, async () => {
  const codes = saved.get("sound/codes");
  if (codes === undefined) return;
  const sounds = await model.sounds();
  sounds.begin();
  const [frames, width] = codes.dims;
  const rows = Array.from({ length: frames }, (_, n) => Array.from(codes.data.slice(n * width, (n + 1) * width), Number));
  const pieces = [];
  for (let begin = 0; begin < frames; begin += 7) pieces.push(await sounds.push(rows.slice(begin, begin + 7)));
  pieces.push(await sounds.finish());
  const made = Float32Array.from(pieces.flatMap((piece) => [...piece]));
  const expected = saved.get("sound/samples").data;
  assert.equal(made.length, expected.length);
  let [power, wrong] = [0, 0];
  expected.forEach((value, at) => {
    power += value ** 2;
    wrong += (value - made[at]) ** 2;
  });
  assert.ok(wrong <= 0.05 ** 2 * power, `samples are ${Math.sqrt(wrong / power)} apart`);
});

test("speech does not depend on how its text is split", { skip }, async () => {
  if (!model.capabilities.speak) return;
  const whole = await model.speak(SENTENCE);
  const pieces = [];
  const speaker = new Speaker(await model.talker(), await model.sounds(), {}, (samples) => pieces.push(samples));
  for (const character of SENTENCE) await speaker.push({ text: character });
  await speaker.finish();
  assert.deepEqual(pieces.flatMap((piece) => [...piece]), [...whole.samples]);
  assert.ok(whole.samples.some((sample) => Math.abs(sample) > 0.01), `${folder} is silent`);
});

test("a conversation gives the same answer with states that are kept", { skip }, async () => {
  if (!model.capabilities.chat) return;
  const first = { role: "user", text: "hello" };
  const one = await model.chat({ messages: [first] }, { maxTokens: 12 });
  const messages = [first, { role: "assistant", text: one.text }, { role: "user", text: "what is this?" }];
  const kept = await model.chat({ messages }, { maxTokens: 12 });
  const fresh = await (await openModel()).chat({ messages }, { maxTokens: 12 });
  assert.deepEqual(kept.tokens, fresh.tokens);
});
