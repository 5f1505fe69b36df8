/** Data sets by name: where each lies, which of its files are fetched, and the fetching. */
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { messageOf, UserError } from "../errors";
import { appendFrom, persistently, sizeOf } from "./download";
import { type FetchProgress, fetchFromDataSet } from "./fetch";
import { locked } from "./lock";
import { type HubSettings, hubSettings, ownCache } from "./settings";

export interface DataFile {
  /** What the file is for. */
  readonly split: "train" | "test" | "validation";
  /** A file of a data set repository on the Hub, or a whole address. */
  readonly repository?: string;
  readonly path: string;
}

export interface DataSet {
  readonly files: readonly DataFile[];
  readonly licence: string;
  readonly about: string;
}

const onHub = (repository: string, ...paths: readonly [DataFile["split"], string][]): DataFile[] =>
  paths.map(([split, path]) => ({ split, repository, path }));

export const dataSets: Readonly<Record<string, DataSet>> = {
  alpaca: {
    files: onHub("tatsu-lab/alpaca", ["train", "data/train-00000-of-00001-a09b74b3ef9c3b56.parquet"]),
    licence: "CC BY-NC 4.0",
    about: "52,000 instructions with answers",
  },
  oasst1: {
    files: onHub("OpenAssistant/oasst1", ["train", "2023-04-12_oasst_ready.trees.jsonl.gz"]),
    licence: "Apache-2.0",
    about: "10,364 conversation trees in many languages",
  },
  oasst2: {
    files: onHub("OpenAssistant/oasst2", ["train", "2023-11-05_oasst2_ready.trees.jsonl.gz"]),
    licence: "Apache-2.0",
    about: "13,854 conversation trees in many languages",
  },
  "hh-rlhf": {
    files: onHub(
      "Anthropic/hh-rlhf",
      ["train", "harmless-base/train.jsonl.gz"],
      ["train", "helpful-base/train.jsonl.gz"],
      ["train", "helpful-online/train.jsonl.gz"],
      ["train", "helpful-rejection-sampled/train.jsonl.gz"],
      ["test", "harmless-base/test.jsonl.gz"],
      ["test", "helpful-base/test.jsonl.gz"],
      ["test", "helpful-online/test.jsonl.gz"],
      ["test", "helpful-rejection-sampled/test.jsonl.gz"],
    ),
    licence: "MIT",
    about: "160,800 pairs of dialogues, one preferred",
  },
  ultrafeedback: {
    files: onHub(
      "HuggingFaceH4/ultrafeedback_binarized",
      ["train", "data/train_prefs-00000-of-00001.parquet"],
      ["test", "data/test_prefs-00000-of-00001.parquet"],
    ),
    licence: "MIT",
    about: "61,135 prompts with a chosen and a rejected answer",
  },
  "kto-mix": {
    files: onHub(
      "trl-lib/kto-mix-14k",
      ["train", "data/train-00000-of-00001.parquet"],
      ["test", "data/test-00000-of-00001.parquet"],
    ),
    licence: "not stated; MIT where its answers are from, argilla/dpo-mix-7k",
    about: "15,000 answers that are good or bad",
  },
  "summarize-from-feedback": {
    files: Array.from({ length: 8 }, (_, i) => ({
      split: "train" as const,
      path: `https://openaipublic.blob.core.windows.net/summarize-from-feedback/dataset/comparisons/batch${i + 3}.json`,
    })),
    licence: "modified MIT",
    about: "posts with two summaries, one preferred",
  },
  tinystories: {
    files: onHub(
      "roneneldan/TinyStories",
      ["train", "TinyStoriesV2-GPT4-train.txt"],
      ["validation", "TinyStoriesV2-GPT4-valid.txt"],
    ),
    licence: "CDLA-Sharing-1.0",
    about: "2,717,699 short stories, 2.2 GB",
  },
  tinyshakespeare: {
    files: [
      {
        split: "train",
        path: "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
      },
    ],
    licence: "public domain",
    about: "1.1 MB of plays",
  },
  wikitext2: {
    files: onHub(
      "Salesforce/wikitext",
      ["train", "wikitext-2-raw-v1/train-00000-of-00001.parquet"],
      ["validation", "wikitext-2-raw-v1/validation-00000-of-00001.parquet"],
      ["test", "wikitext-2-raw-v1/test-00000-of-00001.parquet"],
    ),
    licence: "CC BY-SA 4.0",
    about: "WikiText-2, raw",
  },
  gsm8k: {
    files: onHub(
      "openai/gsm8k",
      ["train", "main/train-00000-of-00001.parquet"],
      ["test", "main/test-00000-of-00001.parquet"],
    ),
    licence: "MIT",
    about: "8,792 word problems with answers",
  },
  hellaswag: {
    files: (["train", "val", "test"] as const).map((name) => ({
      split: name === "val" ? ("validation" as const) : name,
      path: `https://raw.githubusercontent.com/rowanz/hellaswag/master/data/hellaswag_${name}.jsonl`,
    })),
    licence: "MIT",
    about: "70,000 sentences with four endings",
  },
};

