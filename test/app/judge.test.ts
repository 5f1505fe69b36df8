/** Two models judged by a real server, which is biased, busy, stalls, breaks off and says nonsense: no verdict is lost or counted twice. */
import { describe, expect, test } from "bun:test";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { askAll, costOf, type Judged, judged, trialOf } from "../../src/app/judge";
import { openVerdicts } from "../../src/app/verdicts";
import { UserError } from "../../src/errors";
import { type JudgeOptions, openJudge } from "../../src/rewards/judge";
import { defaultRubric } from "../../src/rewards/verdict";
import { serve } from "../../src/server/server";
import { silent } from "../support/console";
import { temporaryFolder } from "../support/folder";
import { type JudgeScript, type JudgeServer, judgeServer, type ShownPair, type Trouble } from "../support/judge-server";
import { toySpeaker } from "../support/talking";

const pairs = Array.from({ length: 12 }, (_, i) => ({
  messages: [{ role: "user", content: `Question ${i}?` }] as const,
  a: `good ${i}`,
  b: i % 3 === 0 ? `good, ${i}` : `bad ${i}`,
}));

/** Of the answers that are shown the good one; neither where both are. */
const honest = ({ a, b }: ShownPair) => {
  const [first, second] = [a.startsWith("good"), b.startsWith("good")];
  return `Because.\n${first === second ? "[[tie]]" : first ? "[[A]]" : "[[B]]"}`;
};

interface Run extends Partial<JudgeOptions> {
  readonly concurrency?: number;
  readonly pairs?: typeof pairs;
  readonly rubric?: string;
}

async function judge(
  url: string,
  path: string,
  { concurrency = 3, pairs: given = pairs, rubric = defaultRubric, ...more }: Run = {},
) {
  const options = { key: "none", timeout: 0.3, tokens: 64, retries: 3, pauseMs: 1, mostMs: 20, name: "j" };
  const one = openJudge({ ...options, url, ...more });
  const trial = trialOf(given, "j", rubric);
  using file = openVerdicts(path, () => {});
  const cost = costOf(trial, file);
  await askAll(trial, file, { judge: one, concurrency }, silent);
  return { cost, figures: judged(trial, file, 1) };
}

/** What the file has, each line read. */
const linesOf = (path: string) =>
  readFileSync(path, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as { key: string; order: string; verdict: string | null; reply: string | null });

function expectWhole(path: string, count = pairs.length) {
  const lines = linesOf(path);
  expect(lines).toHaveLength(2 * count);
  expect(new Set(lines.map(({ key }) => key)).size).toBe(2 * count);
  expect(lines.filter(({ order }) => order === "ab")).toHaveLength(count);
}

async function withServer(
  script: JudgeScript,
  body: (at: { server: JudgeServer; path: string }) => Promise<void>,
): Promise<void> {
  using folder = temporaryFolder();
  using server = judgeServer(script);
  await body({ server, path: join(folder.path, "verdicts.jsonl") });
}

const counts = ({ pairs, wins, ties, losses, win_rate }: Judged) => ({ pairs, wins, ties, losses, win_rate });

