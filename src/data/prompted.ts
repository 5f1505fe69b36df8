/** What comes before an answer, in the fields of records: an instruction, a question, turns, a text, or the answers' own beginning. */
import type { Message } from "../text/template";
import { instructionTurns } from "./formats";
import type { Row } from "./row";
import { dialogueOf, messagesOf, type Side, type Sides, sidesOf, sidesOfText, sidesOfWhole } from "./sides";
import { afterSystem, type Note } from "./turns";

type Fields = Row["fields"];

/** The prompt and the two answers of a record; else why they are no pair. */
export function pairOf(fields: Fields, note: Note): Sides | string {
  const { chosen, rejected } = fields;
  const [better, worse] = [sideOf(chosen, note), sideOf(rejected, () => {})];
  if (better === null) return "chosen is neither a text nor a list of turns";
  if (worse === null) return "rejected is neither a text nor a list of turns";
  if ("problem" in better) return `chosen: ${better.problem}`;
  if ("problem" in worse) return `rejected: ${worse.problem}`;
  const whole = !("instruction" in fields || "question" in fields) && wholeSides(fields, better.side, worse.side);
  if (whole) {
    const [first, second] = whole.map((turns) => afterSystem(fields.system, { messages: turns, unlearned: [] }, note));
    if (typeof first === "string" || typeof second === "string") return "system is not a text";
    return sidesOfWhole(first!.messages, second!.messages, note);
  }
  const prompt = promptOf(fields, note);
  if ("problem" in prompt) return prompt.problem;
  if (prompt.prompt !== null) return sidesOf(prompt.prompt, better.side, worse.side, note);
  if (typeof better.side !== "string" || typeof worse.side !== "string")
    return "one side is a text, and the other turns";
  return sidesOfText(better.side, worse.side, note);
}

/** Both sides as whole conversations, where they are: turns that begin with a user's or a system's, or dialogues as text. */
function wholeSides({ prompt }: Fields, better: Side, worse: Side): (readonly Message[])[] | null {
  if (typeof better === "string" && typeof worse === "string") {
    const [first, second] = [dialogueOf(better), dialogueOf(worse)];
    return (prompt === undefined || prompt === null) && first && second ? [first, second] : null;
  }
  if (typeof better === "string" || typeof worse === "string") return null;
  // What a prompt of turns says already stands in no answer.
  if (Array.isArray(prompt) && prompt.length > 0 && better[0]?.role === "assistant") return null;
  return better[0]?.role === "assistant" ? null : [better, worse];
}

type Found<K extends string, T> = { readonly [P in K]: T } | { readonly problem: string };

function sideOf(value: unknown, note: Note): Found<"side", Side> | null {
  if (typeof value === "string") return { side: value };
  if (!Array.isArray(value)) return null;
  const turns = messagesOf(value, note);
  return typeof turns === "string" ? { problem: turns } : { side: turns };
}

/** What comes before the answer: turns of an instruction, a question or a list; a text as it is; null where nothing is given. */
function promptOf(fields: Fields, note: Note): Found<"prompt", readonly Message[] | string | null> {
  const { prompt, instruction, question, system } = fields;
  const within = (turns: readonly Message[]): Found<"prompt", readonly Message[]> => {
    const whole = afterSystem(system, { messages: turns, unlearned: [] }, note);
    return typeof whole === "string" ? { problem: whole } : { prompt: whole.messages };
  };
  if (instruction !== undefined || question !== undefined) {
    const turns = instructionTurns(instruction === undefined ? { ...fields, instruction: question } : fields, note);
    return typeof turns === "string" ? { problem: turns } : within(turns);
  }
  if (Array.isArray(prompt)) {
    const turns = messagesOf(prompt, note);
    return typeof turns === "string" ? { problem: `prompt: ${turns}` } : within(turns);
  }
  if (prompt === undefined || prompt === null) return { prompt: null };
  if (typeof prompt !== "string") return { problem: "prompt is neither a text nor a list of turns" };
  const answers = [fields.chosen, fields.completion].filter((value) => value !== undefined);
  if (answers.some((value) => Array.isArray(value))) return within([{ role: "user", content: prompt }]);
  const dialogue = dialogueOf(prompt);
  if (dialogue) return { prompt: dialogue.filter(({ content }, i) => content !== "" || i < dialogue.length - 1) };
  return { prompt };
}

/** A prompt and its one answer. */
export function answered(
  fields: Fields,
  note: Note,
): { readonly prompt: readonly Message[] | string; readonly answer: Side } | string {
  const { messages, conversations } = fields;
  const list = messages ?? conversations;
  if (list !== undefined) {
    const turns = messagesOf(list, note);
    if (typeof turns === "string") return turns;
    const whole = afterSystem(fields.system, { messages: turns, unlearned: [] }, note);
    if (typeof whole === "string") return whole;
    const last = whole.messages.findLastIndex(({ role }) => role === "assistant");
    if (last < 1) return "there is no answer";
    return { prompt: whole.messages.slice(0, last), answer: whole.messages.slice(last, last + 1) };
  }
  const answer = sideOf(fields.completion ?? fields.output ?? fields.response, note);
  if (answer === null) return "the answer is neither a text nor a list of turns";
  if ("problem" in answer) return answer.problem;
  const prompt = promptOf(fields, note);
  if ("problem" in prompt) return prompt.problem;
  return prompt.prompt === null ? "there is no prompt" : { prompt: prompt.prompt, answer: answer.side };
}
