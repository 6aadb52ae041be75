// The conversation: what is asked, what is answered, and what is shown of it.

import { Failure, base64, chat, models, speech, transcribe, useKey } from "./api.js";
import { Attachment } from "./attachment.js";
import { at, say, show } from "./page.js";
import { Camera, example } from "./picture.js";
import { Microphone, Player, RATE } from "./sound.js";
import { drawOcclusion, Speeds, Spectrogram, tokenItems } from "./trace.js";
import { answerBubble, questionBubble } from "./turns.js";

const SHORT = 350; // ms: a shorter press starts a recording, and the next one ends it
const SETTINGS = ["system", "temperature", "most", "seed"];

const state = {
  models: [],
  turns: [], // { question: {content, sent}, answer: text }
  running: null, // { abort, player }
  recording: null, // { microphone, since }
};
const heard = new Spectrogram(at("heard"), "Spectrogram of your recording");
const spoken = new Spectrogram(at("spoken"), "Spectrogram of the spoken answer");

const model = () => state.models.find((one) => one.id === at("model").value);
const can = (what) => model()?.capabilities.includes(what) ?? false;
const attachment = new Attachment(() => can("image"));

// --- Models, voices and the key ---

async function open() {
  try {
    state.models = await models();
  } catch (error) {
    if (error instanceof Failure && error.status === 401) return askForKey();
    return say(error.message);
  }
  const chosen = localStorage.getItem("muomni.model");
  at("model").replaceChildren(...state.models.map((one) => new Option(one.id, one.id, false, one.id === chosen)));
  fit();
}

function askForKey() {
  at("key-wrong").hidden = !sessionStorage.getItem("muomni.key");
  at("key").value = "";
  if (!at("key-dialog").open) at("key-dialog").showModal();
}

/** Show what the chosen model can do, and nothing else. */
function fit() {
  const voices = can("speak") ? model().voices : [];
  at("voice").replaceChildren(...voices.map((name) => new Option(name, name)));
  at("voice-choice").hidden = voices.length === 0;
  at("speak-choice").hidden = !can("speak");
  at("attach").hidden = !can("image");
  at("camera").hidden = !can("image") || !Camera.possible;
  at("talk").hidden = !can("audio") && !can("transcribe");
  at("talk").disabled = !Microphone.possible;
  at("talk").title = Microphone.possible ? at("talk-help").textContent : "Browsers open a microphone on https:// and on this machine only";
  at("voice-as").disabled = !(can("audio") && can("transcribe"));
  at("question").placeholder = can("chat") ? "Ask something" : can("speak") ? "Type what to say" : "Hold the microphone to talk";
  if (!can("image")) attachment.clear();
  ideas();
}

async function ideas() {
  const found = [];
  if (can("image")) {
    const file = await example();
    const image = new Image();
    image.src = URL.createObjectURL(file);
    image.alt = "";
    found.push(["What do you see?", file, image]);
  }
  if (can("chat")) found.push(["Tell me a story"], ["What color is the sky?"]);
  at("ideas").replaceChildren(
    ...found.map(([text, file, image]) => {
      const button = document.createElement("button");
      button.type = "button";
      if (image) button.append(image);
      button.append(text);
      button.onclick = async () => {
        if (file) await attachment.set(file);
        at("question").value = text;
        send();
      };
      const item = document.createElement("li");
      item.append(button);
      return item;
    }),
  );
}

// --- Asking ---

/** The content parts of a question as the server takes them. */
async function partsOf({ text, picture, recording }) {
  const parts = [];
  if (picture) {
    parts.push({ type: "image_url", image_url: { url: `data:image/png;base64,${await base64(picture)}` } });
  }
  if (recording) parts.push({ type: "input_audio", input_audio: { data: await base64(recording), format: "wav" } });
  if (text) parts.push({ type: "text", text });
  return parts;
}

function requestFor(content, turns) {
  const earlier = at("remember").checked ? turns : [];
  const messages = earlier.flatMap((turn) => [
    { role: "user", content: turn.content },
    { role: "assistant", content: turn.answer },
  ]);
  messages.push({ role: "user", content });
  if (at("system").value.trim()) messages.unshift({ role: "system", content: at("system").value.trim() });
  const body = { model: model().id, messages, trace: true };
  if (at("temperature").value !== "") body.temperature = at("temperature").valueAsNumber;
  if (at("most").value !== "") body.max_completion_tokens = at("most").valueAsNumber;
  if (at("seed").value !== "") body.seed = at("seed").valueAsNumber;
  if (can("speak") && at("speak").checked) {
    body.modalities = ["text", "audio"];
    body.audio = { format: "pcm16", ...(at("voice").value ? { voice: at("voice").value } : {}) };
  }
  return body;
}

