/** Conversations as token ids. Negative ids stand for embeddings of media: -1 is the first one. */
import { RequestError } from "./errors.js";
import type { Tokenizer } from "./tokenizer.js";

export type Role = "system" | "user" | "assistant";

/** One turn, with the ids that stand for its media. */
export interface Turn {
  role: Role;
  text: string;
  media: readonly number[];
}

/** The ids of a conversation that ends with a question, ready for the answer. RequestError: the template or one of its
 * roles is not known. */
export function chatIds(tokenizer: Tokenizer, turns: readonly Turn[], template: string): number[] {
  if (template === "own") {
    throw new RequestError(
      "this model's chat template is written in Jinja, which muomni-web does not read",
      'export it with chat.template="plain" or "roles", or run it with muomni in Python',
    );
  }
  const plain = template === "plain";
  const ids: number[] = [];
  turns.forEach((turn, number) => {
    const start = number === 0 && tokenizer.specials.bos !== undefined ? [tokenizer.specials.bos] : [];
    if (plain) ids.push(...turn.media, ...start);
    else ids.push(...start, roleId(tokenizer, turn.role), ...turn.media);
    ids.push(...tokenizer.encode(plain && number > 0 ? `\n${turn.text}` : turn.text));
    if (turn.role === "assistant") ids.push(tokenizer.specials.eos!);
  });
  if (!plain) ids.push(roleId(tokenizer, "assistant"));
  return ids;
}

function roleId(tokenizer: Tokenizer, role: Role): number {
  const id = tokenizer.specials[role];
  if (id === undefined) {
    throw new RequestError(`the tokenizer has no token for the role ${role}`, 'use the template "plain"');
  }
  return id;
}
