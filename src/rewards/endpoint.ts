/** A reward that is a server's: it is sent prompts and answers as JSON, and sends their rewards back. */
import { messageOf, shown, UserError } from "../errors";
import { duration } from "../log/console";
import { type Answered, checkedScores, inputOf, type Reward } from "./reward";

export interface EndpointOptions {
  readonly name: string;
  readonly url: string;
  /** Seconds after which an answer is no longer waited for. */
  readonly timeout: number;
}

/**
 * POST {prompts: lists of messages, completions: texts, columns: objects} is answered by {rewards: numbers and nulls}, or by the list
 * alone.
 */
export function endpointReward({ name, url, timeout }: EndpointOptions): Reward {
  return {
    name,
    async score(answers) {
      const body = JSON.stringify({
        prompts: answers.map(({ messages }) => messages),
        completions: answers.map(({ answer }) => answer),
        columns: answers.map(({ columns }) => columns),
      });
      const reply = await posted(url, body, { timeout, answers });
      const rewards =
        typeof reply === "object" && reply !== null && "rewards" in reply
          ? (reply as { readonly rewards: unknown }).rewards
          : reply;
      return checkedScores(rewards, answers, `the reward ${url}`);
    },
    [Symbol.dispose]() {},
  };
}

async function posted(
  url: string,
  body: string,
  { timeout, answers }: { readonly timeout: number; readonly answers: readonly Answered[] },
): Promise<unknown> {
  const hint = inputOf(answers[0]);
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
      signal: AbortSignal.timeout(1000 * timeout),
    });
    text = await response.text();
  } catch (error) {
    if ((error as Error).name === "TimeoutError")
      throw new UserError(`the reward ${url} has not answered after ${duration(timeout)}`, { hint });
    throw new UserError(`the reward ${url} cannot be reached: ${messageOf(error)}`, { hint, cause: error });
  }
  if (!response.ok) throw new UserError(`the reward ${url} answered ${response.status}: ${shown(text)}`, { hint });
  try {
    return JSON.parse(text);
  } catch {
    throw new UserError(`the reward ${url} did not answer in JSON: ${shown(text)}`, { hint });
  }
}