describe("a judge", () => {
  test("is asked about every pair in both orders", async () => {
    await withServer({ reply: honest }, async ({ server, path }) => {
      const { cost, figures } = await judge(server.url, path);
      expect(cost.requests).toBe(24);
      expect(server.requests).toHaveLength(24);
      const characters = server.requests.reduce(
        (sum, { messages }) => sum + (messages as { content: string }[])[0]!.content.length,
        0,
      );
      expect(cost.tokens).toBe(Math.ceil(characters / 4));
      expect(server.requests[0]).toMatchObject({ model: "j", temperature: 0, max_tokens: 64 });
      expectWhole(path);
      expect(counts(figures)).toEqual({ pairs: 12, wins: 8, ties: 4, losses: 0, win_rate: (100 * 10) / 12 });
      expect(figures).toMatchObject({ agreement: 1, first_shown: 0.5, equal: 0, verdicts: 24 });
      expect(figures.unparsable).toEqual({ verdicts: 0, pairs: 0 });
    });
  });
  test("that always prefers the first is worth 50.0, all ties", async () => {
    await withServer({ reply: () => "[[A]]" }, async ({ server, path }) => {
      const { figures } = await judge(server.url, path);
      expect(counts(figures)).toEqual({ pairs: 12, wins: 0, ties: 12, losses: 0, win_rate: 50 });
      expect(figures).toMatchObject({ standard_error: 0, agreement: 0, first_shown: 1 });
      expect(figures.length_controlled).toMatchObject({ win_rate: 50, standard_error: 0 });
    });
  });
  test("is not asked about a model beside itself, which is worth 50.0", async () => {
    // It would say anything but a tie.
    await withServer({ reply: ({ prompt }) => (prompt.includes("1") ? "[[A]]" : "?") }, async ({ server, path }) => {
      const same = pairs.map(({ messages, a }) => ({ messages, a, b: a }));
      const { figures } = await judge(server.url, path, { pairs: same });
      expect(counts(figures)).toEqual({ pairs: 12, wins: 0, ties: 12, losses: 0, win_rate: 50 });
      expect(figures).toMatchObject({ equal: 12, agreement: null, first_shown: null });
      expect(server.requests).toHaveLength(0);
      expectWhole(path);
      expect(linesOf(path).every(({ verdict, reply }) => verdict === "tie" && reply === null)).toBe(true);
    });
  });
  test("that cannot be understood is counted apart, and not as a loss", async () => {
    const reply = (pair: ShownPair) =>
      /[05]\?/.test(pair.prompt) && pair.a.startsWith("good") ? "INCORRECT" : honest(pair);
    await withServer({ reply }, async ({ server, path }) => {
      const { figures } = await judge(server.url, path);
      // Questions 0 and 10 (whose second answer is good too in 0) and 5.
      expect(figures.unparsable).toEqual({ verdicts: 4, pairs: 3 });
      expect(counts(figures)).toEqual({ pairs: 9, wins: 6, ties: 3, losses: 0, win_rate: (100 * 7.5) / 9 });
      expectWhole(path);
    });
  });
  test("that says nothing at all leaves no win rate", async () => {
    await withServer({ reply: () => null }, async ({ server, path }) => {
      const { figures } = await judge(server.url, path);
      expect(figures).toMatchObject({ pairs: 0, win_rate: null, standard_error: null, length_controlled: null });
      expect(figures.unparsable).toEqual({ verdicts: 24, pairs: 12 });
      expectWhole(path);
    });
  });
  test("counts a pair once that is there twice", async () => {
    await withServer({ reply: honest }, async ({ server, path }) => {
      const { figures } = await judge(server.url, path, { pairs: [...pairs, ...pairs] });
      expect(figures.pairs).toBe(12);
      expect(server.requests).toHaveLength(24);
    });
  });
});

