/** The largest magnitude gets 127. A row of zeros has no magnitude: its codes are 0. */
export function quantise(row: number[]): { readonly codes: number[]; readonly scale: number } {
  const scale = Math.max(...row.map(Math.abs)) / 127;
  return { codes: row.map((weight) => (scale === 0 ? 0 : Math.round(weight / scale))), scale };
}
