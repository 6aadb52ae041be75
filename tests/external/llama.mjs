// node llama.mjs MODEL.gguf request.json answer.json: {"texts": [text], "prompts": [[id]], "count": n} ->
// {"tokens": [[id]], "answers": [[id]]}: llama.cpp's tokens of each text, and greedy continuations of each prompt.
import {readFileSync, writeFileSync} from "node:fs";
import {getLlama} from "node-llama-cpp";

const request = JSON.parse(readFileSync(process.argv[3], "utf8"));
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: 1});
const model = await llama.loadModel({modelPath: process.argv[2]});
const tokens = request.texts.map((text) => model.tokenize(text, false).map(Number));
const answers = [];
for (const prompt of request.prompts) {
    const context = await model.createContext({contextSize: 256, sequences: 1, threads: 1});
    const sequence = context.getSequence();
    const answer = [];
    for await (const token of sequence.evaluate(prompt, {temperature: 0, yieldEogToken: true})) {
        answer.push(Number(token));
        if (answer.length === request.count) break;
    }
    answers.push(answer);
    await context.dispose();
}
writeFileSync(process.argv[4], JSON.stringify({tokens, answers}));
process.exit(0);
