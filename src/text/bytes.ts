/** GPT-2's byte alphabet: every byte as one printable character, so that merges can be written as text. */

/** Byte -> character: printable bytes stand for themselves, the others for U+0100 and up. (openai/gpt-2, src/encoder.py) */
export const characterOfByte: readonly string[] = (() => {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
})();

/** How GPT-2 splits text before merging. No match crosses from a non-space to white space behind it. White space is Unicode's, which JavaScript's \s is not. */
export const splitPattern =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
