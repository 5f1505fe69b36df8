/** `dawngrad serve`: an OpenAI-compatible server, with a page to chat in. */
import { defineCommand } from "citty";
import { findModel, shortName } from "../app/find-model";
import type { OpenModel } from "../app/model";
import { openNamed } from "../app/named-adapters";
import { type Speaker, speaker, templateOf } from "../app/speaker";
import { messageOf, UserError } from "../errors";
import { openConsole } from "../log/console";
import { serve } from "../server/server";
import { openFromArgs } from "./open";
import { all, deviceArg, numberOf, storageArg, whole } from "./options";
import { onEnd } from "./signals";

export default defineCommand({
  meta: { name: "serve", description: "serves a model by OpenAI's API, with a page to chat in" },
  args: {
    model: {
      type: "string",
      description: "a path, a Hub name, or a kind of stage such as sft; the best under runs/ if absent",
    },
    name: { type: "string", description: "what the model is called (default: its path's last parts)" },
    adapter: {
      type: "string",
      repeated: true,
      description: "NAME=PATH serves an adapter over the model as a model of its own; may be repeated",
    },
    template: {
      type: "string",
      default: "auto",
      description: "auto (the model's own), alpaca, instruction, chat, or a Jinja file",
    },
    host: {
      type: "string",
      default: "127.0.0.1",
      description: "the address to listen on; others than loopback need a key",
    },
    port: { type: "string", default: "8080", description: "0 takes any that is free" },
    key: { type: "string", description: "what clients must know: Authorization: Bearer KEY (else DAWNGRAD_KEY)" },
    cors: {
      type: "string",
      repeated: true,
      description: "an origin whose pages may ask, such as http://localhost:3000, or * for any; may be repeated",
    },
    slots: { type: "string", default: "8", description: "answers that are written at the same time" },
    queue: { type: "string", default: "64", description: "answers that may wait for a slot" },
    timeout: { type: "string", default: "600", description: "seconds that a request may take in all" },
    "max-body": { type: "string", default: "8", description: "megabytes of a request at most" },
    drain: {
      type: "string",
      default: "30",
      description: "seconds that open requests have when the server is to end",
    },
    ...storageArg,
    ...deviceArg,
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    const slots = whole("slots", args.slots, { most: 256 });
    const queue = whole("queue", args.queue, { least: 0, most: 1 << 16 });
    const seconds = positive("timeout", args.timeout);
    const drain = positive("drain", args.drain);
    const bodyBytes = Math.floor(positive("max-body", args["max-body"]) * 1e6);
    const port = whole("port", args.port, { least: 0, most: 65535 });
    const key = args.key ?? process.env.DAWNGRAD_KEY ?? null;
    if (key !== null && key.trim() === "")
      throw new UserError("the key is empty", { hint: "leave it out, or give one", exitCode: 2 });
    const named = all(rawArgs, "adapter").map(adapterOf);
    const found = findModel(args.model);
    const name = args.name ?? shortName(found.given);
    const taken = new Set([name]);
    for (const one of named) {
      if (taken.has(one.name))
        throw new UserError(`two models are called ${one.name}`, { hint: "--adapter NAME=PATH", exitCode: 2 });
      taken.add(one.name);
    }
    console.note(`${name}: ${found.why}`);
    using stack = new DisposableStack();
    const opened = stack.use(await openFromArgs({ ...args, model: found.given }, ["--"], console));
    const speakers: Speaker[] = [];
    const add = (name: string, parts: Pick<OpenModel, "model" | "slabs" | "tokenizer">) => {
      const template = templateOf(args.template, parts.tokenizer);
      if (!template) console.note(`${name} has no chat template: it continues texts, and answers no conversations`);
      speakers.push(stack.use(speaker(opened.device, parts, { name, template, slots, queue })));
    };
    add(name, opened);
    for (const one of named) add(one.name, stack.use(await openNamed(opened.device, opened, one, console)));
    const [first, ...others] = speakers;
    const faulted = Promise.withResolvers<unknown>();
    const serving = serve([first!, ...others], {
      host: args.host,
      port,
      key,
      cors: all(rawArgs, "cors"),
      seconds,
      bodyBytes,
      bodySeconds: 30,
      fault: faulted.resolve,
      bug: (error) =>
        process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`),
    });
    console.note(
      `${speakers.map((one) => one.name).join(", ")} at ${serving.address}/v1, a page to chat at ${serving.address}/; ${slots} slots of ${first!.context} tokens`,
    );
    const ended = onEnd(() =>
      console.note(`ending when open requests are answered, at most ${drain} s; once more to end at once`),
    );
    const fault = await Promise.race([faulted.promise.then((error) => ({ error })), ended.then(() => null)]);
    if (fault) {
      // Time for those who were told of it to hear it.
      await serving.drain(2);
      throw new UserError(`the engine has failed: ${messageOf(fault.error)}`, {
        hint: "start the server again",
        cause: fault.error,
      });
    }
    await serving.drain(drain);
  },
});

function positive(name: string, text: string): number {
  const value = numberOf(name, text);
  if (!(value > 0 && value < 1e7))
    throw new UserError(`--${name} is ${text}, expected a number above 0`, { exitCode: 2 });
  return value;
}

function adapterOf(given: string): { readonly name: string; readonly path: string } {
  const [, name, path] = /^([^=]+)=(.+)$/.exec(given) ?? [];
  if (name !== undefined && path !== undefined) return { name, path };
  return { name: shortName(given), path: given };
}
