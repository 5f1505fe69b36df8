/** Records as they are written, and how they are split. */

/** The records of every file, by its path. */
export type Files = Readonly<Record<string, readonly object[]>>;

/** As JSON Lines. */
export const linesOf = (records: readonly object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join("");

const LABELLED = 400;
const TEST = 200;
const PROMPTS = 2000;

interface Problem {
  /** No two problems share it. */
  readonly key: string;
  readonly instruction: string;
  readonly answer: string;
}

/** Some problems with an answer to learn, some to measure by, and more of them with an answer for a rule to compare with. */
export function labelledAndNot(name: string, draw: () => Problem): Files {
  const drawn = new Map<string, Problem>();
  while (drawn.size < LABELLED + TEST + PROMPTS) {
    const problem = draw();
    if (!drawn.has(problem.key)) drawn.set(problem.key, problem);
  }
  const all = [...drawn.values()];
  const labelled = ({ instruction, answer }: Problem) => ({ instruction, output: answer });
  return {
    [`data/${name}.jsonl`]: all.slice(0, LABELLED).map(labelled),
    [`data/${name}-test.jsonl`]: all.slice(LABELLED, LABELLED + TEST).map(labelled),
    [`data/${name}-prompts.jsonl`]: all
      .slice(LABELLED + TEST)
      .map(({ instruction, answer }) => ({ instruction, answer })),
  };
}
