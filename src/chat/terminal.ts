/** The terminal of a chat: lines are edited and remembered by node:readline; Ctrl-C, the editor and what is typed ahead are seen to here. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Key } from "node:readline";
import { Writable } from "node:stream";
import { UserError } from "../errors";
import { codePointsBefore, EDITOR, ERASE, keys, NEWLINE } from "./keys";

/** Whoever talks: a terminal, or the lines of a pipe. */
export interface Talker extends Disposable {
  /** The next message; null where no more will come. */
  next(): Promise<string | null>;
  /** While an answer is written: keys are kept for later, and Ctrl-C aborts. */
  listen(): { readonly signal: AbortSignal } & Disposable;
  /** A text as it was changed in the user's editor; null where it was left as it is. */
  edit(text: string): string | null;
}

export interface TerminalOptions {
  readonly history: readonly string[];
  /** Told the lines whenever there is a new one, the newest first. */
  readonly remembered: (history: readonly string[]) => void;
  readonly note: (text: string) => void;
}

const MOST_REMEMBERED = 1000;
const PROMPT = "> ";
const PASTES_ON = "\x1b[?2004h";
const PASTES_OFF = "\x1b[?2004l";

export function terminal({ history, remembered, note }: TerminalOptions): Talker {
  const { stdin, stdout } = process;
  let muted = false;
  const screen = Object.assign(
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        if (!muted) stdout.write(chunk);
        done();
      },
    }),
    { isTTY: true, columns: stdout.columns, rows: stdout.rows, getColorDepth: () => 1, hasColors: () => false },
  );
  const resized = () => {
    Object.assign(screen, { columns: stdout.columns, rows: stdout.rows });
    screen.emit("resize");
  };
  stdout.on("resize", resized);
  const input = keys();
  stdin.pipe(input);
  const lines = createInterface({
    input,
    output: screen,
    terminal: true,
    prompt: PROMPT,
    history: [...history],
    historySize: MOST_REMEMBERED,
    removeHistoryDuplicates: true,
  });
  const raw = (on: boolean) => {
    stdin.setRawMode(on);
    stdout.write(on ? PASTES_ON : PASTES_OFF);
  };
  raw(true);
  const restore = () => raw(false);
  process.on("exit", restore);

  const typed: string[] = [];
  let closed = false;
  let waiting: ((line: string | null) => void) | null = null;
  let answering: AbortController | null = null;
  /** Ctrl-C was the last key. */
  let interrupted = false;
  const give = (line: string | null) => {
    const resolve = waiting;
    waiting = null;
    resolve?.(line);
  };
  lines.on("history", (all: readonly string[]) => remembered(all));
  lines.on("line", (line: string) => {
    const message = line.replaceAll(NEWLINE, "\n");
    if (waiting) give(message);
    else typed.push(message);
  });
  lines.on("close", () => {
    closed = true;
    stdout.write("\n");
    answering?.abort();
    give(null);
  });
  lines.on("SIGINT", () => {
    if (!answering && lines.line !== "") {
      lines.write(null, { ctrl: true, name: "e" });
      lines.write(null, { ctrl: true, name: "u" });
    } else if (interrupted) {
      lines.close();
    } else if (answering) {
      interrupted = true;
      answering.abort();
    } else {
      interrupted = true;
      stdout.write("\n");
      note("Ctrl-C once more, Ctrl-D or /quit leaves");
      lines.prompt();
    }
  });
  const erase = () => {
    for (let left = codePointsBefore(lines.line, lines.cursor); left > 0; left--)
      lines.write(null, { name: "backspace" });
  };
  const editLine = () => {
    if (answering) return;
    const text = edit(lines.line.replaceAll(NEWLINE, "\n"));
    lines.write(null, { ctrl: true, name: "e" });
    lines.write(null, { ctrl: true, name: "u" });
    if (text !== null) lines.write(text.replaceAll("\n", NEWLINE));
    lines.prompt(true);
  };
  input.on("keypress", (_text: string | undefined, { sequence, ctrl, name }: Key) => {
    if (!(ctrl && name === "c")) interrupted = false;
    if (sequence === ERASE) erase();
    if (sequence === EDITOR) editLine();
  });

  function edit(text: string): string | null {
    lines.pause();
    raw(false);
    try {
      return inEditor(text, note);
    } finally {
      raw(true);
      lines.resume();
    }
  }

  return {
    next() {
      if (typed.length > 0) {
        const message = typed.shift()!;
        stdout.write(`${PROMPT}${message.replaceAll("\n", NEWLINE)}\n`);
        return Promise.resolve(message);
      }
      if (closed) return Promise.resolve(null);
      lines.prompt(true);
      return new Promise((resolve) => {
        waiting = resolve;
      });
    },
    listen() {
      const controller = new AbortController();
      answering = controller;
      muted = true;
      if (closed) controller.abort();
      return {
        signal: controller.signal,
        [Symbol.dispose]() {
          answering = null;
          muted = false;
        },
      };
    },
    edit,
    [Symbol.dispose]() {
      process.off("exit", restore);
      stdout.off("resize", resized);
      if (!closed) {
        lines.removeAllListeners("close");
        lines.close();
      }
      restore();
      stdin.unpipe(input);
      stdin.pause();
    },
  };
}

/** What the user makes of a text in $VISUAL or $EDITOR; null where it was not changed, or the editor failed. */
function inEditor(text: string, note: (text: string) => void): string | null {
  const editor = process.env.VISUAL || process.env.EDITOR || (process.platform === "win32" ? "notepad" : "vi");
  const folder = mkdtempSync(join(tmpdir(), "dawngrad-"));
  const path = join(folder, "message.txt");
  try {
    writeFileSync(path, text, { mode: 0o600 });
    const command = process.platform === "win32" ? [editor, path] : ["/bin/sh", "-c", `${editor} "$1"`, "sh", path];
    const { exitCode } = Bun.spawnSync(command, { stdio: ["inherit", "inherit", "inherit"] });
    if (exitCode !== 0) {
      note(`the editor ${editor} ended with status ${exitCode}: nothing is changed (VISUAL or EDITOR says which one)`);
      return null;
    }
    const changed = readFileSync(path, "utf8").replace(/\n+$/, "");
    return changed === text ? null : changed;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Lines of a pipe, a message each. */
export function piped(): Talker {
  const lines = createInterface({ input: process.stdin, terminal: false, crlfDelay: Number.POSITIVE_INFINITY });
  const coming = lines[Symbol.asyncIterator]();
  return {
    async next() {
      const { done, value } = await coming.next();
      return done ? null : value;
    },
    // Without a terminal Ctrl-C is a signal, which ends the program.
    listen: () => ({ signal: new AbortController().signal, [Symbol.dispose]() {} }),
    edit() {
      throw new UserError("there is no terminal for an editor", { hint: "type the message instead" });
    },
    [Symbol.dispose]: () => lines.close(),
  };
}
