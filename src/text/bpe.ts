/** Training a byte-level BPE: https://arxiv.org/abs/1508.07909, algorithm 1, on GPT-2's byte alphabet and split. */
import { UserError } from "../errors";
import { type Pieces, wholly } from "../tick";
import { characterOfByte, splitPattern } from "./bytes";
import { END_OF_TEXT, type TokenizerFiles, tokenizerFiles } from "./files";

export interface TrainBpe {
  /** Tokens in all: 256 bytes, the merges, and <|endoftext|>. */
  readonly size: number;
  readonly onProgress?: (done: number, total: number) => void;
}

interface Word {
  ids: number[];
  readonly count: number;
}

/** Merges until the vocabulary is full or nothing occurs twice. Deterministic: of equally frequent pairs the older ids win. */
export function trainBpe(texts: Iterable<string>, options: TrainBpe): TokenizerFiles {
  return wholly(bpeTraining(texts, options));
}

/** The same piece by piece. */
export function* bpeTraining(texts: Iterable<string>, { size, onProgress }: TrainBpe): Pieces<TokenizerFiles> {
  const mergeCount = size - 257;
  if (mergeCount < 0)
    throw new UserError(`a byte-level vocabulary needs at least 257 tokens, got ${size}`, { exitCode: 2 });
  const words = yield* countWords(texts);
  const pairs = new Pairs(words);
  yield* pairs.count();
  const tokens = [...characterOfByte];
  const merges: [string, string][] = [];
  while (merges.length < mergeCount) {
    const best = pairs.takeMostFrequent();
    if (!best) break;
    merges.push([tokens[best.left]!, tokens[best.right]!]);
    tokens.push(tokens[best.left]! + tokens[best.right]!);
    pairs.merge(best, tokens.length - 1);
    if (merges.length % 64 === 0) onProgress?.(merges.length, mergeCount);
    yield;
  }
  onProgress?.(mergeCount, mergeCount);
  return tokenizerFiles({
    vocabulary: Object.fromEntries([...tokens, END_OF_TEXT].map((token, id) => [token, id])),
    merges,
    preTokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    endOfText: tokens.length,
  });
}

/** Characters of a word at most: a longer one is cut, because each merge within a word goes through all of it. */
const LONGEST = 64;
const parts = new RegExp(`[\\s\\S]{1,${LONGEST}}`, "gu");

function* countWords(texts: Iterable<string>): Pieces<Word[]> {
  const counts = new Map<string, number>();
  let seen = 0;
  for (const text of texts) {
    for (const part of text.split(END_OF_TEXT)) {
      for (const [whole] of part.matchAll(splitPattern)) {
        for (const word of whole.length > LONGEST ? whole.match(parts)! : [whole])
          counts.set(word, (counts.get(word) ?? 0) + 1);
        if (seen++ % 4096 === 0) yield;
      }
    }
  }
  const encoder = new TextEncoder();
  const words: Word[] = [];
  for (const [word, count] of counts) {
    words.push({ ids: [...encoder.encode(word)], count });
    if (words.length % 4096 === 0) yield;
  }
  return words;
}

interface Pair {
  readonly left: number;
  readonly right: number;
  readonly count: number;
}

const SHIFT = 2 ** 24;
const keyOf = (left: number, right: number) => left * SHIFT + right;

/** How often each pair of neighbours occurs, kept up to date while words are merged. */
class Pairs {
  private readonly words: readonly Word[];
  private readonly counts = new Map<number, number>();
  private readonly places = new Map<number, Set<number>>();
  /** A heap by count; entries go stale when a count changes, and are checked when they come up. */
  private readonly heap: Pair[] = [];

  constructor(words: readonly Word[]) {
    this.words = words;
  }

  *count(): Pieces<void> {
    for (const [at, word] of this.words.entries()) {
      this.each(word, (left, right) => this.change(left, right, word.count, at));
      if (at % 4096 === 0) yield;
    }
    for (const [key, count] of this.counts) this.push({ left: Math.floor(key / SHIFT), right: key % SHIFT, count });
  }

  takeMostFrequent(): Pair | null {
    for (let top = this.pop(); top; top = this.pop()) {
      const count = this.counts.get(keyOf(top.left, top.right)) ?? 0;
      if (count !== top.count) {
        if (count > 0) this.push({ ...top, count });
        continue;
      }
      return count > 1 ? top : null;
    }
    return null;
  }

  merge({ left, right }: Pair, merged: number): void {
    const key = keyOf(left, right);
    const touched = new Set<number>();
    for (const at of this.places.get(key) ?? []) {
      const word = this.words[at]!;
      this.each(word, (a, b) => this.change(a, b, -word.count, at));
      const ids: number[] = [];
      for (let i = 0; i < word.ids.length; i++) {
        const both = word.ids[i] === left && word.ids[i + 1] === right;
        ids.push(both ? merged : word.ids[i]!);
        if (both) i++;
      }
      word.ids = ids;
      this.each(word, (a, b) => {
        this.change(a, b, word.count, at);
        if (a === merged || b === merged) touched.add(keyOf(a, b));
      });
    }
    this.counts.delete(key);
    this.places.delete(key);
    for (const pair of touched)
      this.push({ left: Math.floor(pair / SHIFT), right: pair % SHIFT, count: this.counts.get(pair) ?? 0 });
  }

  private each({ ids }: Word, f: (left: number, right: number) => void): void {
    for (let i = 1; i < ids.length; i++) f(ids[i - 1]!, ids[i]!);
  }

  private change(left: number, right: number, by: number, at: number): void {
    const key = keyOf(left, right);
    this.counts.set(key, (this.counts.get(key) ?? 0) + by);
    if (by < 0) return;
    const places = this.places.get(key);
    if (places) places.add(at);
    else this.places.set(key, new Set([at]));
  }

  private push(pair: Pair): void {
    const { heap } = this;
    let at = heap.push(pair) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(heap[at]!, heap[parent]!)) return;
      [heap[at], heap[parent]] = [heap[parent]!, heap[at]!];
      at = parent;
    }
  }

  private pop(): Pair | undefined {
    const { heap } = this;
    const top = heap[0];
    const last = heap.pop();
    if (!top || heap.length === 0) return top;
    heap[0] = last!;
    for (let at = 0; ; ) {
      const [a, b] = [2 * at + 1, 2 * at + 2];
      let first = at;
      if (a < heap.length && before(heap[a]!, heap[first]!)) first = a;
      if (b < heap.length && before(heap[b]!, heap[first]!)) first = b;
      if (first === at) return top;
      [heap[at], heap[first]] = [heap[first]!, heap[at]!];
      at = first;
    }
  }
}

function before(a: Pair, b: Pair): boolean {
  return a.count !== b.count ? a.count > b.count : keyOf(a.left, a.right) < keyOf(b.left, b.right);
}
