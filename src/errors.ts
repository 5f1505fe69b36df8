/** The two kinds of error: a user's mistake is a UserError with a hint; everything else is a bug and keeps its stack. */

export interface UserErrorOptions {
  /** What to do about it, printed on a line of its own. */
  readonly hint?: string;
  /** 1: the work failed. 2: the command or config was wrong. */
  readonly exitCode?: 1 | 2;
  readonly cause?: unknown;
}

/** A mistake that the user can mend: printed as one sentence and a hint, without a stack. */
export class UserError extends Error {
  readonly hint: string | undefined;
  readonly exitCode: 1 | 2;

  constructor(message: string, { hint, exitCode = 1, cause }: UserErrorOptions = {}) {
    super(message, { cause });
    this.name = "UserError";
    this.hint = hint;
    this.exitCode = exitCode;
  }
}

/** The text of whatever was thrown; of several errors in one, such as those of a module's text, all of them. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(messageOf).join("; ");
  return error instanceof Error ? error.message : String(error);
}

/** The code of a system error (ENOENT, ENOSPC, ...), or undefined. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}

/** What the operating system says, in words. */
const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of its path is a file",
  ENOSPC: "the disk is full",
};

/** Why something failed: a system error in words where there are better ones than its own, else its message. */
export function reasonOf(error: unknown): string {
  return reasons[codeOf(error) ?? ""] ?? messageOf(error);
}

/** Characters of a value that are shown. */
const SHOWN = 60;

/** A value from a file as errors show it: short, and never walked into. */
export function shown(value: unknown): string {
  if (typeof value === "object" && value !== null) {
    const flat = Array.isArray(value) && value.every((each) => typeof each !== "object" || each === null);
    if (!flat) return Array.isArray(value) ? "a list" : "an object";
  }
  const text = JSON.stringify(value) ?? String(value);
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text;
}
