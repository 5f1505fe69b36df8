/** Measurements one after another: what was measured before is kept, what fails stops no other, and every result is handed on at once. */
import type { Device } from "../../device/device";
import { codeOf, messageOf, UserError } from "../../errors";
import { duration } from "../../log/console";
import { type Entry, namesOf, type Other, others, othersOf } from "./entries";
import { filesOf, type Measured, measure, versions } from "./measure";
import type { Failure, Result } from "./results";
import type { Reading, Scorer, Subject } from "./subject";

/** One entry, of one model. */
export interface Asked {
  readonly name: string;
  readonly entry: Entry;
  readonly model: ModelName;
  /** What opens the other models that the entry reads. */
  readonly others: Readonly<Partial<Record<Other, string>>>;
}

export interface ModelName {
  /** What opens it. */
  readonly given: string;
  /** What it is called. */
  readonly name: string;
}

export interface Scene extends Reading {
  readonly device: Device;
  /** How weights are held where that is not as their files have it: a part of what results depend on. */
  readonly storage?: string | undefined;
  readonly known: readonly Result[];
  readonly signal?: AbortSignal | undefined;
  open(given: string): Promise<Subject & Disposable>;
  openOther(given: string, key: Other): Promise<Scorer & Disposable>;
  /** Another one as soon as a bit of a model's files is another. */
  hashOfModel(given: string, as: "subject" | Other): Promise<string>;
  hashOfFile(path: string): Promise<string>;
  /** Told after every entry of all that there is. */
  save(done: Done): void;
}

export interface Done {
  readonly results: readonly Result[];
  readonly failures: readonly Failure[];
}

/** Every entry on every model, each with the name that it goes by. */
export function askedOf(
  entries: readonly Entry[],
  models: (entry: Entry, i: number) => readonly ModelName[],
  others: (entry: Entry, i: number) => Asked["others"] = othersOf,
): Asked[] {
  const names = namesOf(entries);
  return entries.flatMap((entry, i) =>
    models(entry, i).map((model) => ({ name: names[i]!, entry, model, others: others(entry, i) })),
  );
}

/** All of them, or until `signal` is aborted; models are opened one after another, each once. */
export async function measureAll(asked: readonly Asked[], scene: Scene): Promise<Done> {
  const results = new Map<Asked, Result>();
  const failures = new Map<Asked, Failure>();
  const done = (): Done => ({
    results: asked.flatMap((one) => results.get(one) ?? []),
    failures: asked.flatMap((one) => failures.get(one) ?? []),
  });
  const { console, signal } = scene;
  for (const [given, group] of Map.groupBy(asked, ({ model }) => model.given)) {
    using stack = new DisposableStack();
    const opened = once(async () => stack.use(await scene.open(given)));
    for (const one of group) {
      if (signal?.aborted) return done();
      const title = `${one.name} of ${one.model.name}`;
      try {
        const identity = await identityOf(one, scene);
        // Two names may be of one model.
        const before = [...results.values(), ...scene.known].find(({ key }) => key === identity.key);
        if (before) console.note(`${title}: kept, since it was measured before`);
        results.set(one, before ? { ...before, ...titleOf(one) } : await measured(one, identity, opened, scene));
        if (!before) console.note(`${title}: measured in ${duration(results.get(one)!.made.seconds)}`);
      } catch (error) {
        console.done();
        if (!isTold(error)) throw error;
        failures.set(one, { ...titleOf(one), error: messageOf(error) });
        console.note(`${title}: ${messageOf(error)}`);
      }
      scene.save(done());
    }
  }
  return done();
}

/** A mistake of the user's, or what the system says of a file. */
function isTold(error: unknown): boolean {
  return error instanceof UserError || codeOf(error) !== undefined;
}

function titleOf({ name, entry, model }: Asked): Pick<Result, "name" | "kind" | "model"> {
  return { name, kind: entry.kind, model: model.name };
}

type Identity = Pick<Result, "key" | "settings" | "hashes">;

/** Files and models count by their contents, wherever they lie; what is only a name does not. */
async function identityOf({ entry, model, others }: Asked, scene: Scene): Promise<Identity> {
  const paths = filesOf(entry);
  const files: [string, string][] = [];
  for (const path of paths) files.push([path, await scene.hashOfFile(await scene.find(path))]);
  const hashes: Record<string, string> & { model: string } = { model: await scene.hashOfModel(model.given, "subject") };
  for (const [key, given] of Object.entries(others) as [Other, string][])
    hashes[key] = await scene.hashOfModel(given, key);
  const { kind, name: _, ...settings } = entry;
  const counted = Object.entries({ ...settings, ...(scene.storage !== undefined && { storage: scene.storage }) })
    .filter(([key, value]) => value !== undefined && !NAMES.includes(key))
    .map(([key, value]) => [key, FILES.includes(key) ? unnamed(value as string, paths) : value] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const parts = [kind, versions[kind], counted, hashes, files.map(([, hash]) => hash)];
  const key = new Bun.CryptoHasher("sha256").update(JSON.stringify(parts)).digest("hex");
  return { key, settings, hashes: { ...hashes, files: Object.fromEntries(files) } };
}

/** Settings that only say where something lies. */
const NAMES: readonly string[] = ["data", ...others];

/** Settings that may be the path of a file, a rule with a function's name behind a #: the contents of the file count. */
const FILES = ["rule", "template"];

function unnamed(value: string, paths: readonly string[]): string {
  const [path = "", ...rest] = value.split("#");
  return paths.includes(path) ? ["a file", ...rest].join("#") : value;
}

async function measured(one: Asked, identity: Identity, open: () => Promise<Subject>, scene: Scene): Promise<Result> {
  const started = performance.now();
  const other = (key: Other) => scene.openOther(one.others[key]!, key);
  const found: Measured = await measure(await open(), one.entry, scene, other);
  scene.console.done();
  const { info } = scene.device;
  const made = {
    device: `${info.name} (${info.kind})`,
    finished: new Date().toISOString(),
    seconds: Math.round(performance.now() - started) / 1000,
  };
  const { method, table, figures } = found;
  return { ...titleOf(one), ...identity, method, table: [...table], figures, made };
}

/** The same function, asked once: what it has thrown it throws again. */
function once<T>(f: () => Promise<T>): () => Promise<T> {
  let found: Promise<T> | null = null;
  return () => {
    found ??= f();
    return found;
  };
}
