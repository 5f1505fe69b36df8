/** What gives answers numbers: rules by their names, modules of the user's, endpoints; and what is said where one fails. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { openNamed, rewardKind, rewardName } from "../../src/rewards/named";
import type { Answered } from "../../src/rewards/reward";
import { expectedIn, ruleOf } from "../../src/rewards/rules";
import { temporaryFolder } from "../support/folder";

const asked = (answer: string, columns: Record<string, unknown> = {}): Answered => ({
  messages: [{ role: "user", content: "Why?" }],
  answer,
  columns,
  ids: new Uint32Array(0),
});

const by = (name: string, answer: string, columns: Record<string, unknown> = {}) =>
  ruleOf(name)!([{ role: "user", content: "Why?" }], answer, columns);

describe("a rule by its name", () => {
  const cases: [name: string, answer: string, columns: Record<string, unknown>, wanted: number | null][] = [
    ["exact", " Pip. ", { answer: "Pip." }, 1],
    ["exact", "pip.", { answer: "Pip." }, 0],
    ["exact", "b", { answers: ["a", "b"] }, 1],
    ["exact", "Pip.", {}, null],
    ["exact", "", { answer: "" }, 1],
    ["exact", "Pip.", { answer: "", output: "Pip." }, 1],
    ["exact", "Pip.", { output: "Bob.", chosen: "Pip.", rejected: "Bob." }, 1],
    ["exact", "Pip.", { answer: "", messages: [{ role: "assistant", content: "Pip." }] }, 1],
    ["exact", "7", { answer: 7 }, 1],
    [
      "exact",
      "Hi",
      {
        messages: [
          { role: "user", content: "?" },
          { role: "assistant", content: "Hi" },
        ],
      },
      1,
    ],
    [
      "exact",
      "Hi",
      {
        conversations: [
          { from: "human", value: "?" },
          { from: "gpt", value: "Hi" },
        ],
      },
      1,
    ],
    ["exact", "Hi", { messages: [{ role: "user", content: "Hi" }] }, null],
    ["number", "3 * 4 = 12\n#### 12", { answer: "so\n#### 12" }, 1],
    ["number", "#### 1,200.", { answer: "#### 1200" }, 1],
    ["number", "#### -3", { answer: "#### 3" }, 0],
    ["number", "it is 12", { answer: "#### 12" }, 0],
    ["number:last", "3, then 12", { answer: "#### 12" }, 1],
    ["number:last", "costs $1,200", { answer: "1200" }, 1],
    ["number", "#### 12", {}, null],
    ["choice", "The answer is B.", { answer: "B" }, 1],
    ["choice", "Because", { answer: "B" }, 0],
    ["choice", "(C)", { answer: "C" }, 1],
    ["regex:^[0-9]+$", "123", {}, 1],
    ["regex:^[0-9]+$", "12a", {}, 0],
    ["regex:a:b", "xa:by", {}, 1],
    ["format:a", "<a>Pip</a>", {}, 1],
    ["format:a", " <a>Pip\nTom</a>\n", {}, 1],
    ["format:a", "<a></a>", {}, 0],
    ["format:a", "<a> </a>", {}, 0],
    ["format:a", "<a>x</a> y", {}, 0],
    ["format:a", "<a>x</a><a>y</a>", {}, 0],
    ["format:a", "x", {}, 0],
    ["length:4", "one two three four", {}, 1],
    ["length:4", "one two", {}, 0.5],
    ["length:4", "", {}, 0],
    ["length:2", "a b c d e f", {}, 0],
    ["repetition:2", "a b a b", {}, 2 / 3 - 1],
    ["repetition:2", "a b c d", {}, 0],
    ["repetition:3", "a", {}, 0],
  ];
  for (const [name, answer, columns, wanted] of cases)
    test(`${name} of ${JSON.stringify(answer)} beside ${JSON.stringify(columns)}`, () => {
      const found = by(name, answer, columns);
      if (wanted === null) expect(found).toBeNull();
      else expect(found!).toBeCloseTo(wanted, 12);
    });
  test("is refused where what stands behind its colon is wrong", () => {
    for (const bad of [
      "regex",
      "regex:(",
      "length",
      "length:x",
      "length:0",
      "repetition:1.5",
      "format",
      "format:<",
      "number:first",
      "exact:x",
    ])
      expect(() => ruleOf(bad), bad).toThrow(/there is no rule|no regular expression/);
    expect(ruleOf("tales/reward")).toBeNull();
  });
  test("finds what a record expects in one place", () => {
    expect(expectedIn({ answers: ["a"], answer: "b" })).toEqual(["a"]);
    expect(expectedIn({ output: "c" })).toEqual(["c"]);
    expect(expectedIn({ completion: [{ role: "assistant", content: "d" }] })).toEqual(["d"]);
  });
});

test("a word means a rule, a module, an endpoint or a model", () => {
  expect(rewardKind("exact").kind).toBe("rule");
  expect(rewardKind("data/rule.ts#truth")).toEqual({ kind: "module", path: "data/rule.ts", wanted: "truth" });
  expect(rewardKind("http://localhost:1/score").kind).toBe("endpoint");
  expect(rewardKind("runs/reward").kind).toBe("model");
  expect(() => rewardKind("http://")).toThrow("http:// is no address");
  expect(
    ["exact", "regex:a", "data/rule.ts", "data/rule.ts#truth", "https://a.b/c", "runs/x/reward"].map(rewardName),
  ).toEqual(["exact", "regex", "rule", "truth", "a.b", "reward"]);
});

/** A module of this text, asked about these answers. */
async function moduleOf(text: string, { wanted = "", timeout = 10, answers = [asked("a"), asked("bb")] } = {}) {
  using folder = temporaryFolder();
  const path = join(folder.path, "rule.ts");
  await Bun.write(path, text);
  using reward = await openNamed(`${path}${wanted}`, { find: async (path) => path, timeout });
  return await reward.score(answers);
}

