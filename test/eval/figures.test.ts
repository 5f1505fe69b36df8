/** The figures of measurements, against values worked out by hand. */
import { expect, test } from "bun:test";
import { answerFigures, textFigures } from "../../src/eval/figures";

test("a text's figures do not depend on how its tokens are cut", () => {
  // 8 bytes, 2 words, 3 tokens scored, 6 ln 2 nats: 2 bits a token, 3 a word, 6/8 a byte.
  const text = "ab  cdé\n".slice(0, 7);
  expect(Buffer.byteLength(text)).toBe(8);
  const figures = textFigures({ nats: 6 * Math.LN2, tokens: 3, windows: 2, stderr: 0.5 }, text, {
    context: 4,
    stride: 2,
  });
  expect(figures).toMatchObject({ method: "sliding window of 4 tokens, stride 2", tokens: 3, words: 2 });
  expect(figures.loss).toBeCloseTo(2 * Math.LN2, 12);
  expect(figures.perplexity).toBeCloseTo(4, 12);
  // d exp(x) = exp(x) dx.
  expect(figures).toMatchObject({ windows: 2, loss_stderr: 0.5, perplexity_stderr: 4 * 0.5 });
  expect(figures.bits_per_byte).toBeCloseTo(0.75, 12);
  expect(figures.word_perplexity).toBeCloseTo(8, 12);
  const single = textFigures({ nats: 1, tokens: 1, windows: 1, stderr: null }, text, { context: 4, stride: 4 });
  expect(single).toMatchObject({ method: "disjoint windows of 4 tokens", loss_stderr: null, perplexity_stderr: null });
});

test("answers are counted one by one, conversations only whole", () => {
  const answer = (text: string, exact: boolean, ended: boolean) => ({
    question: "?",
    expected: "yes",
    answer: text,
    exact,
    ended,
  });
  const whole = [answer("yes", true, true), answer("no", false, true)];
  const cut = [answer("yes", true, true), answer("no and no", false, false)];
  const silent = [answer("", false, true)];
  expect(answerFigures([whole, cut, silent], { ownHistory: false })).toEqual({
    method: "greedy, after the data's answers, compared without white space at both ends",
    conversations: 3,
    answers: 5,
    exact_match: 2 / 5,
    ended: 4 / 5,
    in_form: 1 / 3,
  });
  expect(answerFigures([], { ownHistory: true })).toMatchObject({ answers: 0, exact_match: 0, in_form: 0 });
});