describe("a server", () => {
  const passing: Trouble[] = [
    ...(["failing", "stalls", "stalls in its body", "breaks off"] as const),
    ...(["HTML", "half of JSON", "another JSON", "an error in a reply"] as const),
  ];
  for (const kind of passing)
    test(`with trouble now and then (${kind}) is asked again`, async () => {
      const trouble = (request: number) => (request % 5 === 1 ? kind : null);
      await withServer({ reply: honest, trouble }, async ({ server, path }) => {
        // Which request is hit is chance's: none by so many in a row.
        const { figures } = await judge(server.url, path, { retries: 12 });
        expect(figures).toMatchObject({ wins: 8, ties: 4, losses: 0, unparsable: { verdicts: 0 } });
        expect(server.requests.length).toBeGreaterThan(24);
        expectWhole(path);
      });
    });
  test("that is busy is left alone by all for as long as it says", async () => {
    const trouble = (request: number) => (request === 4 ? "busy" : null);
    await withServer({ reply: honest, trouble, pause: 2 }, async ({ server, path }) => {
      const { figures } = await judge(server.url, path);
      expect(figures.wins).toBe(8);
      expectWhole(path);
      // Two others may have been on their way.
      const gaps = server.begun.slice(5).map((ms) => ms - server.begun[4]!);
      expect(gaps.filter((ms) => ms < 990).length).toBeLessThanOrEqual(2);
      expect(server.requests).toHaveLength(25);
    });
  });
  test("that answers some of many is not given up, however often it is busy", async () => {
    const trouble = (request: number) => (request % 4 === 0 ? null : "busy");
    await withServer({ reply: honest, trouble, seconds: "0" }, async ({ server, path }) => {
      await judge(server.url, path, { concurrency: 8, retries: 7 });
      expectWhole(path);
    });
  });
  const lasting: [kind: Trouble, sentence: RegExp, requests: number][] = [
    ["failing", /^the judge j at http.*\/v1 answered 500 The engine has failed\. \(tried 4 times\)$/, 4],
    ["stalls", /has not answered after 0s \(tried 4 times\)$/, 4],
    ["HTML", /did not answer as OpenAI's API does: .*"<html>Welcome<\/html>" \(tried 4 times\)$/, 4],
    ["half of JSON", /did not answer in JSON: .* \(tried 4 times\)$/, 4],
    ["an error in a reply", /does: "The provider is away\." \(tried 4 times\)$/, 4],
    ["breaks off", /cannot be reached: .*closed unexpectedly\. \(tried 4 times\)$/, 4],
    ["no key", /refused: 401 Incorrect API key provided\.$/, 1],
    ["no model", /refused: 404 There is no such model\.$/, 1],
    ["no quota", /refused: 429 You exceeded your quota\.$/, 1],
  ];
  for (const [kind, sentence, requests] of lasting)
    test(`with trouble for good (${kind}) is told in a sentence, and what it had said is kept`, async () => {
      await withServer({ reply: honest, trouble: (n) => (n < 5 ? null : kind) }, async ({ server, path }) => {
        const error = await judge(server.url, path, { concurrency: 1, timeout: 0.1 }).then(
          () => null,
          (error: unknown) => error,
        );
        expect(error).toBeInstanceOf(UserError);
        expect((error as UserError).message).toMatch(sentence);
        expect(server.requests).toHaveLength(5 + requests);
        expect(linesOf(path)).toHaveLength(5);
      });
    });
  test("that asks to wait for longer than anybody would is given up at once", async () => {
    await withServer({ reply: honest, trouble: () => "busy", seconds: "7200" }, async ({ server, path }) => {
      await expect(judge(server.url, path, { concurrency: 1 })).rejects.toThrow("asks to wait 2h00m");
      expect(server.requests).toHaveLength(1);
    });
  });
  test("that is not there is told in a sentence", async () => {
    using folder = temporaryFolder();
    const gone = judgeServer({ reply: honest });
    gone[Symbol.dispose]();
    const path = join(folder.path, "verdicts.jsonl");
    await expect(judge(gone.url, path)).rejects.toThrow(/cannot be reached: .* \(tried 4 times\)$/);
    expect(readFileSync(path, "utf8")).toBe("");
  });
  test("that does not take one text is not asked again about that one", async () => {
    const trouble = (request: number) => (request === 3 ? "too long" : null);
    await withServer({ reply: honest, trouble }, async ({ server, path }) => {
      const { figures } = await judge(server.url, path, { concurrency: 1 });
      expect(figures.unparsable).toEqual({ verdicts: 1, pairs: 1 });
      expect(server.requests).toHaveLength(24);
      expectWhole(path);
      expect(readFileSync(path, "utf8")).toContain('"problem":"400 That is too long."');
    });
  });
  test("of reasoning models is asked by their names for things", async () => {
    const trouble = (_: number, body: Readonly<Record<string, unknown>>) =>
      "max_tokens" in body ? "no max_tokens" : "temperature" in body ? "no temperature" : null;
    await withServer({ reply: honest, trouble }, async ({ server, path }) => {
      const { figures } = await judge(server.url, path, { concurrency: 1 });
      expect(figures.wins).toBe(8);
      expect(server.requests).toHaveLength(26);
      expect(server.requests.at(-1)).toMatchObject({ max_completion_tokens: 64 });
    });
  });
  test("of our own is a judge like any other", async () => {
    using folder = temporaryFolder();
    using speaker = toySpeaker({ context: 2048, slots: 2, queue: 8 });
    const bugs: unknown[] = [];
    const serving = serve([speaker], {
      ...{ host: "127.0.0.1", port: 0, key: null, cors: [], seconds: 30, bodyBytes: 1e6, bodySeconds: 5 },
      fault: (error) => bugs.push(error),
      bug: (error) => bugs.push(error),
    });
    const path = join(folder.path, "verdicts.jsonl");
    const few = pairs.slice(0, 2);
    const asked = { name: "toy", pairs: few, timeout: 30, tokens: 8, rubric: "{prompt} A: {a}, or B: {b}?" };
    const { figures } = await judge(`${serving.address}/v1`, path, asked);
    expectWhole(path, 2);
    // Its weights are random.
    expect(figures.unparsable).toEqual({ verdicts: 4, pairs: 2 });
    expect(linesOf(path).every(({ reply }) => reply !== null && reply.length > 0)).toBe(true);
    expect(bugs).toEqual([]);
    await serving.stop();
  });
});

describe("the file of verdicts", () => {
  test("is gone on from where it ends, in the middle of a line too", async () => {
    await withServer({ reply: honest }, async ({ server, path }) => {
      const { figures } = await judge(server.url, path);
      const whole = readFileSync(path, "utf8");
      const lines = whole.split("\n");
      const first = lines.slice(0, 7).join("\n").length + 1;
      // At every kind of place within the eighth line, and behind it without its line end.
      for (const at of [
        first,
        first + 1,
        first + 6,
        first + 40,
        first + lines[7]!.length - 1,
        first + lines[7]!.length,
      ]) {
        writeFileSync(path, whole.slice(0, at));
        const before = server.requests.length;
        const again = await judge(server.url, path);
        expect(again.figures).toEqual(figures);
        const kept = at === first + lines[7]!.length ? 8 : 7;
        expect(server.requests.length - before).toBe(24 - kept);
        expect(again.cost.requests).toBe(24 - kept);
        expectWhole(path);
        expect(readFileSync(path, "utf8").startsWith(`${lines.slice(0, kept).join("\n")}\n`)).toBe(true);
      }
      const before = server.requests.length;
      expect((await judge(server.url, path)).figures).toEqual(figures);
      expect(server.requests).toHaveLength(before);
    });
  });
  test("is asked again for what was damaged, and another's file is left as it is", async () => {
    await withServer({ reply: honest }, async ({ server, path }) => {
      await judge(server.url, path);
      const lines = readFileSync(path, "utf8").split("\n");
      writeFileSync(path, lines.with(3, lines[3]!.slice(0, 30)).join("\n"));
      const before = server.requests.length;
      await judge(server.url, path);
      expect(server.requests.length - before).toBe(1);
      for (const text of ["Dear diary", "Dear diary\n", '{"prompt":"x"}\n']) {
        writeFileSync(path, text);
        await expect(judge(server.url, path)).rejects.toThrow("is no file of verdicts");
        expect(readFileSync(path, "utf8")).toBe(text);
      }
    });
  });
  test("holds several judges, rubrics and pairs, each on its own", async () => {
    await withServer({ reply: honest }, async ({ server, path }) => {
      await judge(server.url, path);
      const other = pairs.map((pair) => ({ ...pair, b: `${pair.b}!` }));
      const { cost } = await judge(server.url, path, { pairs: [...pairs, ...other] });
      expect(cost.requests).toBe(24);
      expectWhole(path, 24);
    });
  });
  test("is one process's at a time", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "verdicts.jsonl");
    using _ = openVerdicts(path, () => {});
    expect(() => openVerdicts(path, () => {})).toThrow(`${path} is in use by`);
  });
});

