/** GPT-2's byte alphabet: every byte as one printable character, so that merges can be written as text. */

/** Byte -> character: printable bytes stand for themselves, the others for U+0100 and up. (openai/gpt-2, src/encoder.py) */
export const characterOfByte: readonly string[] = (() => {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
})();

/** How GPT-2 splits text before merging. No match crosses from a non-space to white space behind it. */
export const splitPattern = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;
