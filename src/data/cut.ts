/** Examples that are too long: cut so that what is left is still to be learned. */
import { answerEnds } from "../text/answer";
import type { ChatTemplate, Encoded } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";

/** What is done with an answer that does not end within its row: nothing, or it is given an end. */
export const cuts = ["open", "ended"] as const;

export interface Cut extends Encoded {
  /** The last answer goes on behind the cut, and nothing ends it: the model does not learn to stop in the middle. */
  readonly open: boolean;
}

/**
 * At most `most` tokens: the beginning. With `ends` an answer that is cut ends all the same: by its end token, one of `ends`, with what
 * the template trains after it. Where the cut falls outside an answer, all from the last whole answer on is left out. Null where no
 * token is left to learn.
 */
export function cutTo({ ids, trained }: Encoded, most: number, ends?: ReadonlySet<number>): Cut | null {
  if (!trained.some((flag, i) => flag && i > 0)) return null;
  if (ids.length <= most) return { ids, trained, open: false };
  const tail = ends ? endTokens({ ids, trained }, ends) : 0;
  const first = most - Math.max(1, tail);
  if (first >= 0 && trained.slice(first, most).every(Boolean)) {
    if (most < 2 || !trained.slice(1, most).some(Boolean)) return null;
    return {
      ids: [...ids.slice(0, most - tail), ...ids.slice(ids.length - tail)],
      trained: trained.slice(0, most),
      open: tail === 0 && trained[most]!,
    };
  }
  const before = trained.slice(0, trained.lastIndexOf(false, most - 1) + 1);
  const end = before.lastIndexOf(true) + 1;
  return end > 1 ? { ids: ids.slice(0, end), trained: trained.slice(0, end), open: false } : null;
}

/** How many tokens the end of the last answer has: from the end token on. None where the answer has no such token. */
function endTokens(
  { ids, trained }: { readonly ids: ArrayLike<number>; readonly trained: ArrayLike<unknown> },
  ends: ReadonlySet<number>,
): number {
  for (let at = ids.length - 1; at >= 0 && trained[at]; at--) if (ends.has(ids[at]!)) return ids.length - at;
  return 0;
}

/** Whether the end of an example's last answer is trained. */
export function endsItself(
  { ids, trained }: { readonly ids: Uint32Array; readonly trained: Uint8Array },
  tokenizer: Tokenizer,
  template: ChatTemplate,
): boolean {
  const ends = answerEnds(tokenizer, template);
  if (endTokens({ ids, trained }, ends.ids) > 0) return true;
  if (trained.at(-1) !== 1 || ends.text === null) return false;
  return tokenizer
    .decode([...ids.slice(-2 * Buffer.byteLength(ends.text))])
    .trimEnd()
    .endsWith(ends.text);
}