test("in a terminal nothing is asked without a yes", async () => {
  await withServer({ reply: honest }, async ({ server, path }) => {
    using folder = temporaryFolder();
    const file = (name: string, answer: string) => {
      const at = join(folder.path, name);
      writeFileSync(at, `${JSON.stringify({ prompt: "Why?", answer })}\n`);
      return at;
    };
    const sides = ["--a", file("a.jsonl", "good"), "--b", file("b.jsonl", "bad")];
    const command = async (typed: string, ...more: string[]) => {
      let text = "";
      let answered = false;
      const options = [...sides, "--judge", "j", "--endpoint", server.url, "--out", path, ...more];
      const child = Bun.spawn([process.execPath, "src/main.ts", "eval", "judge", ...options], {
        terminal: {
          data(terminal, data) {
            text += new TextDecoder().decode(data);
            if (!answered && text.includes("ask the judge? [y/N]")) {
              answered = true;
              terminal.write(typed);
            }
          },
        },
      });
      return { code: await child.exited, text };
    };
    for (const no of ["n\r", "\r", "\x04"]) {
      const { code, text } = await command(no);
      expect([code, server.requests.length], text).toEqual([1, 0]);
      expect(text).toContain("2 requests to j for 1 pairs: about ");
      expect(text).toContain("the judge was not asked");
    }
    expect((await command("\x03")).code).toBe(130);
    expect(await command("y\r")).toMatchObject({ code: 0, text: expect.stringContaining("1 won, 0 tied, 0 lost") });
    expect(server.requests).toHaveLength(2);
    // What costs nothing is no question, nor is what --yes has answered.
    expect((await command("")).text).not.toContain("[y/N]");
    const rubric = join(folder.path, "rubric.txt");
    writeFileSync(rubric, "{prompt}\n{a}\n{b}\nWhich?");
    expect((await command("", "--rubric", rubric, "--yes")).text).not.toContain("[y/N]");
    expect(server.requests).toHaveLength(4);
  });
}, 60_000);

