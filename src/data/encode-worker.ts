/** The worker thread of encode.ts: gets parts of a text, sends back their tokens one by one. */
import { messageOf, UserError } from "../errors";
import { tokenizerFrom } from "../text/tokenizer";
import type { EncodeReply, EncodeRequest } from "./encode";

declare const self: Worker;

self.onmessage = ({ data: { files, parts } }: MessageEvent<EncodeRequest>) => {
  const tokenizer = tokenizerFrom(files);
  const reply = (message: EncodeReply) => self.postMessage(message);
  try {
    parts.forEach((part, at) => {
      reply({ at, ids: Uint32Array.from(tokenizer.encode(part, { special: true })) });
    });
  } catch (error) {
    reply({ error: messageOf(error), hint: error instanceof UserError ? (error.hint ?? "") : "" });
  }
};
