// Hands on the samples of the microphone, mixed to one channel, in pieces of about 20 ms.

class Recorder extends AudioWorkletProcessor {
  #held = [];
  #count = 0;

  process([input]) {
    if (input.length) {
      const mixed = new Float32Array(input[0].length);
      for (const channel of input) for (let i = 0; i < mixed.length; i++) mixed[i] += channel[i] / input.length;
      this.#held.push(mixed);
      this.#count += mixed.length;
    }
    if (this.#count >= sampleRate / 50) {
      const piece = new Float32Array(this.#count);
      let at = 0;
      for (const part of this.#held) {
        piece.set(part, at);
        at += part.length;
      }
      this.#held = [];
      this.#count = 0;
      this.port.postMessage(piece, [piece.buffer]);
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
