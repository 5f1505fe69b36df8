/** Tables for a terminal. */

/** A line a row: two columns of words, to the left, then figures, to the right. All rows are of one length. */
export function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => Bun.stringWidth(row[i]!))));
  return rows.map((row) =>
    row
      .map((cell, i) => {
        const space = " ".repeat(widths[i]! - Bun.stringWidth(cell));
        return i < 2 ? cell + space : space + cell;
      })
      .join("  ")
      .trimEnd(),
  );
}
