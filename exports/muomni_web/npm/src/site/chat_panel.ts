/** The conversation: questions with pictures and sounds, answers that may be read aloud. */
import { encodeWav, type Sound } from "../audio.js";
import type { Pixels } from "../image.js";
import type { Capabilities } from "../model.js";
import { by, element, failure, showNotice } from "./elements.js";
import type { SiteMessage } from "./messages.js";
import type { ModelWorker } from "./model_worker.js";
import { decodePicture } from "./picture.js";
import { decodeSound, Recorder, type Player } from "./sound.js";
import { chosenVoice } from "./speech_panels.js";

type Attachment =
  | { kind: "image"; number: number; pixels: Pixels; address: string }
  | { kind: "audio"; number: number; sound: Sound; address: string };

const CROSS = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M6 6l12 12M18 6L6 18"/></svg>';

export class ChatPanel {
  private messages: SiteMessage[] = [];
  private attachments: Attachment[] = [];
  private numbers = 0;
  private recorder: Recorder | undefined;
  private busy = false;
  private readonly question = by<HTMLTextAreaElement>("question");

  constructor(
    private readonly worker: ModelWorker,
    private readonly player: Player,
    private readonly can: Capabilities,
  ) {
    by("add-picture").hidden = !can.image;
    by("add-sound").hidden = !can.audio;
    by("record").hidden = !can.audio || !navigator.mediaDevices;
    by("aloud-choice").hidden = !can.speak;
    this.wire();
    this.ideas();
    this.refresh();
  }

  /** Attach a picture or a sound to the next question; one of each kind. */
  async attach(file: Blob): Promise<void> {
    showNotice("");
    try {
      const address = URL.createObjectURL(file);
      const number = ++this.numbers;
      if (file.type.startsWith("image/")) {
        if (!this.can.image) return showNotice("This model cannot see pictures.");
        this.keep({ kind: "image", number, pixels: await decodePicture(file), address });
      } else {
        if (!this.can.audio) return showNotice("This model cannot hear sounds.");
        const sound = await decodeSound(new Uint8Array(await file.arrayBuffer()));
        this.keep({ kind: "audio", number, sound, address });
      }
    } catch (error) {
      showNotice(failure(error));
    }
  }

  stop(): void {
    this.player.stop();
    if (this.busy) this.worker.stop();
  }

  private keep(attachment: Attachment): void {
    this.attachments = [...this.attachments.filter((one) => one.kind !== attachment.kind), attachment];
    this.refresh();
  }

