/** Speaking a text, and writing down what is said. */
import { encodeWav, type Sound } from "../audio.js";
import { joined } from "../graph.js";
import type { Capabilities } from "../model.js";
import { by, element, failure, showNotice } from "./elements.js";
import type { ModelWorker, Voiced } from "./model_worker.js";
import { decodeSound, Recorder, type Player } from "./sound.js";

/** The voice and the speed that are set. */
export function chosenVoice(): Voiced {
  const voice = by<HTMLSelectElement>("voice").value;
  return { voice: voice || undefined, speed: Number(by<HTMLInputElement>("speed").value) };
}

export class SpeakPanel {
  private busy = false;

  constructor(
    private readonly worker: ModelWorker,
    private readonly player: Player,
    can: Capabilities,
  ) {
    for (const name of can.voices) by("voice").append(new Option(name, name));
    by("voice-choice").hidden = can.voices.length < 2;
    const speed = by<HTMLInputElement>("speed");
    speed.addEventListener("input", () => (by("speed-value").textContent = Number(speed.value).toFixed(2)));
    by("say-it").addEventListener("click", () => void this.say());
    by("say-stop").addEventListener("click", () => this.stop());
  }

  stop(): void {
    this.player.stop();
    if (this.busy) this.worker.stop();
  }

  private async say(): Promise<void> {
    const text = by<HTMLTextAreaElement>("say").value;
    if (this.busy || text.trim() === "") return;
    showNotice("");
    this.player.begin();
    this.setBusy(true);
    const begin = performance.now();
    let first = 0;
    try {
      const done = await this.worker.speak(text, chosenVoice(), {
        onSamples: (samples, rate) => {
          first ||= performance.now() - begin;
          this.player.push(samples, rate);
          draw(this.player.samples);
        },
      });
      this.offer(done.milliseconds, first, done.skipped ?? []);
    } catch (error) {
      showNotice(failure(error));
    }
    this.setBusy(false);
  }

  private offer(milliseconds: number, first: number, skipped: readonly string[]): void {
    const samples = joined(this.player.samples);
    const seconds = samples.length / this.player.rate;
    const wav = encodeWav({ samples, rate: this.player.rate }) as Uint8Array<ArrayBuffer>;
    const link = by<HTMLAnchorElement>("save");
    if (link.href) URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(new Blob([wav], { type: "audio/wav" }));
    link.hidden = samples.length === 0;
    const faster = (1000 * seconds) / Math.max(1, milliseconds);
    const left = skipped.length > 0 ? ` Left out, because it cannot be spoken: ${skipped.join(", ")}.` : "";
    by("say-note").textContent =
      `${seconds.toFixed(1)} s of speech, made ${faster.toFixed(1)} times as fast as it is heard, ` +
      `the first of it after ${Math.round(first)} ms.${left}`;
    by("wave").setAttribute("aria-label", `The samples of the speech: ${seconds.toFixed(1)} seconds`);
  }

  private setBusy(busy: boolean): void {
    this.busy = busy;
    by<HTMLButtonElement>("say-it").disabled = busy;
    by<HTMLButtonElement>("say-stop").disabled = !busy;
  }
}

/** Draw the peaks of all samples so far. */
function draw(pieces: readonly Float32Array[]): void {
  const canvas = by<HTMLCanvasElement>("wave");
  const context = canvas.getContext("2d")!;
  const samples = joined(pieces);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = getComputedStyle(canvas).color;
  const columns = canvas.width / 4;
  for (let column = 0; column < columns; column++) {
    const begin = Math.floor((column * samples.length) / columns);
    const end = Math.floor(((column + 1) * samples.length) / columns);
    let peak = 0;
    for (let at = begin; at < end; at++) peak = Math.max(peak, Math.abs(samples[at]!));
    const height = Math.max(2, Math.min(1, 1.6 * peak) * canvas.height * 0.9);
    context.fillRect(column * 4, (canvas.height - height) / 2, 2.5, height);
  }
}

export class TranscribePanel {
  private recorder: Recorder | undefined;

  constructor(private readonly worker: ModelWorker) {
    const input = by<HTMLInputElement>("hear-input");
    by("hear").hidden = !navigator.mediaDevices;
    by("hear").addEventListener("click", () => void this.record());
    by("hear-file").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      input.value = "";
      if (file) void this.take(file);
    });
  }

  /** Transcribe a file. */
  async take(file: Blob): Promise<void> {
    await this.tried(async () => this.hear(await decodeSound(new Uint8Array(await file.arrayBuffer()))));
  }

  private async record(): Promise<void> {
    const button = by("hear");
    await this.tried(async () => {
      if (this.recorder === undefined) {
        this.recorder = await Recorder.start();
        button.setAttribute("aria-pressed", "true");
        button.textContent = "Stop and transcribe";
        return;
      }
      const { recorder } = this;
      this.recorder = undefined;
      button.setAttribute("aria-pressed", "false");
      button.textContent = "Record";
      await this.hear(await recorder.stop());
    });
  }

  private async hear(sound: Sound): Promise<void> {
    const heard = by("heard");
    heard.replaceChildren();
    by("hear-note").textContent = "Listening …";
    const done = await this.worker.transcribe(sound, {
      onText: (word) => heard.append(element("span", "", `${word} `)),
    });
    const seconds = sound.samples.length / sound.rate;
    by("hear-note").textContent = done.text
      ? `${seconds.toFixed(1)} s, in ${Math.round(done.milliseconds)} ms`
      : "No words were recognized.";
  }

  private async tried(work: () => Promise<void>): Promise<void> {
    showNotice("");
    try {
      await work();
    } catch (error) {
      by("hear-note").textContent = "";
      showNotice(failure(error));
    }
  }
}
