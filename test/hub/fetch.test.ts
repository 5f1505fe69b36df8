/** Fetching from a real local server that redirects, breaks off, serves ranges, lies about checksums and refuses. */
import { describe, expect, test } from "bun:test";
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { checkModel } from "../../src/formats/checkpoint";
import { cachedModel, fetchModel, isHubName } from "../../src/hub/fetch";
import { hubSettings } from "../../src/hub/settings";
import { temporaryFolder } from "../support/folder";
import { COMMIT, type FakeHub, fakeHub, type Trouble } from "../support/hub";

const NAME = "somebody/small-gpt2";
const layout = (name: string) => `test/golden/layouts/${name}`;

interface Setting {
  readonly hub: FakeHub;
  readonly cache: string;
  fetch(name?: string, env?: object): Promise<string>;
}

/** Runs `body` with a Hub that serves one of the golden layouts, and an empty cache. */
async function withHub(trouble: Trouble, body: (setting: Setting) => Promise<void>, from = layout("transformers")) {
  using folder = temporaryFolder();
  using hub = fakeHub(NAME, from);
  Object.assign(hub.trouble, trouble);
  const cache = join(folder.path, "hub");
  await body({
    hub,
    cache,
    fetch: (name = NAME, env = {}) =>
      fetchModel(name, () => {}, hubSettings({ HF_ENDPOINT: hub.endpoint, HF_HOME: folder.path, ...env } as never)),
  });
}

const blobs = (cache: string) => readdirSync(join(cache, "models--somebody--small-gpt2", "blobs"));

describe("an adapter", () => {
  test("comes without a model, and is found again", async () => {
    using folder = temporaryFolder();
    const files = ["adapter_config.json", "adapter_model.safetensors"];
    for (const file of [...files, "README.md"]) writeFileSync(join(folder.path, file), "{}");
    await withHub(
      {},
      async ({ fetch, cache }) => {
        const path = await fetch();
        expect(readdirSync(path).sort()).toEqual(files);
        expect(cachedModel(NAME, hubSettings({ HF_HUB_CACHE: cache } as never))).toBe(path);
      },
      folder.path,
    );
  });
  test("as a .bin file is refused", async () => {
    using folder = temporaryFolder();
    for (const file of ["adapter_config.json", "adapter_model.bin"]) writeFileSync(join(folder.path, file), "{}");
    await withHub(
      {},
      async ({ fetch }) => {
        await expect(fetch()).rejects.toThrow(`${NAME} is an adapter without adapter_model.safetensors`);
      },
      folder.path,
    );
  });
});

describe("a model", () => {
  test("comes into the layout that Hugging Face's tools share", async () => {
    await withHub({}, async ({ fetch, cache }) => {
      const path = await fetch();
      expect(path).toBe(join(cache, "models--somebody--small-gpt2", "snapshots", COMMIT));
      expect(readFileSync(join(cache, "models--somebody--small-gpt2", "refs", "main"), "utf8")).toBe(COMMIT);
      const weights = join(path, "model.safetensors");
      expect(lstatSync(weights).isSymbolicLink()).toBe(true);
      expect(readlinkSync(weights)).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
      expect(readFileSync(weights)).toEqual(readFileSync(`${layout("transformers")}/model.safetensors`));
      expect(blobs(cache).filter((name) => name.endsWith(".incomplete"))).toEqual([]);
      expect((await checkModel(path)).config.layers).toBe(2);
    });
  });
  test("comes with the added tokens that stand beside vocab.json", async () => {
    using folder = temporaryFolder();
    cpSync(layout("transformers"), folder.path, { recursive: true });
    writeFileSync(join(folder.path, "added_tokens.json"), '{"<x>": 36}');
    await withHub(
      {},
      async ({ fetch }) => {
        expect(readFileSync(join(await fetch(), "added_tokens.json"), "utf8")).toBe('{"<x>": 36}');
      },
      folder.path,
    );
  });
  test("in shards comes whole", async () => {
    await withHub(
      {},
      async ({ fetch }) => {
        expect((await checkModel(await fetch())).config.layers).toBe(2);
      },
      layout("sharded"),
    );
  });
  test("that is there is not fetched again, and is found offline", async () => {
    await withHub({}, async ({ fetch, hub, cache }) => {
      const path = await fetch();
      const before = hub.requests.length;
      expect(await fetch()).toBe(path);
      expect(hub.requests.length).toBe(before);
      expect(await fetch(NAME, { HF_HUB_OFFLINE: "1" })).toBe(path);
      expect(cachedModel(NAME, hubSettings({ HF_HUB_CACHE: cache } as never))).toBe(path);
    });
  });
  test("that two processes fetch at once comes once", async () => {
    await withHub({}, async ({ fetch, hub, cache }) => {
      const [first, second] = await Promise.all([fetch(), fetch()]);
      expect(second).toBe(first);
      expect(hub.requests.filter(({ path }) => path === "model.safetensors").length).toBe(1);
      expect((await checkModel(first)).config.layers).toBe(2);
      expect(blobs(cache).filter((name) => name.endsWith(".lock"))).toEqual([]);
    });
  });
  test("is not kept from being fetched by the lock of a process that has died", async () => {
    await withHub({}, async ({ fetch, cache }) => {
      const { pid, exited } = Bun.spawn(["true"]);
      await exited;
      const whole = readFileSync(`${layout("transformers")}/model.safetensors`);
      const folder = join(cache, "models--somebody--small-gpt2", "blobs");
      mkdirSync(folder, { recursive: true });
      const blob = new Bun.CryptoHasher("sha256").update(whole).digest("hex");
      writeFileSync(join(folder, `${blob}.lock`), String(pid));
      expect((await checkModel(await fetch())).config.layers).toBe(2);
    });
  });
  test("that is not there is refused offline", async () => {
    await withHub({}, async ({ fetch }) => {
      await expect(fetch(NAME, { HF_HUB_OFFLINE: "yes" })).rejects.toThrow(/is not in .*, and HF_HUB_OFFLINE is set/);
    });
  });
});

