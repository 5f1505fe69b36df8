/** A helper thread of the CPU device: works on every replay until it is told to stop. */
import { messageOf } from "../../errors";
import { instantiate } from "./kernels";

declare const self: Worker;

export interface HelperStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly control: number;
  readonly scratch: number;
  readonly threads: number;
  /** Where the entry of the machine code lies; null where there is none. */
  readonly code: number | null;
}

self.onmessage = ({ data: { module, memory, control, scratch, threads, code } }: MessageEvent<HelperStart>) => {
  const kernels = instantiate(module, memory, code);
  kernels.begin(control, scratch, threads, Number(code !== null));
  try {
    kernels.serve();
  } catch (error) {
    kernels.fail();
    self.postMessage(messageOf(error));
  }
};
