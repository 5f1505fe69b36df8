/**
 * Clients that leave a server at random moments: before it answers, in the queue, while their prompt is run, in the midst of an answer. The server
 * is this process, so that its memory can be collected before it is measured; the clients are another.
 */

import { openModel, withoutAdapters } from "../src/app/model";
import { speaker, templateOf } from "../src/app/speaker";
import { openDevice } from "../src/device/open";
import { serve } from "../src/server/server";
import { prompt } from "./serving";

/** How many leave within a second of each other. */
const AT_ONCE = 48;

if (import.meta.main) await leave(process.argv[2]!, Number(process.argv[3]));

export async function dropped(model: string, clients: number, warmUp = clients / 5): Promise<void> {
  using device = openDevice("cpu");
  using opened = await openModel(device, withoutAdapters(model));
  const template = templateOf("auto", opened.tokenizer);
  using spoken = speaker(device, opened, { name: "model", template, slots: 8, queue: 32 });
  const serving = serve([spoken], {
    host: "127.0.0.1",
    port: 0,
    key: null,
    cors: [],
    seconds: 60,
    bodyBytes: 1e6,
    bodySeconds: 5,
    fault: (error) => {
      throw error;
    },
    bug: (error) => {
      throw error;
    },
  });
  const resident = async () => {
    const until = performance.now() + 5000;
    while (spoken.queue.running + spoken.queue.waiting > 0 && performance.now() < until) await Bun.sleep(20);
    if (spoken.queue.running + spoken.queue.waiting > 0) throw new Error("a slot is still taken");
    await Bun.sleep(1000);
    Bun.gc(true);
    await Bun.sleep(200);
    Bun.gc(true);
    return process.memoryUsage.rss() / 2 ** 20;
  };
  const wave = async (count: number) => {
    const child = Bun.spawn([process.execPath, import.meta.path, serving.address, String(count)], { stdout: "pipe" });
    const said = await new Response(child.stdout).text();
    if ((await child.exited) !== 0) throw new Error("the clients failed");
    return said.trim();
  };
  console.log(`${warmUp} clients: ${await wave(warmUp)}`);
  const before = await resident();
  const waves = 5;
  for (let i = 1; i <= waves; i++) {
    const said = await wave(clients / waves);
    const now = await resident();
    console.log(
      `${(clients / waves) * i} more: ${said}; ${spoken.queue.running} slots of ${spoken.queue.slots} taken, ${(now - before).toFixed(1)} MiB more than the ${before.toFixed(0)} after the warm-up`,
    );
  }
  await serving.stop();
}

async function leave(address: string, clients: number): Promise<void> {
  const counts = { before: 0, during: 0, answered: 0, full: 0 };
  let left = clients;
  const one = async () => {
    while (left-- > 0) {
      const control = new AbortController();
      // The square makes short stays frequent: many leave before anything has come.
      const timer = setTimeout(() => control.abort(), 600 * Math.random() ** 2);
      let begun = false;
      try {
        const response = await fetch(`${address}/v1/chat/completions`, {
          method: "POST",
          signal: control.signal,
          body: JSON.stringify({
            messages: [{ role: "user", content: prompt(Math.ceil(250 * Math.random() ** 2)) }],
            stream: Math.random() < 0.8,
            n: Math.random() < 0.1 ? 3 : 1,
            max_tokens: 200,
            logprobs: Math.random() < 0.2,
            stop: ["never"],
          }),
        });
        if (response.status === 429) {
          counts.full++;
          await response.text();
          // Comes again, and is one more.
          left++;
          await Bun.sleep(200 * Math.random());
          continue;
        }
        if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
        begun = true;
        for await (const _ of response.body!);
        counts.answered++;
      } catch (error) {
        if (!control.signal.aborted) throw error;
        counts[begun ? "during" : "before"]++;
      } finally {
        clearTimeout(timer);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  const { before, during, answered, full } = counts;
  console.log(
    `${before} left before an answer had begun, ${during} in its midst, ${answered} heard it out, ${full} times one was sent away`,
  );
}
