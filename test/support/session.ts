/** Pages that are sessions: fenced blocks of files to save, and of commands with what they print. */

export type Part =
  | { readonly kind: "file"; readonly name: string; readonly text: string }
  | { readonly kind: "command"; readonly command: string; readonly printed: readonly string[] };

/** ```LANGUAGE file=NAME is a file; ```console has commands behind "$ ", each with its output after it. */
export function partsOf(page: string): Part[] {
  const parts: Part[] = [];
  for (const [, info = "", text = ""] of page.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)) {
    const file = /file=(\S+)/.exec(info);
    if (file) parts.push({ kind: "file", name: file[1]!, text });
    if (info !== "console") continue;
    for (const session of text.split(/^\$ /m).slice(1)) {
      const [command = "", ...printed] = session.trimEnd().split("\n");
      parts.push({ kind: "command", command, printed });
    }
  }
  return parts;
}

/** A line without its numbers and times, which are another machine's. */
export function form(line: string): string {
  return line
    .replace(/(\d+h)?(\d+m)?\d+s\b/g, "TIME")
    .replace(/[-+]?\d+(\.\d+)?(e[-+]\d+)?[kM]?\b/g, "N")
    .replace(/\s+/g, " ")
    .trim();
}
