/** Models by their Hub names: found in the cache, or fetched into it. */
import { existsSync, mkdirSync, statfsSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { datasetInfo, listFiles, modelInfo, pathsInfo } from "@huggingface/hub";
import { shown, UserError } from "../errors";
import { jsonObject, readJson } from "../files";
import { RepositoryCache } from "./cache";
import { download, explained, type RemoteFile, type Source, sizeOf } from "./download";
import { locked } from "./lock";
import { type HubSettings, hubSettings } from "./settings";
import { shardsIn } from "./shards";

/** Bytes of the whole model that are there, of how many, and the file that is on its way. */
export type FetchProgress = (done: number, total: number, file: string) => void;

/** Short names of the released models. */
const released: ReadonlyMap<string, string> = new Map([
  ["gpt2", "openai-community/gpt2"],
  ["gpt2-medium", "openai-community/gpt2-medium"],
  ["gpt2-large", "openai-community/gpt2-large"],
  ["gpt2-xl", "openai-community/gpt2-xl"],
  ["distilgpt2", "distilbert/distilgpt2"],
]);

/** Whether this could be a model's name on the Hub: a released one, or owner/name. */
export function isHubName(name: string): boolean {
  return released.has(name) || /^\w[\w.-]{0,95}\/\w[\w.-]{0,95}$/.test(name);
}

/**
 * The folder of a model, or of an adapter, in the cache, under its full or its short name; null if it is not there whole: other tools
 * that share the cache fetch single files.
 */
export function cachedModel(name: string, settings: HubSettings = hubSettings()): string | null {
  for (const each of [released.get(name) ?? name, name]) {
    const cache = new RepositoryCache(settings.cache, each);
    if (cache.snapshot && isWhole(cache, cache.snapshot)) return cache.snapshot;
  }
  return null;
}

function isWhole(cache: RepositoryCache, snapshot: string): boolean {
  const has = (...files: readonly string[]) => files.every((file) => existsSync(join(snapshot, file)));
  if (has(ADAPTER_CONFIG, ADAPTER)) return true;
  const tokenizer = has(TOKENIZER) || has("vocab.json", "merges.txt") || cache.lacks(basename(snapshot), TOKENIZER);
  return has("config.json") && tokenizer && (has(SINGLE) || (has(INDEX) && has(...shardsIn(join(snapshot, INDEX)))));
}

/** Fetches what is missing of a model, or of an adapter, and returns its folder. Nothing stands under its final name before it is whole. */
export async function fetchModel(
  given: string,
  onProgress: FetchProgress = () => {},
  settings: HubSettings = hubSettings(),
): Promise<string> {
  if (settings.offline) {
    const cached = cachedModel(given, settings);
    if (cached) return cached;
    throw notFetched(given, settings, new RepositoryCache(settings.cache, released.get(given) ?? given));
  }
  const name = released.get(given) ?? given;
  const cache = new RepositoryCache(settings.cache, name);
  const source = await latest("model", name, settings);
  const listed = await filesOf(source);
  await fetchFiles(source, cache, await chosen(source, cache, listed), onProgress);
  if (!listed.some(({ path }) => path === TOKENIZER)) cache.markAbsent(source.revision, TOKENIZER);
  return cache.snapshotOf(source.revision);
}

/** Fetches files of a data set's repository and returns its folder. */
export async function fetchFromDataSet(
  name: string,
  paths: readonly string[],
  onProgress: FetchProgress,
  settings: HubSettings,
): Promise<string> {
  const cache = new RepositoryCache(settings.cache, name, "dataset");
  const { snapshot } = cache;
  if (snapshot && paths.every((path) => existsSync(join(snapshot, path)))) return snapshot;
  if (settings.offline) throw notFetched(name, settings, cache);
  const source = await latest("dataset", name, settings);
  await fetchFiles(source, cache, await filesAt(source, paths), onProgress);
  return cache.snapshotOf(source.revision);
}

function notFetched(name: string, { cache }: HubSettings, { snapshot }: RepositoryCache): UserError {
  return new UserError(`${name} is ${snapshot ? "only in part" : "not"} in ${cache}, and HF_HUB_OFFLINE is set`, {
    hint: "fetch it once while online, or unset HF_HUB_OFFLINE",
  });
}

/** What is missing of these files, and then the ref that says that all are there. */
async function fetchFiles(
  source: Source,
  cache: RepositoryCache,
  files: readonly RemoteFile[],
  onProgress: FetchProgress,
): Promise<void> {
  const wanted = files.filter((file) => !cache.has(source.revision, file));
  const { settings } = source;
  expectRoom(settings.cache, source, wanted, cache);
  const total = wanted.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  for (const file of wanted) {
    await into(cache, source, file, (bytes) => onProgress(done + bytes, total, file.path));
    done += file.size;
  }
  cache.setMain(source.revision);
}

async function into(cache: RepositoryCache, source: Source, file: RemoteFile, onProgress: (bytes: number) => void) {
  const blob = cache.blob(file.checksum);
  await locked(`${blob}.lock`, async () => {
    if (sizeOf(blob) !== file.size || !existsSync(blob)) await download(source, file, blob, onProgress);
  });
  cache.link(source.revision, file.path, file.checksum);
}

const credentials = ({ token }: HubSettings) => (token ? { accessToken: token } : {});

/** The commit that is current now. */
async function latest(type: Source["type"], name: string, settings: HubSettings): Promise<Source> {
  try {
    const request = { name, revision: "main", hubUrl: settings.endpoint, ...credentials(settings) };
    const info =
      type === "model"
        ? await modelInfo({ ...request, additionalFields: ["sha"] })
        : await datasetInfo({ ...request, additionalFields: ["sha"] });
    if (!/^[0-9a-f]{40}$/.test(info.sha ?? "")) throw new Error(`it names the commit ${JSON.stringify(info.sha)}`);
    return { type, name, revision: info.sha!, settings };
  } catch (error) {
    throw explained(error, { name, settings });
  }
}

async function filesOf({ name, revision, settings }: Source): Promise<RemoteFile[]> {
  const files: RemoteFile[] = [];
  try {
    const repo = { type: "model", name } as const;
    for await (const { type, path, size, oid, lfs } of listFiles({
      repo,
      revision,
      hubUrl: settings.endpoint,
      ...credentials(settings),
    }))
      if (type === "file") files.push({ path, size: lfs?.size ?? size ?? 0, checksum: lfs?.oid ?? oid ?? "" });
  } catch (error) {
    throw explained(error, { name, settings });
  }
  return checked(name, files);
}

/** These files, as the repository lists them. */
async function filesAt({ type, name, revision, settings }: Source, paths: readonly string[]): Promise<RemoteFile[]> {
  let files: RemoteFile[];
  try {
    const request = { repo: { type, name }, paths: [...paths], revision, hubUrl: settings.endpoint };
    const infos = await pathsInfo({ ...request, ...credentials(settings) });
    files = infos.map(({ path, size, oid, lfs }) => ({
      path,
      size: lfs?.size ?? size,
      checksum: lfs?.oid ?? oid ?? "",
    }));
  } catch (error) {
    throw explained(error, { name, settings });
  }
  const missing = paths.find((path) => !files.some((file) => file.path === path));
  if (missing) throw new UserError(`${name} has no ${missing} any more`, { hint: "give the path of a file instead" });
  return checked(name, files);
}

function checked(name: string, files: RemoteFile[]): RemoteFile[] {
  const bad = files.find(({ checksum }) => !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(checksum));
  if (bad) throw new UserError(`${name}: ${bad.path} is listed with no checksum that is known`);
  return files;
}

const ADAPTER_CONFIG = "adapter_config.json";
const ADAPTER = "adapter_model.safetensors";
const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const TOKENIZER = "tokenizer.json";
const beside = [
  TOKENIZER,
  "tokenizer_config.json",
  "chat_template.jinja",
  "vocab.json",
  "merges.txt",
  "added_tokens.json",
  "special_tokens_map.json",
  "generation_config.json",
];

const PICKLED = ".bin files run code when they are read; its page may offer a conversion to safetensors";

/** config.json first, so that another type of model is refused before its weights are fetched; the weights last. */
async function chosen(source: Source, cache: RepositoryCache, listed: readonly RemoteFile[]): Promise<RemoteFile[]> {
  const { name, revision } = source;
  const find = (path: string) => listed.find((file) => file.path === path);
  if (find(ADAPTER_CONFIG) && !find(SINGLE) && !find(INDEX)) {
    if (!find(ADAPTER)) throw new UserError(`${name} is an adapter without ${ADAPTER}`, { hint: PICKLED });
    return [ADAPTER_CONFIG, ...beside, ADAPTER].flatMap((path) => find(path) ?? []);
  }
  const first = async (path: string) => {
    const file = find(path);
    if (!file) throw new UserError(`${name} has no ${path}`, { hint: "it is not a model that can be used here" });
    if (!cache.has(revision, file)) await into(cache, source, file, () => {});
    return join(cache.snapshotOf(revision), path);
  };
  const config = await first("config.json");
  const { model_type: type } = readJson(config, jsonObject, "it is not a model that can be used here");
  if (type !== "gpt2") {
    throw new UserError(`${name} is a model of type ${shown(type)}, and only "gpt2" is supported`, {
      hint: "gpt2, gpt2-medium, gpt2-large, gpt2-xl, distilgpt2 and models made from them can be used",
    });
  }
  const weights = find(SINGLE) ? [SINGLE] : find(INDEX) ? shardsIn(await first(INDEX)) : null;
  if (!weights) {
    throw new UserError(`${name} has no safetensors weights`, {
      hint: PICKLED,
    });
  }
  const missing = weights.find((path) => !find(path));
  if (missing) throw new UserError(`${name} has no ${missing}, which its index names`);
  return [...beside, ...weights].flatMap((path) => find(path) ?? []);
}

function expectRoom(folder: string, { name }: Source, files: readonly RemoteFile[], cache: RepositoryCache): void {
  const have = ({ checksum }: RemoteFile) =>
    statSync(`${cache.blob(checksum)}.incomplete`, { throwIfNoEntry: false })?.size ?? 0;
  const needed = files.reduce((sum, file) => sum + file.size - have(file), 0);
  mkdirSync(folder, { recursive: true });
  const { bavail, bsize } = statfsSync(folder);
  if (needed <= bavail * bsize) return;
  const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`;
  throw new UserError(`${name} needs ${megabytes(needed)} more, and ${folder} has ${megabytes(bavail * bsize)} free`, {
    hint: "make room, or set HF_HOME to another disk",
  });
}