async function send(recording = null) {
  let text = at("question").value.trim();
  const picture = attachment.file;
  if (state.running || !model() || !(text || picture || recording)) return;
  say(null);
  at("welcome").hidden = true;
  const running = { abort: new AbortController(), player: null };
  state.running = running;
  busy(true);
  const mine = questionBubble({ text, picture: attachment.url, recording });
  at("transcript").append(mine.element);
  at("question").value = "";
  attachment.given();
  let answer = null;
  try {
    if (!can("chat")) {
      if (recording) mine.heard(await transcribe(model().id, recording, running.abort.signal));
      else answer = await sayAloud(text, running);
      return;
    }
    const asSound = can("audio") && (!can("transcribe") || document.querySelector("[name=voice-as]:checked").value === "sound");
    if (recording && !asSound) {
      const words = await transcribe(model().id, recording, running.abort.signal);
      mine.heard(words);
      text = [text, words].filter(Boolean).join("\n");
      if (!text) throw new Failure(0, "No words were recognized in the recording.");
    }
    seen(picture);
    const content = await partsOf({ text, picture, recording: asSound ? recording : null });
    answer = answerBubble(model().id);
    at("transcript").append(answer.element);
    await answerTo(content, answer, running);
    if (recording && asSound && can("transcribe")) {
      mine.heard(await transcribe(model().id, recording, running.abort.signal));
    }
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
    if (error instanceof Failure && error.status === 401) askForKey();
    answer?.drop();
  } finally {
    busy(false);
    state.running = null;
  }
}

/** Stream the answer; the oldest turns are left out where the model's context is too short for all. */
async function answerTo(content, answer, running) {
  for (;;) {
    try {
      return await stream(requestFor(content, state.turns), content, answer, running);
    } catch (error) {
      const full = error instanceof Failure && error.status === 400 && error.message.includes("context");
      if (!full || !state.turns.length || !at("remember").checked) throw error;
      state.turns.shift();
      answer.note("The model's context is full: the oldest turn was left out.");
    }
  }
}

/** Forget what is shown of the last answer. */
function cleared() {
  for (const id of ["first-token", "token-rate", "first-sound", "speech-rate"]) show(id, "–");
  at("tokens").replaceChildren();
  show("token-count", "");
  spoken.clear();
  return new Speeds(show);
}

/** What a model that only speaks does with a text. */
async function sayAloud(text, running) {
  const answer = answerBubble(model().id);
  at("transcript").append(answer.element);
  answer.add(text);
  const speeds = cleared();
  const player = new Player();
  running.player = player;
  const heardToTheEnd = follow(player, answer);
  const body = { model: model().id, input: text, ...(at("voice").value ? { voice: at("voice").value } : {}) };
  try {
    for await (const event of speech(body, running.abort.signal)) {
      if (event.audio) hear(event.audio, player, speeds);
      answer.time(event.words ?? []);
    }
  } finally {
    await heardToTheEnd();
    answer.end("", player.pieces.length ? player.file : null);
  }
  return answer;
}

function hear(data, player, speeds) {
  const samples = player.push(data);
  spoken.push(samples, RATE);
  speeds.speech(samples.length / RATE);
}

async function stream(body, content, answer, running) {
  const speeds = cleared();
  let usage = null;
  const player = body.audio ? new Player() : null;
  running.player = player;
  const heardToTheEnd = player && follow(player, answer);
  let finish = "";
  try {
    for await (const chunk of chat(body, running.abort.signal)) {
      usage = chunk.usage ?? usage;
      const [choice] = chunk.choices;
      if (!choice) continue;
      const { delta } = choice;
      if (choice.trace?.length) {
        at("tokens").append(...tokenItems(choice.trace));
        at("tokens").scrollTop = at("tokens").scrollHeight;
        speeds.tokens(choice.trace.length);
      }
      answer.add(delta.content ?? delta.audio?.transcript ?? "");
      if (delta.audio?.data) hear(delta.audio.data, player, speeds);
      answer.time(choice.words ?? []);
      if (choice.occlusion) marked(choice.occlusion);
      finish = choice.finish_reason ?? finish;
      at("transcript").scrollTop = at("transcript").scrollHeight;
    }
  } catch (error) {
    if (error.name !== "AbortError" || !answer.text) {
      player?.stop();
      heardToTheEnd?.();
      throw error;
    }
    finish = "stopped";
  }
  state.turns.push({ content, answer: answer.text });
  if (usage) show("token-count", `${usage.prompt_tokens} in the question, ${usage.completion_tokens} in the answer`);
  await heardToTheEnd?.();
  answer.end(finish, player?.pieces.length ? player.file : null);
}

/** Mark each word while it is spoken, until the function that is returned is called; it waits for the end. */
function follow(player, answer) {
  let live = true;
  const mark = () => {
    if (live) requestAnimationFrame(mark);
    answer.mark(live ? player.heard : -1);
  };
  mark();
  return async () => {
    await player.ended();
    live = false;
    answer.mark(-1);
  };
}

function stop() {
  state.running?.abort.abort();
  state.running?.player?.stop();
}

function busy(on) {
  at("send").hidden = on;
  at("stop").hidden = !on;
  if (!on) at("question").focus({ preventScroll: true });
}

