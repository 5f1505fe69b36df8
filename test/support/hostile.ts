/** Inputs that nobody meant: valid ones with a part replaced, removed or renamed, and text that was cut or scrambled. */
import fc from "fast-check";

/** Names that every object of JavaScript has, which are names like others. */
const inherited = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", "then", "length"];

/** Stand for what JSON.stringify does not write: a list nested deeply, and a key that would change the object it is in. */
const DEEP = "@deep@";
const PROTO = "@proto@";
const DEPTH = 20_000;

const odd: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(null, true, false, 0, -1, 1.5, 1e-300, 3e38, 1e308, 2 ** 31, 2 ** 53, -(2 ** 60)),
  fc.constantFrom<unknown>("", " ", "x", "0", "-1", "null", "\0", "\ud800", "\ufeff", "{{", "<|endoftext|>", "é"),
  fc.constantFrom<unknown>([], {}, [null], [[]], [{}], { a: null }, [1, "x"], { content: {} }, { length: -1 }, DEEP),
  fc.constantFrom("a".repeat(5000), "( ".repeat(500), "[".repeat(500)),
  fc.constantFrom(...inherited),
  fc.constantFrom(...inherited.map((name) => ({ [name === "__proto__" ? PROTO : name]: 1 }))),
  fc.string({ maxLength: 12 }),
  fc.jsonValue({ maxDepth: 2 }),
);

/** Evenly in [0, 1): a double of fast-check's is nearly always close to 0. */
const share = fc.noBias(fc.integer({ min: 0, max: 2 ** 24 - 1 })).map((n) => n / 2 ** 24);

interface Change {
  /** Which part, as a share of all that there are. */
  readonly at: number;
  readonly how: "replace" | "remove" | "rename" | "add" | "repeat";
  readonly value: unknown;
  readonly name: string;
}

const change: fc.Arbitrary<Change> = fc.record({
  at: share,
  how: fc.constantFrom("replace", "replace", "replace", "remove", "rename", "add", "repeat"),
  value: odd,
  name: fc.constantFrom(...inherited.map((name) => (name === "__proto__" ? PROTO : name)), "", "x", "0"),
});

type Container = Record<string, unknown> | unknown[];

/** Every place of a value: what it is in, and its key there. */
function placesIn(value: unknown): (readonly [Container, string])[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.keys(value).flatMap((key) => [
    [value as Container, key] as const,
    ...placesIn((value as Record<string, unknown>)[key]),
  ]);
}

function apply(root: { all: unknown }, { at, how, value: put, name }: Change): void {
  const value = structuredClone(put);
  const places = placesIn(root);
  const [container, key] = places[Math.floor(at * places.length)]!;
  const parts = container as Record<string, unknown>;
  if (how === "replace" || container === (root as unknown)) parts[key] = value;
  else if (how === "repeat" && Array.isArray(container)) container.splice(Number(key), 0, structuredClone(parts[key]));
  else if (Array.isArray(container)) container.splice(Number(key), 1, ...(how === "remove" ? [] : [value]));
  else if (how === "add") parts[name] = value;
  else {
    if (how === "rename") parts[name] = parts[key];
    delete parts[key];
  }
}

/** Valid JSON whose value is one of these, changed in a place or a few. */
export function changedJson(...valid: readonly unknown[]): fc.Arbitrary<string> {
  return fc
    .tuple(fc.constantFrom(...valid), fc.array(change, { minLength: 1, maxLength: 3 }))
    .map(([value, changes]) => {
      const root = { all: structuredClone(value) };
      for (const each of changes) apply(root, each);
      const deep = "[".repeat(DEPTH) + "]".repeat(DEPTH);
      return (JSON.stringify(root.all) ?? "null").replaceAll(`"${DEEP}"`, deep).replaceAll(PROTO, "__proto__");
    });
}

/** A text of these that was cut, doubled or had a piece put in. */
export function changedText(valid: readonly string[], pieces: readonly string[]): fc.Arbitrary<string> {
  const piece = fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 4 }), fc.constant(""));
  const edit = fc.tuple(share, share, piece);
  return fc.tuple(fc.constantFrom(...valid), fc.array(edit, { minLength: 1, maxLength: 3 })).map(([text, edits]) =>
    edits.reduce((text, [from, length, piece]) => {
      const start = Math.floor(from * text.length);
      return text.slice(0, start) + piece + text.slice(start + Math.floor(length ** 4 * text.length));
    }, text),
  );
}
