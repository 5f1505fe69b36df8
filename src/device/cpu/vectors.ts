/** Which instructions the CPU device computes with: machine code for AVX2 and FMA, or WebAssembly's own vectors. */
import { UserError } from "../../errors";
import { whyNot } from "./native/features";

export const choices = ["auto", "native", "wasm"] as const;
export type VectorChoice = (typeof choices)[number];
export type Vectors = "native" | "wasm";

/** What a choice comes to on this machine. Throws a UserError for `native` where there is none. */
export function vectorsOf(choice: VectorChoice = "auto"): Vectors {
  if (choice === "wasm") return "wasm";
  const reason = whyNot();
  if (reason === null) return "native";
  if (choice === "auto") return "wasm";
  throw new UserError(`--vectors native: ${reason}`, {
    hint: "--vectors wasm runs everywhere, or leave it out",
    exitCode: 2,
  });
}
