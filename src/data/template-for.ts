/** Which chat template records are rendered by. */
import { existsSync, statSync } from "node:fs";
import { UserError } from "../errors";
import { readTextFile } from "../files";
import { MOST_TEMPLATE_BYTES } from "../text/jinja";
import { builtIn, type ChatTemplate, chatTemplate, expectTemplate, savedTemplate } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";
import type { Format } from "./formats";
import { spooledBefore } from "./spool";

/** `wanted`: a built-in template's name, a Jinja file, or `auto`: the tokenizer's own, else the one that goes with the format. */
export function templateFor(wanted: string, format: Format, tokenizer: Tokenizer): ChatTemplate {
  return chatTemplate(sourceOf(wanted, format, tokenizer), tokenizer);
}

function sourceOf(wanted: string, format: Format, tokenizer: Tokenizer): string {
  if (wanted === "auto") {
    const fitting = format === "alpaca" || format === "instruction" ? format : "chat";
    return savedTemplate(tokenizer) ?? builtIn[fitting]!;
  }
  return Object.hasOwn(builtIn, wanted) ? builtIn[wanted]! : readTemplate(wanted);
}

function readTemplate(wanted: string): string {
  const file = { most: MOST_TEMPLATE_BYTES, hint: "give the path of a Jinja file", exitCode: 2 } as const;
  if (!existsSync(wanted))
    throw new UserError(`there is no chat template ${wanted}`, {
      hint: `use ${Object.keys(builtIn).join(", ")}, or the path of a Jinja file`,
      exitCode: 2,
    });
  return readTextFile(spooledBefore(wanted), `the chat template ${wanted}`, file);
}

/** Whether a template goes by a name, and not by a path. */
export function isTemplateName(wanted: string): boolean {
  return wanted === "auto" || Object.hasOwn(builtIn, wanted);
}

/** The file, or the pipe, that a template is read from. Throws a UserError where there is none, or where a file is no template. */
export function templateFile(wanted: string): string | null {
  if (isTemplateName(wanted)) return null;
  // What comes through a pipe is read once, when it is used.
  if (!statSync(wanted, { throwIfNoEntry: false })?.isFIFO()) expectTemplate(readTemplate(wanted));
  return wanted;
}
