// The picture of the next question: chosen, dropped, pasted or taken.

import { at, say } from "./page.js";
import { Camera, prepared } from "./picture.js";

export class Attachment {
  file = null;
  url = null;
  #allowed;
  #dragging = 0;

  /** `allowed`: tells whether the model takes pictures. */
  constructor(allowed) {
    this.#allowed = allowed;
  }

  async set(file) {
    let ready;
    try {
      ready = await prepared(file);
    } catch {
      return say("That is no picture that this browser can read.");
    }
    say(null);
    this.clear();
    this.file = ready;
    this.url = URL.createObjectURL(ready);
    this.#show();
    at("question").focus();
  }

  #show() {
    const image = new Image();
    image.src = this.url;
    image.alt = "The attached picture";
    const remove = document.createElement("button");
    remove.type = "button";
    remove.setAttribute("aria-label", "Remove the picture");
    remove.append("×");
    remove.onclick = () => {
      this.clear();
      at("question").focus();
    };
    const item = document.createElement("li");
    item.append(image, remove);
    at("attached").replaceChildren(item);
    at("attached").hidden = false;
  }

  /** Forget the picture. */
  clear() {
    if (this.url) URL.revokeObjectURL(this.url);
    this.given();
  }

  /** It is part of a question now, which goes on showing it. */
  given() {
    this.file = this.url = null;
    at("attached").replaceChildren();
    at("attached").hidden = true;
  }

  async #take() {
    const camera = new Camera();
    try {
      await camera.start(at("viewfinder"));
    } catch {
      camera.stop();
      return say("The camera cannot be used: the browser or the system does not allow it.");
    }
    at("camera-dialog").showModal();
    at("camera-dialog").onclose = () => camera.stop();
    at("shoot").onclick = async () => {
      const file = await camera.shoot();
      at("camera-dialog").close();
      await this.set(file);
    };
  }

  /** React to the buttons, and to what is dropped or pasted. */
  listen() {
    at("attach").onclick = () => at("picture").click();
    at("picture").onchange = () => {
      if (at("picture").files[0]) this.set(at("picture").files[0]);
      at("picture").value = "";
    };
    at("camera").onclick = () => this.#take();
    addEventListener("dragenter", (event) => {
      this.#dragging += 1;
      if (event.dataTransfer?.types.includes("Files")) this.#hint(this.#allowed());
    });
    addEventListener("dragleave", () => {
      this.#dragging -= 1;
      if (this.#dragging <= 0) this.#hint(false);
    });
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      this.#hint(false);
      const file = event.dataTransfer?.files[0];
      if (file && this.#allowed()) this.set(file);
    });
    addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
      if (file && this.#allowed()) this.set(file);
    });
  }

  #hint(on) {
    if (!on) this.#dragging = 0;
    at("drop").hidden = !on;
  }
}
