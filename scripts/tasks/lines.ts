/** Records as they are written. */

/** The records of every file, by its path. */
export type Files = Readonly<Record<string, readonly object[]>>;

/** As JSON Lines. */
export const linesOf = (records: readonly object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join("");
