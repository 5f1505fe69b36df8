/** The command line: the root command, its help, and how errors are told. Subcommands are loaded only when they are called. */
import { type ArgsDef, type CommandDef, defineCommand, renderUsage, runCommand } from "citty";
import manifest from "../../package.json";
import { codeOf, messageOf, UserError } from "../errors";
import { nearest } from "../text/nearest";
import { ClosedPipe, print } from "./print";
import { endOnSignals } from "./signals";
import { readWords } from "./words";

const root = defineCommand({
  meta: {
    name: "dawngrad",
    version: manifest.version,
    description: "trains GPT-2 models on any GPU, or on none, and writes with them",
  },
  subCommands: {
    init: () => import("./init").then((m) => m.default as CommandDef),
    fetch: () => import("./fetch").then((m) => m.default as CommandDef),
    pretrain: () => import("./pretrain").then((m) => m.default as CommandDef),
    sft: () => import("./sft").then((m) => m.default as CommandDef),
    reward: () => import("./reward").then((m) => m.default as CommandDef),
    distill: () => import("./distill").then((m) => m.default as CommandDef),
    grpo: () => import("./grpo").then((m) => m.default as CommandDef),
    ppo: () => import("./ppo").then((m) => m.default as CommandDef),
    rloo: () => import("./rloo").then((m) => m.default as CommandDef),
    dpo: () => import("./dpo").then((m) => m.default as CommandDef),
    kto: () => import("./kto").then((m) => m.default as CommandDef),
    orpo: () => import("./orpo").then((m) => m.default as CommandDef),
    cpo: () => import("./cpo").then((m) => m.default as CommandDef),
    score: () => import("./score").then((m) => m.default as CommandDef),
    quantize: () => import("./quantize").then((m) => m.default as CommandDef),
    merge: () => import("./merge").then((m) => m.default as CommandDef),
    data: () => import("./data").then((m) => m.default as CommandDef),
    run: () => import("./run").then((m) => m.default as CommandDef),
    generate: () => import("./generate").then((m) => m.default as CommandDef),
    chat: () => import("./chat").then((m) => m.default as CommandDef),
    serve: () => import("./serve").then((m) => m.default as CommandDef),
    eval: () => import("./eval").then((m) => m.default as CommandDef),
    report: () => import("./report").then((m) => m.default as CommandDef),
    plot: () => import("./plot").then((m) => m.default as CommandDef),
    selfcheck: () => import("./selfcheck").then((m) => m.default as CommandDef),
    export: () => import("./export").then((m) => m.default as CommandDef),
    tokenizer: () => import("./tokenizer").then((m) => m.default as CommandDef),
    inspect: () => import("./inspect").then((m) => m.default as CommandDef),
    bench: () => import("./bench").then((m) => m.default as CommandDef),
    doctor: () => import("./doctor").then((m) => m.default as CommandDef),
  },
});

export async function main(argv: readonly string[]): Promise<void> {
  endOnSignals();
  // Nobody reads progress any more: that is no reason to stop training.
  process.stderr.on("error", () => {});
  try {
    if (argv.length === 1 && ["--version", "-v"].includes(argv[0]!)) {
      print(`${manifest.version}\n`);
      return;
    }
    const { command, parent, rest } = await commandAt(argv);
    const help = argv.length === 0 || (command.subCommands && ["--help", "-h"].includes(rest[0] ?? ""));
    const words = help ? null : command.subCommands ? [] : readWords((command.args ?? {}) as ArgsDef, rest);
    if (words === null) {
      const usage = await renderUsage(command, parent);
      print(`${process.stdout.isTTY ? usage : Bun.stripANSI(usage)}\n`);
      return;
    }
    if (command.subCommands) throw unknownCommand(command, rest);
    await runCommand(command, { rawArgs: words });
  } catch (error) {
    report(error);
  }
}

export interface Found {
  readonly command: CommandDef;
  readonly parent?: CommandDef;
  readonly rest: readonly string[];
}

/** The command that the first words name, and the words after them. */
export async function commandAt(argv: readonly string[]): Promise<Found> {
  let found: Found = { command: root as CommandDef, rest: argv };
  for (;;) {
    const subs = (found.command.subCommands ?? {}) as Record<string, CommandDef | (() => Promise<CommandDef>)>;
    const [name = "", ...rest] = found.rest;
    const named = Object.hasOwn(subs, name);
    // A file where a command's name could stand is for the command that is meant then.
    const byFile = !named && found.rest.some((word) => word.endsWith(".toml")) ? found.command.default : undefined;
    if (!named && typeof byFile !== "string") return found;
    const sub = subs[named ? name : (byFile as string)]!;
    found = {
      command: typeof sub === "function" ? await sub() : sub,
      parent: found.command,
      rest: named ? rest : found.rest,
    };
  }
}

function unknownCommand({ subCommands }: CommandDef, rest: readonly string[]): UserError {
  const names = Object.keys(subCommands ?? {});
  const near = nearest(rest[0] ?? "", names);
  const what = rest[0] === undefined ? "a command is missing" : `there is no command ${rest[0]}`;
  return new UserError(what, { hint: near ? `did you mean ${near}?` : `commands: ${names.join(", ")}`, exitCode: 2 });
}

/** What a system says of its files, and what may be done about it. */
const systemHints: Readonly<Record<string, string>> = {
  ENOSPC: "make room, or choose a folder on another disk; what was saved before is whole",
  EDQUOT: "make room, or choose a folder on another disk; what was saved before is whole",
  EFBIG: "choose a folder on a disk that takes files of this size",
  EROFS: "choose another folder: this disk can only be read",
  EACCES: "see who may read and write it (ls -ld), or choose another path",
  EPERM: "see who may read and write it (ls -ld), or choose another path",
  ENOENT: "see whether the path is written right",
  ENOTDIR: "a part of the path is a file, and not a folder",
  EISDIR: "give the path of a file: this is a folder",
  ENAMETOOLONG: "choose a shorter name",
  ELOOP: "a link in the path leads back to itself",
  EMFILE: "raise the limit of open files (ulimit -n)",
  EIO: "the disk does not answer: see whether it is damaged",
};

/** One sentence and a hint for a user's mistake; a stack for ours. */
function report(error: unknown): void {
  if (error instanceof ClosedPipe) return;
  if (error instanceof UserError) {
    console.error(`error: ${error.message}`);
    if (error.hint) console.error(`hint: ${error.hint}`);
    process.exitCode = error.exitCode;
  } else if ((error as { code?: string })?.code === "EARG") {
    console.error(`error: ${Bun.stripANSI(messageOf(error))}\nhint: --help shows how the command is called`);
    process.exitCode = 2;
  } else if (Object.hasOwn(systemHints, codeOf(error) ?? "")) {
    console.error(`error: ${messageOf(error)}\nhint: ${systemHints[codeOf(error)!]}`);
    process.exitCode = 1;
  } else {
    console.error(error);
    console.error("this is a bug in dawngrad: please report it with the lines above");
    process.exitCode = 1;
  }
}
