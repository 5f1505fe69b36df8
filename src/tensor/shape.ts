/** Shapes, and the errors of shape rules. */

export type Shape = readonly number[];

/** An op was given shapes that do not fit: names the op, what was got and what was wanted. */
export class ShapeError extends Error {
  override name = "ShapeError";
}

/** The number of elements. */
export function sizeOf(shape: Shape): number {
  return shape.reduce((product, n) => product * n, 1);
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}

export function expectShape(op: string, what: string, got: Shape, wanted: Shape): void {
  if (!sameShape(got, wanted)) throw new ShapeError(`${op}: ${what} has shape [${got}], expected [${wanted}]`);
}

/** Rows and columns of a matrix; leading dimensions count as rows. */
export function matrixOf(op: string, what: string, shape: Shape): { rows: number; columns: number } {
  const columns = shape.at(-1);
  if (shape.length < 2 || !columns)
    throw new ShapeError(`${op}: ${what} has shape [${shape}], expected [rows, columns]`);
  return { rows: sizeOf(shape) / columns, columns };
}
