/** What this package computes against what Python computed for the same bundle: MUOMNI_EXPECTED names its results. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, test } from "node:test";

import { decodeWav, encoderImage, pronounceable } from "../dist/index.js";
import { readPicture, readSound } from "../dist/node.js";
import { Speaker } from "../dist/speaker.js";
import { openModel, skip as noBundle } from "./bundle.mjs";

const path = process.env.MUOMNI_EXPECTED;
const skip = noBundle || (path === undefined ? "MUOMNI_EXPECTED names no results of Python" : false);

let model;
let expected;

before(async () => {
  if (skip) return;
  model = await openModel();
  expected = JSON.parse(readFileSync(path, "utf8"));
});

/** The norm of the difference, relative to that of what was expected. */
function distance(made, wanted) {
  assert.equal(made.length, wanted.length);
  let [wrong, power] = [0, 0];
  wanted.forEach((value, at) => {
    wrong += (value - made[at]) ** 2;
    power += value ** 2;
  });
  return Math.sqrt(wrong / power);
}

test("texts are spoken alike", { skip }, () => {
  for (const [text, spoken] of expected.texts) assert.equal(pronounceable(text), spoken);
});

test("texts have the same tokens", { skip }, () => {
  for (const [text, tokens] of expected.tokens) {
    assert.deepEqual(model.tokenizer.encode(text), tokens);
    assert.equal(model.tokenizer.decode(tokens), text);
  }
});

test("pictures come to the same numbers", { skip }, async () => {
  const part = model.bundle.part("image");
  for (const { path: file, fit, values } of expected.squares) {
    const fitting = { ...part, config: { ...part.config, fit } };
    assert.deepEqual([...encoderImage(fitting, await readPicture(file))], values, `${file}, ${fit}`);
  }
});

test("several channels come to the same samples", { skip }, () => {
  const { path: file, rate, samples } = expected.mono;
  const made = decodeWav(new Uint8Array(readFileSync(file)));
  assert.equal(made.rate, rate);
  samples.forEach((value, at) => assert.ok(Math.abs(value - made.samples[at]) < 1e-6));
});

test("sentences have the same code frames", { skip }, async () => {
  for (const { text, codes } of expected.codes) {
    const made = [];
    const sounds = {
      rate: 16000,
      begin() {},
      push: async (frames) => (made.push(...frames), new Float32Array()),
      finish: async () => new Float32Array(),
    };
    const speaker = new Speaker(await model.talker(), sounds, {}, () => {});
    for (const character of text) await speaker.push({ text: character });
    await speaker.finish();
    assert.deepEqual(made, codes);
  }
});

test("speech has the same samples, also faster", { skip }, async () => {
  const { text, rate, samples } = expected.speech;
  const made = await model.speak(text);
  assert.equal(made.rate, rate);
  assert.ok(distance(made.samples, samples) < 0.02);
  const { fast } = expected;
  assert.ok(distance((await model.speak(fast.text, { speed: fast.speed })).samples, fast.samples) < 0.02);
});

test("recordings have the same words at the same times", { skip }, async () => {
  for (const { path: file, words } of expected.heard) {
    const told = [];
    const made = await model.transcribe(await readSound(file), (word) => told.push(word));
    assert.deepEqual(made.words, words);
    assert.deepEqual(told, words);
  }
});

test("questions have the same answers", { skip }, async () => {
  for (const { text, image, audio, answer } of expected.answers) {
    const shown = image === undefined ? {} : { image: await readPicture(image) };
    const heard = audio === undefined ? {} : { audio: await readSound(audio) };
    assert.equal((await model.chat({ text, ...shown, ...heard })).text, answer, image ?? text);
  }
});
