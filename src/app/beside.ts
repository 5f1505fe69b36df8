/** Relative paths in a config's file: what lies beside the file goes before what lies in the current folder. */
import { existsSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { isTemplateName } from "../data/template-for";
import { NO_VALIDATION } from "../stages/model-settings";
import type { Config } from "./config";
import { NEW } from "./graph";
import { type Override, overrideOf } from "./overrides";

/** The folder beside a config's file; undefined where that is the current one, or the file is inside the program. */
export function besideOf(file: string): string | undefined {
  const folder = dirname(file);
  return existsSync(file) && folder !== "." ? folder : undefined;
}

/** The config with the paths of what was found in `folder`. Those that were given by hand are as they are. */
export function besideFile(config: Config, folder: string, overrides: readonly Override[]): Config {
  const names = new Set<string>([NEW, ...config.stage.map(({ name }) => name)]);
  const found = <T>(path: T, ...at: readonly PropertyKey[]): T => {
    if (typeof path !== "string" || isAbsolute(path) || overrideOf(at, overrides)) return path;
    const beside = join(folder, path);
    return existsSync(beside) ? (beside as T) : path;
  };
  const model = <T>(name: T, ...at: readonly PropertyKey[]): T =>
    names.has(name as string) ? name : found(name, ...at);
  const stage = config.stage.map((stage, i): Config["stage"][number] => {
    const own = { ...stage } as Record<string, unknown>;
    for (const [key, value] of Object.entries(stage)) {
      const many = (of: typeof found) =>
        Array.isArray(value) ? value.map((v, j) => of(v, "stage", i, key, j)) : of(value, "stage", i, key);
      if (key === "data" || (key === "validation" && value !== NO_VALIDATION)) own[key] = many(found);
      if (key === "template" && !isTemplateName(value as string)) own[key] = many(found);
      if (key === "from" || key === "models") own[key] = many(model);
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
