/** Encoding many samples with room between them, in which signals are heard. */
import { tick } from "../tick";
import { type EncodeOptions, type Examples, encodeSamples } from "./examples";
import type { Loaded } from "./loaded";
import { addReports } from "./report";

/** Samples that are encoded in one go. */
const TOGETHER = 64;

/** What `encodeSamples` gives. */
export async function encodeAll(
  { samples, read, bad, ...loaded }: Loaded,
  {
    onProgress = () => {},
    ...options
  }: EncodeOptions & { readonly onProgress?: (done: number, total: number) => void },
): Promise<Examples> {
  let all = encodeSamples({ ...loaded, samples: samples.slice(0, TOGETHER), read, bad }, options);
  const examples = [...all.examples];
  for (let at = TOGETHER; at < samples.length; at += TOGETHER) {
    onProgress(at, samples.length);
    await tick();
    const next = encodeSamples({ ...loaded, samples: samples.slice(at, at + TOGETHER), read: 0, bad: [] }, options);
    for (const example of next.examples) examples.push(example);
    all = { ...next, report: addReports(all.report, next.report) };
  }
  return { ...all, examples };
}
