/** What a dispatch binds must fit the device. */
import { UserError } from "../errors";
import type { Dispatch, Slice, Traits } from "./device";
import { mebibytes } from "./size";

export function expectBinding({ sizeBytes }: Slice, { kernel }: Dispatch, { maxBindingBytes }: Traits): void {
  if (sizeBytes <= maxBindingBytes) return;
  throw new UserError(
    `${kernel.name} needs a tensor of ${mebibytes(sizeBytes)} in one binding, and this device binds at most ${mebibytes(maxBindingBytes)}`,
    {
      hint: "use a smaller vocabulary, width or context, fewer rows or tokens a batch, or a device with larger bindings",
    },
  );
}
