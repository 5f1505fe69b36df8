/** Data sets by name, fetched from real local servers: one like the Hub, and one that serves a file by its address. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { loadSamples } from "../../src/data/samples";
import { type DataSet, dataSets, fetchDataSet } from "../../src/hub/datasets";
import { hubSettings } from "../../src/hub/settings";
import { temporaryFolder } from "../support/folder";
import { COMMIT, fakeHub } from "../support/hub";

const NAME = "somebody/trees";
const set: DataSet = {
  files: [
    { split: "train", repository: NAME, path: "deep/train.jsonl.gz" },
    { split: "test", repository: NAME, path: "deep/test.jsonl.gz" },
  ],
  licence: "none",
  about: "a few records",
};
const lines = (count: number) =>
  Array.from({ length: count }, (_, i) => `${JSON.stringify({ prompt: `p${i}`, completion: `c${i}` })}\n`).join("");

function repository(folder: string): string {
  const root = join(folder, "repository");
  mkdirSync(join(root, "deep"), { recursive: true });
  writeFileSync(join(root, "deep", "train.jsonl.gz"), gzipSync(lines(3000)));
  writeFileSync(join(root, "deep", "test.jsonl.gz"), gzipSync(lines(20)));
  writeFileSync(join(root, "README.md"), "# not asked for");
  return root;
}

describe("a data set on the Hub", () => {
  test("comes into the shared cache, without what is not asked for, and is not fetched again", async () => {
    using folder = temporaryFolder();
    using hub = fakeHub(NAME, repository(folder.path), "dataset");
    const settings = hubSettings({ HF_ENDPOINT: hub.endpoint, HF_HOME: folder.path } as never);
    const files = await fetchDataSet("trees", set, { settings });
    const snapshot = join(folder.path, "hub", "datasets--somebody--trees", "snapshots", COMMIT);
    expect(files).toEqual([
      { split: "train", path: join(snapshot, "deep", "train.jsonl.gz") },
      { split: "test", path: join(snapshot, "deep", "test.jsonl.gz") },
    ]);
    expect(readdirSync(snapshot)).toEqual(["deep"]);
    const trees = { paths: "best", lang: "", quality: 0 } as const;
    expect((await loadSamples(files[0]!.path, { trees, strict: true })).samples).toHaveLength(3000);
    const before = hub.requests.length;
    await fetchDataSet("trees", set, { settings });
    expect(hub.requests.length).toBe(before);
    expect(await fetchDataSet("trees", set, { settings: { ...settings, offline: true } })).toEqual(files);
  });
  test("goes on where it broke off, and a lie about its checksum is found", async () => {
    using folder = temporaryFolder();
    using hub = fakeHub(NAME, repository(folder.path), "dataset");
    const settings = hubSettings({ HF_ENDPOINT: hub.endpoint, HF_HOME: folder.path } as never);
    Object.assign(hub.trouble, { breakAfter: 1000, breaks: 2 });
    await fetchDataSet("trees", set, { settings });
    expect(hub.requests.map(({ from }) => from)).toContain(1000);

    using other = temporaryFolder();
    hub.trouble.checksum = "0".repeat(64);
    const lying = hubSettings({ HF_ENDPOINT: hub.endpoint, HF_HOME: other.path } as never);
    await expect(fetchDataSet("trees", set, { settings: lying })).rejects.toThrow("has the checksum");
    await Bun.sleep(100);
  });
  test("with a file that is not there any more is refused by its name", async () => {
    using folder = temporaryFolder();
    using hub = fakeHub(NAME, repository(folder.path), "dataset");
    const settings = hubSettings({ HF_ENDPOINT: hub.endpoint, HF_HOME: folder.path } as never);
    const gone = { ...set, files: [{ split: "train", repository: NAME, path: "gone.parquet" }] } as DataSet;
    await expect(fetchDataSet("trees", gone, { settings })).rejects.toThrow(
      "somebody/trees has no gone.parquet any more",
    );
    await Bun.sleep(100);
  });
});

describe("a file by its address", () => {
  const body = "line after line\n".repeat(4000);
  /** Breaks the connection off once after 10,000 bytes; serves ranges. */
  const serve = async () => {
    let broken = false;
    const ranges: number[] = [];
    const server = createServer((request, response) => {
      const from = Number(request.headers.range?.match(/bytes=(\d+)-/)?.[1] ?? 0);
      ranges.push(from);
      if (request.url!.endsWith("missing.txt")) {
        response.writeHead(404).end("no");
        return;
      }
      const rest = body.slice(from);
      response.writeHead(from ? 206 : 200, { "content-length": rest.length });
      if (broken) response.end(rest);
      else response.write(rest.slice(0, 10000), () => setTimeout(() => response.destroy(), 20));
      broken = true;
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return { port: (server.address() as AddressInfo).port, ranges, [Symbol.dispose]: () => server.close() };
  };
  const at = (port: number, file: string): DataSet => ({
    ...set,
    files: [{ split: "train", path: `http://127.0.0.1:${port}/${file}` }],
  });

  test("comes whole under its own name, and not again", async () => {
    using folder = temporaryFolder();
    using local = await serve();
    const one = at(local.port, "input.txt");
    const [file] = await fetchDataSet("plays", one, { folder: folder.path });
    expect(file!.path).toBe(join(folder.path, "datasets", "plays", "input.txt"));
    expect(readFileSync(file!.path, "utf8")).toBe(body);
    expect(readdirSync(join(folder.path, "datasets", "plays"))).toEqual(["input.txt"]);
    expect(local.ranges).toEqual([0, 10000]);
    const before = local.ranges.length;
    await fetchDataSet("plays", one, { folder: folder.path });
    expect(local.ranges.length).toBe(before);
  });
  test("that is not there is told in one sentence", async () => {
    using folder = temporaryFolder();
    using local = await serve();
    await expect(fetchDataSet("plays", at(local.port, "missing.txt"), { folder: folder.path })).rejects.toThrow(
      /missing\.txt could not be fetched: status 404/,
    );
    await Bun.sleep(100);
  });
});

test("every data set says where it is from and under which licence", () => {
  const names = [
    "alpaca",
    "oasst1",
    "oasst2",
    "hh-rlhf",
    "ultrafeedback",
    "kto-mix",
    "summarize-from-feedback",
    "tinystories",
    "tinyshakespeare",
    "wikitext2",
    "gsm8k",
    "hellaswag",
  ];
  expect(Object.keys(dataSets)).toEqual(names);
  for (const { files, licence, about } of Object.values(dataSets)) {
    expect(files.length * licence.length * about.length).toBeGreaterThan(0);
    for (const { repository, path } of files)
      expect(repository ? !path.includes(":") : path.startsWith("https://")).toBe(true);
  }
});
