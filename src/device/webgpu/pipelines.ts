/** Shader modules and pipelines, made once for each (kernel, entry, constants). */
import type { Kernel } from "../device";
import { type Param, paramsOf } from "../params";
import type { DawnDevice } from "./dawn-device";
import type { Handle } from "./struct";

export interface Pipeline {
  readonly handle: Handle;
  readonly layout: Handle;
  readonly params: readonly Param[];
}

export class Pipelines {
  private readonly modules = new Map<string, Handle>();
  private readonly pipelines = new Map<string, Pipeline>();
  private readonly dawn: DawnDevice;
  private readonly check: (what: string) => void;

  constructor(dawn: DawnDevice, check: (what: string) => void) {
    this.dawn = dawn;
    this.check = check;
  }

  get(kernel: Kernel): Pipeline {
    const module = `${kernel.name} ${JSON.stringify(kernel.specialize ?? {})}`;
    const key = `${module} ${kernel.entry} ${JSON.stringify(kernel.constants ?? {})}`;
    let pipeline = this.pipelines.get(key);
    if (!pipeline) {
      const handle = this.create(module, kernel);
      pipeline = { handle, layout: this.dawn.bindGroupLayout(handle), params: paramsOf(kernel.source) };
      this.pipelines.set(key, pipeline);
    }
    return pipeline;
  }

  private create(moduleKey: string, kernel: Kernel): Handle {
    let module = this.modules.get(moduleKey);
    if (module === undefined) {
      module = this.dawn.createModule(specialize(kernel.source, kernel.specialize ?? {}));
      this.check(`kernels/${kernel.name}.wgsl`);
      this.modules.set(moduleKey, module);
    }
    const constants = Object.entries(kernel.constants ?? {}).map(([name, value]) => [name, Number(value)] as const);
    const handle = this.dawn.createComputePipeline(module, kernel.entry, constants);
    this.check(`kernels/${kernel.name}.wgsl, entry ${kernel.entry}`);
    return handle;
  }

  free(): void {
    for (const { handle, layout } of this.pipelines.values()) {
      this.dawn.release("BindGroupLayout", layout);
      this.dawn.release("ComputePipeline", handle);
    }
    for (const module of this.modules.values()) this.dawn.release("ShaderModule", module);
  }
}

/**
 * Redefines top-level `const` and `alias` lines, and functions of one line, by what they do: only what `override` cannot say, which is
 * types, what depends on them, and the lengths of arrays in registers. The file stays valid WGSL on its own.
 */
export function specialize(source: string, values: Readonly<Record<string, string | number>>): string {
  return Object.entries(values).reduce((text, [name, value]) => {
    const line = new RegExp(
      `^(?:((?:const|alias) ${name}(?: *:[^=]*)? = )[^;]*;|(fn ${name}\\(.*\\{ ).*( \\})$)`,
      "gm",
    );
    const hits = text.match(line)?.length ?? 0;
    if (hits !== 1) throw new Error(`specialize: ${name} is defined ${hits} times, not once`);
    return text.replace(line, (_, named, head, tail) => (named ? `${named}${value};` : `${head}${value}${tail}`));
  }, source);
}