describe("a module", () => {
  test("is given all answers at once by its default export", async () => {
    const text = `export default (prompts, completions: string[], columns) =>
      completions.map((text, i) => (prompts[i][0].content === "Why?" && columns[i] ? text.length : null))`;
    expect(await moduleOf(text)).toEqual([1, 2]);
    expect(await moduleOf("export default async () => [null, 0.5]")).toEqual([null, 0.5]);
  });
  test("or one answer by its score, or by the function that is named", async () => {
    const text = "export const score = (messages, answer) => answer.length; export const half = async () => 0.5";
    expect(await moduleOf(text)).toEqual([1, 2]);
    expect(await moduleOf(text, { wanted: "#half" })).toEqual([0.5, 0.5]);
  });
  test("that cannot be loaded, or has no such function, is told in a sentence", async () => {
    await expect(moduleOf("export const x = 1")).rejects.toThrow("has neither a default export");
    await expect(moduleOf("export const score = () => 1", { wanted: "#truth" })).rejects.toThrow(
      "it has no function truth: it has score",
    );
    await expect(moduleOf("export default (")).rejects.toThrow(/rule\.ts cannot be used as a reward: /);
    await expect(openNamed("no-such.ts", { find: async (path) => path, timeout: 1 })).rejects.toThrow(
      "no-such.ts cannot be read",
    );
  });
  test("that throws, hangs, or gives what is no number shows what it was asked", async () => {
    const failed = async (text: string, options = {}) => {
      const error = await moduleOf(text, options).then(
        () => null,
        (error: { message: string; hint?: string }) => error,
      );
      return `${error?.message} | ${error?.hint}`;
    };
    expect(
      await failed("export const score = (m, answer) => { if (answer === 'bb') throw new Error('no luck'); return 1 }"),
    ).toContain('threw: no luck | it was asked about the answer "bb" to "Why?"');
    expect(await failed("export default () => { throw 'no luck' }")).toContain(
      'threw: no luck | it was asked about the answer "a"',
    );
    expect(await failed("export default () => [1]")).toContain("gave 1 rewards for 2 answers");
    expect(await failed("export default () => 1")).toContain("gave 1, expected a list of 2 numbers or nulls");
    expect(await failed("export default () => [1, NaN]")).toContain(
      'gave NaN for an answer, expected a number or null | it was asked about the answer "bb"',
    );
    expect(await failed("export default () => [1, '2']")).toContain('gave "2" for an answer');
    expect(await failed("export default () => [1, undefined]")).toContain("gave undefined for an answer");
    expect(await failed("export default () => new Promise(() => {})", { timeout: 0.3 })).toContain(
      "has not answered after",
    );
    expect(await failed("export default () => { for (;;); }", { timeout: 0.3 })).toContain("has not answered after");
    expect(await failed("for (;;);", { timeout: 0.3 })).toContain("is not loaded after");
    expect(await failed("export default (")).toContain("cannot be used as a reward: Unexpected end of file");
  });
  test("that ends its thread, or throws beside its answer, is not waited for", async () => {
    await expect(moduleOf("export default () => process.exit(0)")).rejects.toThrow("rule.ts ended its thread");
    await expect(moduleOf("process.exit(0)")).rejects.toThrow("rule.ts ended its thread");
    const late = "setTimeout(() => { throw new TypeError('too late') }, 1); return new Promise(() => {})";
    await expect(moduleOf(`export default () => { ${late} }`)).rejects.toThrow(/rule\.ts failed: too late$/);
  });
});

describe("an endpoint", () => {
  /** A server that answers so. */
  async function endpoint(
    reply: (body: { prompts: unknown[]; completions: string[]; columns: unknown[] }) => Response | Promise<Response>,
    timeout = 10,
  ) {
    const server = Bun.serve({ port: 0, fetch: async (request) => reply((await request.json()) as never) });
    try {
      using reward = await openNamed(`http://localhost:${server.port}/score`, { find: async (path) => path, timeout });
      return await reward.score([asked("a", { n: 1 }), asked("bb", { n: 2 })]);
    } finally {
      await server.stop(true);
    }
  }
  test("is sent prompts, completions and columns, and sends rewards back", async () => {
    const lengths = await endpoint(({ completions, columns }) =>
      Response.json({ rewards: completions.map((c, i) => c.length + (columns[i] as { n: number }).n) }),
    );
    expect(lengths).toEqual([2, 4]);
    expect(await endpoint(() => Response.json([null, 0]))).toEqual([null, 0]);
  });
  test("that is down, slow, broken or wrong is told in a sentence", async () => {
    await expect(endpoint(() => new Response("no", { status: 500 }))).rejects.toThrow('answered 500: "no"');
    await expect(endpoint(() => new Response("<html>"))).rejects.toThrow("did not answer in JSON");
    await expect(endpoint(() => Response.json({ rewards: [1] }))).rejects.toThrow("gave 1 rewards for 2 answers");
    await expect(endpoint(() => Response.json({ rewards: "x" }))).rejects.toThrow("expected a list of 2 numbers");
    await expect(endpoint(() => Bun.sleep(1000).then(() => Response.json([1, 1])), 0.2)).rejects.toThrow(
      "has not answered after",
    );
    using down = await openNamed("http://localhost:9/", { find: async (path) => path, timeout: 5 });
    await expect(down.score([asked("a")])).rejects.toThrow("cannot be reached");
  });
});