  private wire(): void {
    by("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.send();
    });
    this.question.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      void this.send();
    });
    this.question.addEventListener("input", () => this.refresh());
    by("stop").addEventListener("click", () => this.stop());
    by("new").addEventListener("click", () => this.begin());
    for (const [button, input] of [
      ["add-picture", "picture-file"],
      ["add-sound", "sound-file"],
    ] as const) {
      const chooser = by<HTMLInputElement>(input);
      by(button).addEventListener("click", () => chooser.click());
      chooser.addEventListener("change", () => {
        const file = chooser.files?.[0];
        chooser.value = "";
        if (file) void this.attach(file);
      });
    }
    by("record").addEventListener("click", () => void this.record());
  }

  private async record(): Promise<void> {
    const button = by("record");
    try {
      if (this.recorder === undefined) {
        this.recorder = await Recorder.start();
        button.setAttribute("aria-pressed", "true");
        return;
      }
      const { recorder } = this;
      this.recorder = undefined;
      button.setAttribute("aria-pressed", "false");
      const sound = await recorder.stop();
      const wav = new Blob([encodeWav(sound) as Uint8Array<ArrayBuffer>], { type: "audio/wav" });
      this.keep({ kind: "audio", number: ++this.numbers, sound, address: URL.createObjectURL(wav) });
      await this.send();
    } catch (error) {
      this.recorder = undefined;
      button.setAttribute("aria-pressed", "false");
      showNotice(failure(error));
    }
  }

  /** Start a new conversation. */
  private begin(): void {
    this.stop();
    this.messages = [];
    by("transcript").querySelectorAll(".turn").forEach((turn) => turn.remove());
    by("welcome").hidden = false;
    by("new").hidden = true;
    this.question.focus();
  }

  private async send(): Promise<void> {
    const text = this.question.value.trim();
    const attached = this.attachments;
    if (this.busy || (text === "" && attached.length === 0)) return;
    showNotice("");
    const message: SiteMessage = { role: "user", text };
    for (const one of attached) {
      if (one.kind === "image") message.image = { number: one.number, pixels: one.pixels };
      else message.audio = { number: one.number, sound: one.sound };
    }
    this.messages.push(message);
    this.question.value = "";
    this.attachments = [];
    by("welcome").hidden = true;
    this.turn("mine", "You", text, attached);
    await this.answer();
  }

  private async answer(): Promise<void> {
    const turn = this.turn("theirs", by("name").textContent ?? "", "");
    const words = turn.querySelector(".text")!;
    const aloud = this.can.speak && by<HTMLInputElement>("aloud").checked;
    if (aloud) this.player.begin();
    this.setBusy(true);
    turn.classList.add("busy");
    let answer = "";
    try {
      const done = await this.worker.chat(this.messages, chosenVoice(), aloud, {
        onText: (text) => {
          answer += text;
          words.textContent = answer;
          turn.scrollIntoView({ block: "end" });
        },
        onSamples: (samples, rate) => this.player.push(samples, rate),
      });
      this.messages.push({ role: "assistant", text: answer });
      if (done.tokens) {
        turn.append(element("div", "fine", `${done.tokens} tokens in ${Math.round(done.milliseconds)} ms`));
      }
    } catch (error) {
      this.messages.pop();
      turn.remove();
      showNotice(failure(error));
    }
    // their content is in the worker now
    for (const one of this.messages) {
      if (one.image) delete one.image.pixels;
      if (one.audio) delete one.audio.sound;
    }
    turn.classList.remove("busy");
    this.setBusy(false);
  }

  private turn(side: "mine" | "theirs", who: string, text: string, attached: readonly Attachment[] = []): HTMLElement {
    const turn = element("div", `turn ${side}`);
    turn.append(element("div", "who", who));
    for (const one of attached) {
      if (one.kind === "image") {
        const picture = element("img");
        picture.src = one.address;
        picture.alt = "The picture that you attached";
        turn.append(picture);
      } else {
        const sound = element("audio");
        sound.src = one.address;
        sound.controls = true;
        turn.append(sound);
      }
    }
    turn.append(element("div", "text", text));
    by("transcript").append(turn);
    turn.scrollIntoView({ block: "end" });
    return turn;
  }

  private setBusy(busy: boolean): void {
    this.busy = busy;
    by("send").hidden = busy;
    by("stop").hidden = !busy;
    by("new").hidden = this.messages.length === 0;
    by("transcript").setAttribute("aria-busy", String(busy));
    this.refresh();
    if (!busy) this.question.focus({ preventScroll: true });
  }

  private refresh(): void {
    const empty = this.question.value.trim() === "" && this.attachments.length === 0;
    by<HTMLButtonElement>("send").disabled = empty;
    const list = by("attached");
    list.hidden = this.attachments.length === 0;
    list.replaceChildren(
      ...this.attachments.map((one) => {
        const item = element("li");
        const remove = element("button");
        remove.type = "button";
        remove.innerHTML = CROSS;
        remove.setAttribute("aria-label", one.kind === "image" ? "Remove the picture" : "Remove the sound");
        remove.addEventListener("click", () => {
          this.attachments = this.attachments.filter((other) => other !== one);
          this.refresh();
          this.question.focus();
        });
        if (one.kind === "image") {
          const picture = element("img");
          picture.src = one.address;
          picture.alt = "Attached picture";
          item.append(picture);
        } else item.append(element("span", "", `${(one.sound.samples.length / one.sound.rate).toFixed(1)} s`));
        item.append(remove);
        return item;
      }),
    );
  }

  /** A few questions to begin with; the picture is drawn here. */
  private ideas(): void {
    const asked: { text: string; picture?: boolean }[] = [
      ...(this.can.image ? [{ text: "what is this?", picture: true }] : []),
      { text: "tell me a story" },
      { text: "what is red and round?" },
    ];
    for (const { text, picture } of asked) {
      const button = element("button");
      button.type = "button";
      const drawn = picture ? scene() : undefined;
      if (drawn) button.append(drawn);
      button.append(element("span", "", text));
      button.addEventListener("click", () => void this.tryIdea(text, drawn));
      const item = element("li");
      item.append(button);
      by("ideas").append(item);
    }
  }

  private async tryIdea(text: string, drawn: HTMLCanvasElement | undefined): Promise<void> {
    if (drawn) {
      const file = await new Promise<Blob | null>((resolve) => drawn.toBlob(resolve, "image/png"));
      if (file) await this.attach(file);
    }
    this.question.value = text;
    await this.send();
  }
}

/** A red circle on a gray ground. */
function scene(): HTMLCanvasElement {
  const canvas = element("canvas");
  canvas.width = canvas.height = 64;
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d")!;
  context.fillStyle = "#e6e6e6";
  context.fillRect(0, 0, 64, 64);
  context.fillStyle = "#d62828";
  context.beginPath();
  context.arc(32, 32, 16, 0, 2 * Math.PI);
  context.fill();
  return canvas;
}