function fresh() {
  stop();
  state.turns = [];
  for (const turn of document.querySelectorAll(".turn")) turn.remove();
  at("welcome").hidden = false;
  say(null);
  at("question").focus();
}

function seen(picture) {
  at("depends").hidden = true;
  if (!picture) return at("seen").replaceChildren("There was none in the last question.");
  const image = new Image();
  image.src = URL.createObjectURL(picture);
  image.alt = "The picture of the last question";
  const marks = document.createElement("canvas");
  marks.setAttribute("aria-hidden", "true"); // it is told in words
  at("seen").replaceChildren(image, marks);
}

function marked(rows) {
  const marks = at("seen").querySelector("canvas");
  if (!marks) return;
  drawOcclusion(marks, rows, (told) => (at("depends-most").textContent = told));
  at("depends").hidden = false;
}

// --- The microphone ---

async function startTalking() {
  if (state.recording || !Microphone.possible) return;
  stop();
  const microphone = new Microphone();
  const recording = { microphone, since: performance.now(), ready: null };
  state.recording = recording;
  at("talk").setAttribute("aria-pressed", "true");
  heard.clear();
  recording.ready = microphone.start((samples, rate) => {
    heard.push(samples, rate);
    const loudest = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    at("talk").style.setProperty("--level", Math.min(1, 2 * loudest).toFixed(2));
  });
  try {
    await recording.ready;
  } catch {
    state.recording = null;
    at("talk").setAttribute("aria-pressed", "false");
    say("The microphone cannot be used: the browser or the system does not allow it.");
  }
}

async function stopTalking() {
  const recording = state.recording;
  if (!recording) return;
  state.recording = null;
  at("talk").setAttribute("aria-pressed", "false");
  at("talk").style.setProperty("--level", "0");
  try {
    await recording.ready;
  } catch {
    return;
  }
  const { file, seconds } = await recording.microphone.stop();
  if (seconds < 0.2) return say("That was too short to hear anything.");
  while (state.running) await new Promise((resolve) => setTimeout(resolve, 20)); // the answer that was interrupted
  await send(file);
}

/** Hold, or press once to start and once to send; the same with the keyboard. */
function pressed() {
  if (state.recording) stopTalking();
  else startTalking();
}

function released() {
  if (state.recording && performance.now() - state.recording.since > SHORT) stopTalking();
}

// --- Events ---

function restore() {
  for (const id of SETTINGS) at(id).value = localStorage.getItem(`muomni.${id}`) ?? "";
  at("remember").checked = localStorage.getItem("muomni.remember") !== "false";
  at("speak").checked = localStorage.getItem("muomni.speak") !== "false";
  for (const name of ["theme", "voice-as"]) {
    const kept = localStorage.getItem(`muomni.${name}`);
    for (const one of document.getElementsByName(name)) one.checked = kept ? one.value === kept : one.defaultChecked;
  }
  traced(localStorage.getItem("muomni.trace") !== "false" && matchMedia("(min-width: 56.01rem)").matches);
  seen(null);
}

function keep() {
  for (const id of SETTINGS) localStorage.setItem(`muomni.${id}`, at(id).value);
  for (const id of ["remember", "speak"]) localStorage.setItem(`muomni.${id}`, at(id).checked);
  for (const name of ["theme", "voice-as"]) {
    localStorage.setItem(`muomni.${name}`, document.querySelector(`[name=${name}]:checked`).value);
  }
  const theme = document.querySelector("[name=theme]:checked").value;
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function traced(on) {
  at("trace").hidden = !on;
  at("trace-toggle").setAttribute("aria-expanded", on);
  document.querySelector(".columns").classList.toggle("alone", !on);
}

function listen() {
  at("composer").onsubmit = (event) => {
    event.preventDefault();
    send();
  };
  at("question").onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) stop();
  });
  at("stop").onclick = stop;
  at("new").onclick = fresh;
  at("model").onchange = () => {
    localStorage.setItem("muomni.model", at("model").value);
    fit();
  };
  at("trace-toggle").onclick = () => {
    traced(at("trace").hidden);
    localStorage.setItem("muomni.trace", !at("trace").hidden);
  };
  at("settings-open").onclick = () => at("settings").showModal();
  at("settings").onchange = keep;
  at("speak").onchange = keep;
  at("key-form").onsubmit = () => {
    useKey(at("key").value.trim());
    open();
  };
  at("key-dialog").oncancel = (event) => event.preventDefault(); // nothing works without the key
  attachment.listen();
  at("talk").onpointerdown = (event) => {
    if (event.button === 0) pressed();
  };
  for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, released);
  at("talk").onkeydown = (event) => {
    if ((event.key === " " || event.key === "Enter") && !event.repeat) pressed();
    if (event.key === " " || event.key === "Enter") event.preventDefault();
  };
  at("talk").onkeyup = (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault(); // Firefox clicks then
    released();
  };
  at("talk").onclick = (event) => {
    if (event.detail === 0 && !event.pointerType) pressed(); // of a screen reader
  };
}

restore();
keep();
listen();
open();