/** A data set by its name. */
export function dataSetOf(name: string): DataSet | undefined {
  return Object.hasOwn(dataSets, name) ? dataSets[name] : undefined;
}

export interface FetchedFile {
  readonly split: DataFile["split"];
  readonly path: string;
}

export interface FetchDataOptions {
  readonly onProgress?: FetchProgress;
  readonly settings?: HubSettings;
  /** Where files with an address of their own are kept. */
  readonly folder?: string;
}

/** A data set's files, fetched where they are missing: those on the Hub into its shared cache, others into our own. */
export async function fetchDataSet(
  name: string,
  { files }: DataSet,
  { onProgress = () => {}, settings = hubSettings(), folder = ownCache() }: FetchDataOptions = {},
): Promise<FetchedFile[]> {
  const repositories = new Map(files.flatMap(({ repository }) => (repository ? [[repository, ""]] : [])));
  for (const repository of repositories.keys()) {
    const paths = files.filter((file) => file.repository === repository).map(({ path }) => path);
    repositories.set(repository, await fetchFromDataSet(repository, paths, onProgress, settings));
  }
  const fetched: FetchedFile[] = [];
  for (const { split, repository, path } of files) {
    const at = repository
      ? join(repositories.get(repository)!, path)
      : await fetchAddress(path, join(folder, "datasets", name), onProgress, settings);
    fetched.push({ split, path: at });
  }
  return fetched;
}

/** A file by its address, under its own name. The server says how long it is; there is no checksum to compare. */
async function fetchAddress(
  url: string,
  folder: string,
  onProgress: FetchProgress,
  { offline }: HubSettings,
): Promise<string> {
  const path = join(folder, basename(new URL(url).pathname));
  if (existsSync(path)) return path;
  if (offline)
    throw new UserError(`${url} was never fetched, and HF_HUB_OFFLINE is set`, { hint: "fetch it once while online" });
  mkdirSync(dirname(path), { recursive: true });
  const incomplete = `${path}.incomplete`;
  await locked(`${path}.lock`, async () => {
    if (existsSync(path)) return;
    await persistently(
      () => sizeOf(incomplete),
      async () => {
        const whole = await appendFrom(url, incomplete, {
          what: url,
          onProgress: (bytes) => onProgress(bytes, bytes, basename(path)),
        });
        return whole === null || sizeOf(incomplete) >= whole;
      },
      (error) =>
        error instanceof UserError
          ? error
          : new UserError(`${url} could not be fetched: ${messageOf(error)}`, {
              hint: "what was fetched is kept: run the command again to go on from there",
              cause: error,
            }),
    );
    renameSync(incomplete, path);
  });
  return path;
}
