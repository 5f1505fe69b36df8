/** The marks of what the assistant says, {% generation %} and {% endgeneration %}: characters that nobody writes, in the rendered text. */

// Of a private-use area.
export const OPEN = "\ue7f0";
export const CLOSE = "\ue7f1";

export interface Run {
  readonly text: string;
  readonly trained: boolean;
}

/** Whether a template says itself what the assistant says. */
export function isMarked(source: string): boolean {
  return /{%-?\s*generation\s*-?%}/.test(source);
}

/** The template with marks in place of the tags: blocks, so that white space round them is trimmed as round the tags. */
export function withMarks(source: string): string {
  return source.replace(
    /{%(-?)\s*(end)?generation\s*(-?)%}/g,
    (_, before: string, ends: string | undefined, after: string) =>
      `{%${before} if true %}{{ "${ends ? CLOSE : OPEN}" }}{% endif ${after}%}`,
  );
}

export function withoutMarks(text: string): string {
  return text.replaceAll(OPEN, "").replaceAll(CLOSE, "");
}

/** The runs between marks. */
export function markedRuns(text: string): Run[] {
  return text.split(/([\ue7f0\ue7f1])/).reduce<{ runs: Run[]; inside: boolean }>(
    ({ runs, inside }, part) => {
      if (part === OPEN || part === CLOSE) return { runs, inside: part === OPEN };
      if (part) runs.push({ text: part, trained: inside });
      return { runs, inside };
    },
    { runs: [], inside: false },
  ).runs;
}
