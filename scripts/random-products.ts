/**
 * Matrix products of many random shapes on the CPU device, by machine code and by WebAssembly, against float64:
 *   sh scripts/with-bun.sh scripts/random-products.ts [COUNT] [SEED]
 */
import { openCpu } from "../src/device/cpu/cpu";
import { worstOf } from "../test/support/random-products";

const [count = 10_000, seed = 1] = process.argv.slice(2).map(Number);
using native = openCpu(undefined, "native");
using wasm = openCpu(undefined, "wasm");
const { error, shape } = worstOf([native, wasm], { count, seed });
console.log(
  `${count} shapes, seed ${seed}: the largest error is ${error.toExponential(1)} of what is added up, at ${shape}`,
);
process.exit(error < 5e-7 ? 0 : 1);
