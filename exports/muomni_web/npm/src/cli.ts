#!/usr/bin/env node
/** A small command line for bundles: chat with a picture or a sound, text to speech, transcription. */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { encodeWav } from "./audio.js";
import { RequestError } from "./errors.js";
import { loadFolder, readPicture, readSound } from "./node.js";

const USAGE = `usage:
  muomni-web chat BUNDLE "what is this?" [--image X.png] [--audio Y.wav]
  muomni-web tts BUNDLE "hello" -o OUT.wav [--voice NAME] [--speed 1.0]
  muomni-web listen BUNDLE Y.wav`;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      image: { type: "string" },
      audio: { type: "string" },
      voice: { type: "string" },
      speed: { type: "string" },
      output: { type: "string", short: "o" },
      help: { type: "boolean", short: "h" },
    },
  });
  const [command, folder, text] = positionals;
  if (values.help || folder === undefined || text === undefined) throw new RequestError("nothing to do", USAGE);
  const model = await loadFolder(folder);
  if (command === "chat") {
    const image = values.image === undefined ? {} : { image: await readPicture(values.image) };
    const audio = values.audio === undefined ? {} : { audio: await readSound(values.audio) };
    await model.chat({ text, ...image, ...audio }, { stream: (piece) => process.stdout.write(piece) });
    process.stdout.write("\n");
  } else if (command === "tts") {
    const voice = values.voice === undefined ? {} : { voice: values.voice };
    const speech = await model.speak(text, { ...voice, speed: Number(values.speed ?? 1) });
    const output = values.output ?? "speech.wav";
    await writeFile(output, encodeWav(speech));
    console.error(`wrote ${output} (${(speech.samples.length / speech.rate).toFixed(2)} s)`);
  } else if (command === "listen") {
    console.log((await model.transcribe(await readSound(text))).text);
  } else throw new RequestError(`there is no command ${command}`, USAGE);
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = error instanceof RequestError ? 2 : 1;
});
