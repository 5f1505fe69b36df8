/** What a data file is read into: its rows, and what is broken in it. */

export interface Row {
  readonly fields: Readonly<Record<string, unknown>>;
  /** `file:line` for files of lines, else `file, record 3`. */
  readonly where: string;
}

/** A line that is not what it should be. */
export interface BadRow {
  readonly where: string;
  readonly problem: string;
}

export interface Rows {
  readonly rows: readonly Row[];
  readonly bad: readonly BadRow[];
}
