/** Exercise: a row of weights in 8 bits. Check it with `npm run exercise int8`. */

/** Codes from -127 to 127 and one scale, so that code x scale is as near to each weight as it can be. */
export function quantise(_row: number[]): { readonly codes: number[]; readonly scale: number } {
  throw new Error("not written yet");
}
