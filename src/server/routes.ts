/** What is asked of which path. */

import { promptIds } from "../app/complete";
import type { Speaker, Wanted } from "../app/speaker";
import { checkPrompt } from "../generate/stream";
import { endsOf } from "../text/answer";
import type { Ends } from "../text/reader";
import { type Around, answer, seedOf } from "./answer";
import {
  biasOf,
  type ChatAsked,
  type CompletionAsked,
  chatSchema,
  completionSchema,
  conversationOf,
  drawingOf,
  expectChatPossible,
  expectCompletionPossible,
  readAsked,
  stopsOf,
} from "./asked";
import { chatForm, completionForm } from "./forms";
import { Refusal } from "./refusal";

/** The models that are served: the first is asked where the name says nothing else. */
export type Speakers = readonly [Speaker, ...Speaker[]];

/** Where only one is served any name means it: clients insist on names of their own. */
export function speakerFor(speakers: Speakers, name: string): Speaker {
  const found = speakers.find((one) => one.name === name);
  if (found) return found;
  if (speakers.length === 1 || name === "") return speakers[0];
  throw new Refusal(404, `there is no model ${name}: there are ${speakers.map((one) => one.name).join(", ")}`, {
    param: "model",
    code: "model_not_found",
  });
}

export function modelObject({ name, context, template, model }: Speaker, created: number) {
  return {
    id: name,
    object: "model",
    created,
    owned_by: "dawngrad",
    context_length: context,
    chat_template: template !== null,
    parameters: model.parameters.list.reduce((sum, { size }) => sum + size, 0),
  };
}

export function chat(
  request: Request,
  body: unknown,
  speakers: Speakers,
  around: Around,
): Response | Promise<Response> {
  const asked = readAsked(chatSchema, body);
  expectChatPossible(asked);
  const speaker = speakerFor(speakers, asked.model);
  const { tokenizer, template } = speaker;
  if (!template)
    throw new Refusal(400, `${speaker.name} has no chat template: it only continues texts (/v1/completions)`, {
      param: "model",
      code: "no_chat_template",
    });
  const messages = conversationOf(asked);
  const onward = asked.continue_final_message;
  if (onward && messages.at(-1)!.role !== "assistant")
    throw new Refusal(400, "continue_final_message: the last message is not the assistant's", {
      param: "continue_final_message",
    });
  const ids = onward ? template.unfinished(messages) : template.prompt(messages);
  const own = endsOf(tokenizer, template);
  const wanted = wantedOf(asked, speaker, [ids], {
    ends: { stop: [...own.stop, ...stopsOf(asked)], stopIds: own.stopIds },
    most: asked.max_completion_tokens ?? asked.max_tokens,
    top: asked.logprobs ? (asked.top_logprobs ?? 0) : null,
  });
  return answer(
    request,
    {
      speaker,
      form: chatForm(tokenizer, asked.logprobs),
      wanted: wanted.map((one) => ({ ...one, trim: !onward })),
      prompted: ids.length,
      echo: [],
      ...streaming(asked),
    },
    around,
  );
}

export function completion(
  request: Request,
  body: unknown,
  speakers: Speakers,
  around: Around,
): Response | Promise<Response> {
  const asked = readAsked(completionSchema, body);
  expectCompletionPossible(asked);
  const speaker = speakerFor(speakers, asked.model);
  const { tokenizer } = speaker;
  const prompts = promptsOf(asked).map((prompt) =>
    typeof prompt === "string" ? promptIds(tokenizer, prompt) : [...prompt],
  );
  const wanted = wantedOf(asked, speaker, prompts, {
    ends: { stop: stopsOf(asked), stopIds: new Set() },
    most: asked.max_tokens ?? OLD_DEFAULT,
    top: asked.logprobs ?? null,
  });
  return answer(
    request,
    {
      speaker,
      form: completionForm(tokenizer, asked.logprobs !== undefined),
      wanted,
      prompted: prompts.reduce((sum, { length }) => sum + length, 0),
      echo: asked.echo ? wanted.map(({ ids }) => tokenizer.decode([...ids])) : [],
      ...streaming(asked),
    },
    around,
  );
}

/** OpenAI's default for completions. */
const OLD_DEFAULT = 16;

function promptsOf({ prompt }: CompletionAsked): (string | readonly number[])[] {
  if (typeof prompt === "string") return [prompt];
  return typeof prompt[0] === "number" ? [prompt as number[]] : (prompt as (string | number[])[]);
}

function streaming({ stream, stream_options: options }: ChatAsked | CompletionAsked) {
  return { stream, includeUsage: options?.include_usage === true };
}

/** `n` answers to each prompt: the i-th of a prompt is drawn by the seed that was given and i. */
function wantedOf(
  asked: ChatAsked | CompletionAsked,
  { model, context, queue }: Speaker,
  prompts: readonly (readonly number[])[],
  { ends, most, top }: { readonly ends: Ends; readonly most: number | undefined; readonly top: number | null },
): Wanted[] {
  if (asked.n > queue.slots)
    throw new Refusal(400, `n: at most ${queue.slots} answers are written at the same time`, { param: "n" });
  const logitBias = biasOf(asked.logit_bias, model.config.vocabulary);
  const seed = seedOf(asked.seed, 0);
  return prompts.flatMap((ids) => {
    expectRoom(ids.length, most, context);
    checkPrompt(ids, model.config);
    const maxTokens = most ?? context - ids.length;
    return Array.from({ length: asked.n }, (_, i) => ({
      ids,
      sampling: { ...drawingOf(asked), seed: seedOf(seed, i), maxTokens },
      ends,
      logitBias,
      top,
    }));
  });
}

function expectRoom(prompt: number, most: number | undefined, context: number): void {
  if (prompt + (most ?? 1) <= context) return;
  const asked = most === undefined ? "" : ` and ${most} of the answer`;
  throw new Refusal(400, `the context is ${context} tokens, and ${prompt} of the prompt${asked} were asked for`, {
    param: "messages",
    code: "context_length_exceeded",
  });
}
