/** A judge's server that replies with what nobody meant, and addresses as they are given. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { UserError } from "../../src/errors";
import { judgeUrl, openJudge } from "../../src/rewards/judge";
import { verdictOf } from "../../src/rewards/verdict";
import { changedJson, changedText } from "../support/hostile";

const reply = {
  id: "1",
  object: "chat.completion",
  choices: [{ index: 0, message: { role: "assistant", content: "So [[A]]", refusal: null }, finish_reason: "stop" }],
  usage: { prompt_tokens: 1, completion_tokens: 1 },
};
const failure = { error: { message: "No.", type: "invalid_request_error", param: "model", code: "no" } };

test("whatever comes back is a text or one sentence", async () => {
  let body = "";
  let status = 200;
  using server = Bun.serve({
    port: 0,
    fetch: () =>
      new Response(status === 204 ? null : body, { status, headers: { "content-type": "application/json" } }),
  });
  const anything = fc.oneof(
    changedJson(reply, failure),
    changedText([JSON.stringify(reply), JSON.stringify(failure)], ["{", "]", "null", '"', "\0"]),
  );
  const codes = fc.constantFrom(200, 200, 200, 201, 204, 400, 404, 413, 418, 429, 500, 503);
  const found = { texts: 0, sentences: 0 };
  await fc.assert(
    fc.asyncProperty(anything, codes, async (text, code) => {
      [body, status] = [text, code];
      const options = { name: "j", key: "none", timeout: 5, tokens: 8, retries: 0, pauseMs: 1, mostMs: 1 };
      const asked = openJudge({ ...options, url: `http://127.0.0.1:${server.port}/v1` }).ask("Which?");
      const got: unknown = await asked.catch((error: unknown) => error);
      if (got instanceof UserError) {
        expect(got.message).toMatch(/^the judge j at http:.{0,600}$/);
        found.sentences++;
      } else {
        expect(typeof (got as { text: unknown }).text, String(got)).toBe("string");
        verdictOf((got as { text: string }).text);
        found.texts++;
      }
    }),
    { numRuns: 150 * Number(process.env.FUZZ ?? 1) },
  );
  expect(found.texts).toBeGreaterThan(0);
  expect(found.sentences).toBeGreaterThan(0);
}, 60_000);

test("an address is a server's, with or without its path", () => {
  const cases: [given: string, url: string][] = [
    ["http://localhost:8080", "http://localhost:8080/v1"],
    ["http://localhost:8080/", "http://localhost:8080/v1"],
    ["http://localhost:8080/v1/", "http://localhost:8080/v1"],
    ["https://a.b/openai/v1", "https://a.b/openai/v1"],
    ["https://a.b/v1/chat/completions", "https://a.b/v1"],
    ["https://a.b/v1?version=2", "https://a.b/v1?version=2"],
  ];
  for (const [given, url] of cases) expect(judgeUrl(given)).toBe(url);
  for (const bad of ["localhost:8080", "ftp://a.b", "http://", "j"])
    expect(() => judgeUrl(bad)).toThrow(`${bad} is no address`);
});
