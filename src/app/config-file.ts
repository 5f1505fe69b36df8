/** Reads a pipeline's config: TOML, with overrides, checked against the schemas, defaults filled in. Errors name keys and lines. */
import { spooled } from "../data/spool";
import { UserError } from "../errors";
import { readTextFile } from "../files";
import { modelConfig } from "../stages/model-settings";
import { besideFile, besideOf } from "./beside";
import { type Config, configSchema } from "./config";
import { embeddedConfigs, findFile } from "./embedded";
import { NEW } from "./graph";
import { applyOverrides } from "./overrides";
import { checkedToml, linesOf, parseToml, type Sources } from "./toml";

/** Reads a config file, on disk or embedded, with `--set` overrides such as `stage.0.optim.lr=1e-4`. */
export async function readConfigFile(path: string, overrides: readonly string[] = []): Promise<Config> {
  const file = findFile(path);
  const hint = `inside the program are ${embeddedConfigs.join(", ")}`;
  const text = readTextFile(await spooled(file), `the config ${path}`, { hint, exitCode: 2 });
  const raw = parseToml(text, path);
  if ("eval" in raw && !("stage" in raw))
    throw new UserError(`${path} is a suite of measurements, and no config of stages`, {
      hint: `dawngrad eval ${path} measures by it`,
      exitCode: 2,
    });
  const set = applyOverrides(raw, overrides);
  const config = checkConfig(raw, { path, lines: linesOf(text), overrides: set });
  const folder = besideOf(path);
  return folder === undefined ? config : besideFile(config, folder, set);
}

/** Checks a parsed config. Errors name the key's path and, where known, its line. */
export function checkConfig(raw: unknown, sources: Sources = {}): Config {
  const config = checkedToml(configSchema, raw, { ...sources, hint: "docs/config.md lists every key" });
  const { model, stage } = config;
  if (!stage.some((each) => "from" in each && each.from === NEW)) expectOneSource(raw as Raw);
  modelConfig(model, 1);
  for (const each of stage) if ("model" in each && each.model) modelConfig(each.model, 1, `${each.name}.model`);
  return config;
}

interface Raw {
  readonly model?: Readonly<Record<string, unknown>>;
  readonly tokenizer?: unknown;
}

/** A model that is loaded has its sizes and its tokenizer already, and no stage begins with another. */
function expectOneSource({ model = {}, tokenizer }: Raw): void {
  if (model.from === undefined) return;
  const more = [
    ...Object.keys(model)
      .filter((key) => key !== "from")
      .map((key) => `model.${key}`),
    ...(tokenizer ? ["tokenizer"] : []),
  ];
  if (more.length === 0) return;
  throw new UserError(
    `model.from brings a model's own sizes and tokenizer, and the config has ${more.join(", ")} too`,
    {
      hint: `leave out ${more.length === 1 ? "that" : "those"}, or model.from`,
      exitCode: 2,
    },
  );
}