describe("a cache that another tool has filled in part", () => {
  /** A repository with a tokenizer, and a cache that holds these of its files as they came, with the ref that names the commit. */
  async function withPart(files: readonly string[], body: (setting: Setting & { snapshot: string }) => Promise<void>) {
    using folder = temporaryFolder();
    cpSync(layout("sharded"), folder.path, { recursive: true });
    writeFileSync(join(folder.path, "tokenizer.json"), "{}");
    await withHub(
      {},
      async (setting) => {
        const repository = join(setting.cache, "models--somebody--small-gpt2");
        const snapshot = join(repository, "snapshots", COMMIT);
        mkdirSync(snapshot, { recursive: true });
        mkdirSync(join(repository, "refs"));
        writeFileSync(join(repository, "refs", "main"), COMMIT);
        for (const file of files) cpSync(join(folder.path, file), join(snapshot, file));
        await body({ ...setting, snapshot });
      },
      folder.path,
    );
  }
  const shards = [1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`);
  const all = ["config.json", "model.safetensors.index.json", "tokenizer.json", ...shards];
  const settings = (cache: string) => hubSettings({ HF_HUB_CACHE: cache } as never);

  test.each([
    ["weights", ["config.json", "tokenizer.json"]],
    ["a shard", all.filter((file) => file !== shards[1])],
    ["the tokenizer", all.filter((file) => file !== "tokenizer.json")],
    ["the config", all.slice(1)],
    ["everything", []],
  ])("without %s is completed, and only what is missing is fetched", async (_what, files) => {
    await withPart(files, async ({ fetch, cache, hub, snapshot }) => {
      expect(cachedModel(NAME, settings(cache))).toBe(null);
      expect(await fetch()).toBe(snapshot);
      expect(cachedModel(NAME, settings(cache))).toBe(snapshot);
      expect(hub.requests.map(({ path }) => path).sort()).toEqual(all.filter((file) => !files.includes(file)).sort());
      expect((await checkModel(snapshot)).config.layers).toBe(2);
    });
  });
  test("and a file that is cut short is fetched again", async () => {
    await withPart(all, async ({ fetch, hub, snapshot }) => {
      writeFileSync(join(snapshot, shards[0]!), "short");
      await fetch();
      expect(hub.requests.map(({ path }) => path)).toEqual([shards[0]!]);
      expect((await checkModel(snapshot)).config.layers).toBe(2);
    });
  });
  test("offline is told to be there in part", async () => {
    await withPart(["config.json"], async ({ fetch }) => {
      await expect(fetch(NAME, { HF_HUB_OFFLINE: "1" })).rejects.toThrow(/is only in part in .*, and HF_HUB_OFFLINE/);
    });
  });
  test("a repository without a tokenizer is whole without one", async () => {
    await withHub({}, async ({ fetch, cache }) => {
      const path = await fetch();
      expect(cachedModel(NAME, settings(cache))).toBe(path);
      expect(existsSync(join(path, "..", "..", ".no_exist", COMMIT, "tokenizer.json"))).toBe(true);
    });
  });
});

describe("trouble on the way", () => {
  test("a connection that breaks off is taken up where it broke", async () => {
    await withHub({ breakAfter: 9000, breaks: 3 }, async ({ fetch, hub }) => {
      expect((await checkModel(await fetch())).config.layers).toBe(2);
      const weights = hub.requests.filter(({ path }) => path === "model.safetensors").map(({ from }) => from);
      expect(weights).toEqual([0, 9000, 18000, 27000]);
    });
  });
  test("what an earlier, killed fetch has left is gone on with", async () => {
    await withHub({}, async ({ fetch, hub, cache }) => {
      const whole = readFileSync(`${layout("transformers")}/model.safetensors`);
      const blob = new Bun.CryptoHasher("sha256").update(whole).digest("hex");
      const folder = join(cache, "models--somebody--small-gpt2", "blobs");
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, `${blob}.incomplete`), whole.subarray(0, 5000));
      await fetch();
      expect(hub.requests.find(({ path }) => path === "model.safetensors")!.from).toBe(5000);
    });
  });
  test("a server without ranges sends it again from the beginning", async () => {
    await withHub({ breakAfter: 9000, breaks: 1, noRanges: true }, async ({ fetch }) => {
      expect((await checkModel(await fetch())).config.layers).toBe(2);
    });
  });
  test("a busy server is asked again", async () => {
    await withHub({ status: 503, statuses: 2 }, async ({ fetch }) => {
      expect((await checkModel(await fetch())).config.layers).toBe(2);
    });
  });
  test("a server that stays busy is given up in a sentence, and nothing is half there", async () => {
    await withHub({ status: 503, statuses: 1000 }, async ({ fetch, cache }) => {
      await expect(fetch()).rejects.toThrow(/config\.json could not be fetched from http\S+: it answers 503/);
      await fetch().catch(() => {});
      expect(existsSync(join(cache, "models--somebody--small-gpt2", "refs"))).toBe(false);
    });
  }, 30_000);
  test("a wrong checksum is refused, and the file removed", async () => {
    const checksum = "f".repeat(64);
    await withHub({ checksum }, async ({ fetch, cache }) => {
      await expect(fetch()).rejects.toThrow(
        new RegExp(`model.safetensors has the checksum [0-9a-f]{64}, expected ${checksum}`),
      );
      expect(blobs(cache).filter((name) => name.startsWith("ffff"))).toEqual([]);
      expect(existsSync(join(cache, "models--somebody--small-gpt2", "refs"))).toBe(false);
    });
  });
  test("a name that nobody has", async () => {
    await withHub({}, async ({ fetch }) => {
      await expect(fetch("nobody/nothing")).rejects.toThrow(/^there is no nobody\/nothing at http/);
    });
  });
  test("a model that needs a token", async () => {
    await withHub({ token: "hf_secret" }, async ({ fetch, hub }) => {
      await expect(fetch()).rejects.toThrow(/may not be read from http\S+ \(401\)/);
      await fetch(NAME, { HF_TOKEN: "hf_secret" });
      // The token is for the Hub, not for where it redirects to.
      expect(hub.requests.every(({ authorization }) => authorization === null)).toBe(true);
    });
  });
  test("no server at all", async () => {
    await withHub({}, async ({ fetch }) => {
      await expect(fetch(NAME, { HF_ENDPOINT: "http://127.0.0.1:9" })).rejects.toThrow(
        /could not be fetched from http:\/\/127/,
      );
    });
  });
  test("another type of model, before its weights are fetched", async () => {
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, "config.json"), JSON.stringify({ model_type: "llama" }));
    writeFileSync(join(folder.path, "model.safetensors"), "x".repeat(1000));
    await withHub(
      {},
      async ({ fetch, hub }) => {
        await expect(fetch()).rejects.toThrow('is a model of type "llama", and only "gpt2" is supported');
        expect(hub.requests.map(({ path }) => path)).toEqual(["config.json"]);
      },
      folder.path,
    );
  });
});

describe("names and settings", () => {
  test.each([
    ["gpt2", true],
    ["distilgpt2", true],
    ["owner/name", true],
    ["runs/demo/pretrain", false],
    ["micro", false],
    ["../x", false],
    ["constructor", false],
    ["__proto__", false],
  ])("%s", (name, wanted) => {
    expect(isHubName(name)).toBe(wanted);
  });
  test("are Hugging Face's own", () => {
    expect(hubSettings({ HF_HOME: "/h", HF_TOKEN: "hf_x", HF_ENDPOINT: "https://mirror/" } as never)).toEqual({
      endpoint: "https://mirror",
      cache: "/h/hub",
      token: "hf_x",
      offline: false,
    });
    expect(hubSettings({ HF_HUB_CACHE: "/c", HF_HOME: "/h" } as never)).toMatchObject({
      cache: "/c",
      token: undefined,
    });
  });
});
