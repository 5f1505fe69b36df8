/** Relative paths in a config's file: what lies beside the file goes before what lies in the current folder. */
import { existsSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { isTemplateName } from "../data/template-for";
import { rewardKind } from "../rewards/named";
import { type Entry, othersOf } from "../stages/evals/entries";
import { NO_VALIDATION } from "../stages/model-settings";
import type { Config } from "./config";
import { NEW } from "./graph";
import { type Override, overrideOf } from "./overrides";

/** The folder beside a config's file; undefined where that is the current one, or the file is inside the program. */
export function besideOf(file: string): string | undefined {
  const folder = dirname(file);
  return existsSync(file) && folder !== "." ? folder : undefined;
}

interface Finding {
  readonly found: <T>(path: T, ...at: readonly PropertyKey[]) => T;
  readonly model: <T>(name: T, ...at: readonly PropertyKey[]) => T;
  readonly moduleBeside: (name: string, ...at: readonly PropertyKey[]) => string;
}

/** A measurement with the paths of what was found. */
export function besideEntry<E extends Entry>(
  entry: E,
  { found, model, moduleBeside }: Finding,
  at: readonly PropertyKey[],
): E {
  const own = (key: string) => [...at, key];
  return {
    ...entry,
    data: found(entry.data, ...own("data")),
    ...("template" in entry &&
      !isTemplateName(entry.template) && { template: found(entry.template, ...own("template")) }),
    ...("rule" in entry && entry.rule !== undefined && { rule: moduleBeside(entry.rule, ...own("rule")) }),
    ...Object.fromEntries(Object.entries(othersOf(entry)).map(([key, name]) => [key, model(name, ...own(key))])),
  };
}

/** Finds what lies in `folder`; what is among `names` is no path. */
export function findingIn(folder: string, names: ReadonlySet<string>, overrides: readonly Override[]): Finding {
  const found = <T>(path: T, ...at: readonly PropertyKey[]): T => {
    if (typeof path !== "string" || isAbsolute(path) || overrideOf(at, overrides)) return path;
    const beside = join(folder, path);
    return existsSync(beside) ? (beside as T) : path;
  };
  return {
    found,
    model: (name, ...at) => (names.has(name as string) ? name : found(name, ...at)),
    // A rule and an endpoint lie nowhere; a module has perhaps a function's name behind it.
    moduleBeside(name, ...at) {
      const kind = rewardKind(name);
      return kind.kind === "module" ? name.replace(kind.path, () => found(kind.path, ...at)) : name;
    },
  };
}

/** The config with the paths of what was found in `folder`. Those that were given by hand are as they are. */
export function besideFile(config: Config, folder: string, overrides: readonly Override[]): Config {
  const names = new Set<string>([NEW, ...config.stage.map(({ name }) => name)]);
  const { found, model, moduleBeside } = findingIn(folder, names, overrides);
  const stage = config.stage.map((stage, i): Config["stage"][number] => {
    const own = { ...stage } as Record<string, unknown>;
    for (const [key, value] of Object.entries(stage)) {
      const many = (of: <T extends string>(name: T, ...at: readonly PropertyKey[]) => string) =>
        Array.isArray(value) ? value.map((v, j) => of(v, "stage", i, key, j)) : of(value as string, "stage", i, key);
      if (key === "data" || key === "calibration" || (key === "validation" && value !== NO_VALIDATION))
        own[key] = many(found);
      if (key === "template" && !isTemplateName(value as string)) own[key] = many(found);
      if (["from", "models", "reference", "critic", "teacher"].includes(key)) own[key] = many(model);
      if (key === "rewards")
        own[key] = many((name, ...at) =>
          rewardKind(name).kind === "model" ? model(name, ...at) : moduleBeside(name, ...at),
        );
      if (key === "evals")
        own[key] = (value as readonly Entry[]).map((entry, j) =>
          besideEntry(entry, { found, model, moduleBeside }, ["stage", i, key, j]),
        );
      if (key === "pretraining")
        own[key] = {
          ...(value as object),
          data: found((value as { readonly data: string }).data, "stage", i, key, "data"),
        };
    }
    return own as Config["stage"][number];
  });
  const { tokenizer, model: sizes } = config;
  return {
    ...config,
    stage,
    ...(tokenizer.kind === "file" && { tokenizer: { ...tokenizer, path: found(tokenizer.path, "tokenizer", "path") } }),
    ...(sizes.from !== undefined && { model: { ...sizes, from: model(sizes.from, "model", "from") } }),
  };
}
