// A question or an answer in the conversation.

import { milliseconds } from "./trace.js";

const ENDS = { length: "cut off at its longest", stopped: "stopped" };

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function sound(file, label) {
  const made = document.createElement("audio");
  made.controls = true;
  made.src = URL.createObjectURL(file);
  made.setAttribute("aria-label", label);
  return made;
}

/** What was asked: pictures, a recording, and text. */
export function questionBubble({ text, picture, recording }) {
  const made = element("article", "turn mine");
  made.setAttribute("aria-label", "You");
  if (picture) {
    const image = new Image();
    image.src = picture;
    image.alt = "The picture that you sent";
    const row = element("div", "pictures");
    row.append(image);
    made.append(row);
  }
  if (recording) made.append(sound(recording, "What you said"));
  if (text) made.append(element("p", "text", text));
  return {
    element: made,
    /** Show which words were recognized. */
    heard(words) {
      made.append(element("p", "heard", words ? `heard as “${words}”` : "no words were recognized"));
    },
  };
}

/** An answer that grows. */
export class Bubble {
  text = "";
  #words = []; // { start, end, element }
  #from = 0; // characters of the text whose words are timed

  constructor(name) {
    this.begin = performance.now();
    this.element = element("article", "turn theirs busy");
    this.element.setAttribute("aria-label", name);
    this.element.setAttribute("aria-busy", "true"); // read out once it is complete
    this.said = element("p", "text");
    this.after = element("p", "after");
    this.element.append(element("p", "who", name), this.said, this.after);
  }

  add(text) {
    if (!text) return;
    this.text += text;
    this.said.append(text);
  }

  /** Words of the text with the times at which they are spoken; each becomes an element that can be marked. */
  time(words) {
    for (const { word, start, end } of words) {
      const place = this.text.indexOf(word, this.#from);
      if (place < 0) continue;
      this.#from = place + word.length;
      this.#words.push({ start, end, place, size: word.length });
    }
    if (!words.length) return;
    const parts = [];
    let done = 0;
    for (const one of this.#words) {
      parts.push(this.text.slice(done, one.place));
      one.element = element("span", "word", this.text.slice(one.place, one.place + one.size));
      parts.push(one.element);
      done = one.place + one.size;
    }
    this.said.replaceChildren(...parts, this.text.slice(done));
  }

  /** Mark the word that is spoken `seconds` after the start of the speech. */
  mark(seconds) {
    for (const one of this.#words) one.element?.classList.toggle("now", one.start <= seconds && seconds < one.end);
  }

  note(text) {
    this.after.append(element("span", "", text));
  }

  /** The answer is complete, or was stopped. */
  end(finish, file) {
    this.element.classList.remove("busy");
    this.element.removeAttribute("aria-busy");
    if (ENDS[finish]) this.note(ENDS[finish]);
    if (file) this.after.prepend(sound(file, "The answer, spoken"));
    if (!this.text) this.note(`no words, after ${milliseconds((performance.now() - this.begin) / 1000)}`);
  }

  /** Nothing came. */
  drop() {
    if (this.text) this.end("stopped", null);
    else this.element.remove();
  }
}

export const answerBubble = (name) => new Bubble(name);