test("killed while it asks, the command goes on from what was said", async () => {
  await withServer({ reply: honest, pause: 30 }, async ({ server, path }) => {
    using folder = temporaryFolder();
    const [a, b] = (["a", "b"] as const).map((side) => {
      const file = join(folder.path, `${side}.jsonl`);
      const lines = pairs.map((pair) => JSON.stringify({ messages: pair.messages, answer: pair[side] }));
      writeFileSync(file, `${lines.join("\n")}\n`);
      return file;
    });
    const command = (url: string, ...more: string[]) => {
      const options = ["--a", a!, "--b", b!, "--judge", "j", "--endpoint", url, "--out", path, "--json", ...more];
      return Bun.spawn([process.execPath, "src/main.ts", "eval", "judge", ...options], {
        stdout: "pipe",
        stderr: "pipe",
        stdin: "ignore",
        env: { ...process.env, OPENAI_API_KEY: "secret" },
      });
    };
    const child = command(server.url, "--concurrency", "2");
    while (server.requests.length < 9) await Bun.sleep(2);
    child.kill("SIGKILL");
    await child.exited;
    const said = linesOf(path).length;
    expect(said).toBeGreaterThan(3);
    appendFileSync(path, '{"key":"12');
    const asked = server.requests.length;
    const again = command(server.url);
    const [stdout, stderr] = [await again.stdout.text(), await again.stderr.text()];
    expect(await again.exited, stderr).toBe(0);
    expect(server.requests.length - asked).toBe(24 - said);
    expect(stderr).toContain(`${24 - said} requests to j for 12 pairs (${said} verdicts need none): about `);
    expectWhole(path);
    expect(JSON.parse(stdout)).toMatchObject({ pairs: 12, wins: 8, ties: 4, losses: 0, verdicts: 24 });

    // A server that is gone: one sentence, and the file as it was.
    const whole = readFileSync(path, "utf8");
    writeFileSync(path, whole.split("\n").slice(0, 10).join("\n").concat("\n"));
    const before = readFileSync(path, "utf8");
    server[Symbol.dispose]();
    const lost = command(server.url, "--retries", "1");
    const [out, told] = [await lost.stdout.text(), await lost.stderr.text()];
    expect(await lost.exited).toBe(1);
    expect(out).toBe("");
    expect(told.split("\n").slice(-3)).toEqual([
      expect.stringMatching(/^error: the judge j at http.*\/v1 cannot be reached: .* \(tried 2 times\)$/),
      `hint: ${path} keeps 10 verdicts: the same command goes on from there`,
      "",
    ]);
    expect(told).not.toContain("secret");
    expect(readFileSync(path, "utf8")).toBe(before);
  });
}, 60_000);
