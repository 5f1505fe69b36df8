/** The `Params` of a kernel: which fields there are, and how their values are written. The WGSL file says it for every device. */
import type { Dispatch } from "./device";

export interface Param {
  readonly name: string;
  readonly type: "f32" | "u32";
}

/** The fields of the kernel's `struct Params`, in order. */
export function paramsOf(source: string): Param[] {
  const body = source.match(/struct Params \{([^}]*)\}/)?.[1] ?? "";
  return [...body.matchAll(/^\s*(\w+): (f32|u32),/gm)].map(([, name, type]) => ({
    name: name!,
    type: type as "f32" | "u32",
  }));
}

/** Writes a dispatch's params as 4-byte fields from byte `at` on. Throws where they are not the kernel's. */
export function writeParams(
  view: DataView,
  at: number,
  { kernel, params }: Dispatch,
  fields: readonly Param[] = paramsOf(kernel.source),
): void {
  const given = Object.keys(params);
  const wanted = fields.map(({ name }) => name);
  if (given.join() !== wanted.join()) {
    throw new Error(`${kernel.name} ${kernel.entry}: params are {${given}}, the kernel's struct says {${wanted}}`);
  }
  fields.forEach(({ name, type }, i) => {
    const value = params[name]!;
    if (type === "f32") view.setFloat32(at + 4 * i, value, true);
    else view.setUint32(at + 4 * i, value, true);
  });
}
