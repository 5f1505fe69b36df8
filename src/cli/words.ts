/** The words behind a command: each belongs to an option or has a place, else it is refused with what was probably meant. */
import type { ArgDef, ArgsDef } from "citty";
import { UserError } from "../errors";
import { nearest } from "../text/nearest";

/** What an option says of itself beside what citty knows. */
export interface More {
  /** It may be given more than once; a place that takes all words that are left. */
  readonly repeated?: boolean;
  /** An empty value means something. */
  readonly blank?: boolean;
  /** It counts for nothing without one of these: `lora`, or `format=gguf`. */
  readonly needs?: readonly string[];
  /** Options that do not go with it. */
  readonly excludes?: readonly string[];
}

type Options = Readonly<Record<string, ArgDef & More>>;

/** The words as they cannot be misread: `--name=value`, `--switch`, and behind `--` what has a place. Null where help is asked for. */
export function readWords(options: ArgsDef, words: readonly string[]): string[] | null {
  const until = words.indexOf("--");
  if ((until < 0 ? words : words.slice(0, until)).includes("--help")) return null;
  const known = options as Options;
  const given = new Map<string, string[]>();
  const placed: string[] = [];
  let before: string | null = null;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (i === until) continue;
    if ((until >= 0 && i > until) || !looksLikeOption(word)) {
      placed.push(word);
      if (placed.length > places(known)) throw leftOver(words.slice(i), { known, given, before });
      before = null;
      continue;
    }
    if (word === "-h") return null;
    const [flag = "", inline] = splitOnce(word.slice(2));
    if (!word.startsWith("--") || !Object.hasOwn(known, flag) || known[flag]!.type === "positional")
      throw unknownOption(word, known);
    before = flag;
    if (known[flag]!.type === "boolean") {
      if (inline !== undefined && inline !== "true" && inline !== "false")
        throw new UserError(`--${flag} takes no value, and was given ${inline}`, { exitCode: 2 });
      if (inline !== "false") given.set(flag, [...(given.get(flag) ?? []), ""]);
      continue;
    }
    const value = inline ?? words[++i];
    if (value === undefined || (inline === undefined && (value === "--" || isOption(value, known))))
      throw new UserError(`--${flag} needs a value`, {
        ...(value !== undefined && { hint: `if ${value} is meant as one, write it as --${flag}=${value}` }),
        exitCode: 2,
      });
    given.set(flag, [...(given.get(flag) ?? []), value]);
  }
  for (const [flag, values] of given) check(flag, values, known, given);
  expectPlaced(placed, known);
  const asOption = ([flag, values]: readonly [string, readonly string[]]) =>
    known[flag]!.type === "boolean" ? [`--${flag}`] : values.map((value) => `--${flag}=${value}`);
  return [...[...given].flatMap(asOption), "--", ...placed];
}

/** A negative number is a word of its own. */
function looksLikeOption(word: string): boolean {
  return word.startsWith("-") && word !== "-" && !/^-\.?\d/.test(word);
}

function isOption(word: string, known: Options): boolean {
  return word.startsWith("--") && Object.hasOwn(known, splitOnce(word.slice(2))[0]!);
}

function splitOnce(text: string): string[] {
  const at = text.indexOf("=");
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function places(known: Options): number {
  const all = Object.values(known).filter(({ type }) => type === "positional");
  return all.some(({ repeated }) => repeated) ? Number.POSITIVE_INFINITY : all.length;
}

function expectPlaced(placed: readonly string[], known: Options): void {
  const names = Object.entries(known).filter(([, { type }]) => type === "positional");
  for (const [i, [name, { blank }]] of names.entries())
    if (placed[i] === "" && !blank) throw new UserError(`${name.toUpperCase()} is empty`, { exitCode: 2 });
}

function check(
  flag: string,
  values: readonly string[],
  known: Options,
  given: ReadonlyMap<string, readonly string[]>,
): void {
  const { type, repeated, blank, needs = [], excludes = [] } = known[flag]!;
  if (type === "boolean") values = [];
  if (values.length > 1 && !repeated)
    throw new UserError(`--${flag} takes one value, and was given ${values.join(" and ")}`, {
      hint: "leave out all but one",
      exitCode: 2,
    });
  if (values.includes("") && !blank)
    throw new UserError(`--${flag} is empty`, { hint: "give it a value, or leave it out", exitCode: 2 });
  const other = excludes.find((name) => given.has(name));
  if (other !== undefined)
    throw new UserError(`--${flag} and --${other} exclude each other`, { hint: "give one of them", exitCode: 2 });
  const met = (need: string) => {
    const [name = "", wanted] = splitOnce(need);
    if (wanted === undefined) return given.has(name);
    return (given.get(name)?.at(-1) ?? known[name]?.default) === wanted;
  };
  if (needs.length === 0 || needs.some(met)) return;
  const lacking = needs.map((need) => `--${need.replace("=", " ")}`).join(" or ");
  throw new UserError(`--${flag} counts for nothing without ${lacking}`, {
    hint: `add ${lacking}, or leave out --${flag}`,
    exitCode: 2,
  });
}

interface Scene {
  readonly known: Options;
  readonly given: ReadonlyMap<string, readonly string[]>;
  /** The option before the word. */
  readonly before: string | null;
}

function leftOver(words: readonly string[], scene: Scene): UserError {
  const more = words.length > 1 && !looksLikeOption(words[1]!);
  const what = words[0] === "" ? "an empty word" : words[0]!;
  return new UserError(`${what}${more ? " (and more behind it)" : ""} belongs to no option`, {
    hint: probablyMeant(words[0]!, scene),
    exitCode: 2,
  });
}

function probablyMeant(word: string, { known, given, before }: Scene): string {
  const [name = "", value] = splitOnce(word);
  const near = nearest(name, optionNames(known));
  if (near !== undefined && (value !== undefined || near === name)) return `did you mean --${near}?`;
  const last = before === null ? undefined : known[before];
  if (last && last.type !== "boolean") {
    const value = given.get(before!)?.at(-1) ?? "";
    const quoted = `--${before} "${value} ${word}"`;
    if (last.repeated)
      return `give --${before} for each: --${before} ${value} --${before} ${word}; or quote: ${quoted}`;
    return `--${before} takes one value; what belongs together is quoted: ${quoted}`;
  }
  const lacking = Object.entries(known).find(
    ([name, { type, required }]) => type !== "positional" && required && !given.has(name),
  );
  if (lacking) return `did you mean --${lacking[0]} ${word}?`;
  const place = Object.entries(known).find(([, { type }]) => type === "positional");
  if (place) return `it takes one ${place[0].toUpperCase()}; what belongs together is put in quotes`;
  return before === null ? "--help lists the options" : `--${before} takes no value; --help lists the options`;
}

function unknownOption(word: string, known: Options): UserError {
  const flag = splitOnce(word.replace(/^--?/, ""))[0]!;
  const names = optionNames(known);
  const near =
    names.find((name) => flag !== "" && (name.startsWith(flag.slice(0, 4)) || flag.startsWith(name))) ??
    nearest(flag, names);
  const place = Object.values(known).some(({ type }) => type === "positional");
  return new UserError(`there is no option ${word}`, {
    hint: `${near ? `did you mean --${near}? ` : ""}--help lists all${place ? "; words behind -- are no options" : ""}`,
    exitCode: 2,
  });
}

function optionNames(known: Options): string[] {
  return Object.keys(known).filter((name) => known[name]!.type !== "positional");
}
