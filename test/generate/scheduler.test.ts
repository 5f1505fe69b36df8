/** The queue before the slots: who asks first is served first, and what one asks for changes nothing for the others. */
import { expect, test } from "bun:test";
import { Decoder, type Drawn } from "../../src/generate/decoder";
import { type Sampling, sampling } from "../../src/generate/sampling";
import { type Request, runner, type Scheduler, scheduler } from "../../src/generate/scheduler";
import { tick } from "../../src/tick";
import { device, onEachDevice } from "../support/device";
import { toy, toyModel } from "../support/model";

const hot: Sampling = sampling.parse({ temperature: 1.1, topK: 30, topP: 0.95, seed: 77, maxTokens: 8 });
const prompts = [3, 1, 17, 8, 23, 2, 16, 11].map((length, i) =>
  Array.from({ length }, (_, t) => (7 * i + 3 * t * t + t) % toy.vocabulary),
);

interface Heard {
  readonly ids: number[];
  readonly top: Drawn["top"][];
  kept?: number;
  end?: string;
  error?: unknown;
}

function ask(ids: readonly number[], more: Partial<Request> = {}): { heard: Heard; request: Request } {
  const heard: Heard = { ids: [], top: [] };
  const request: Request = {
    ids,
    sampling: hot,
    options: {},
    begun: (kept) => {
      heard.kept = kept;
    },
    token({ id, top }) {
      heard.ids.push(id);
      heard.top.push(top);
      return false;
    },
    ended: (end) => {
      heard.end = end;
    },
    failed: (error) => {
      heard.error = error;
    },
    ...more,
  };
  return { heard, request };
}

function finish(queue: Scheduler): void {
  while (queue.running + queue.waiting > 0) queue.step();
}

function decoderOf(slots: number, piece?: number, config = toy): Decoder & Disposable {
  const { model, weights } = toyModel(config);
  const decoder = new Decoder(device(), model, [weights], {
    slots,
    capacity: config.context,
    ...(piece !== undefined && { piece }),
  });
  const dispose = decoder[Symbol.dispose].bind(decoder);
  decoder[Symbol.dispose] = () => {
    dispose();
    weights[Symbol.dispose]();
  };
  return decoder;
}

/** What each prompt gives in an empty decoder of its own. */
function alone(more: Partial<Request> = {}): number[][] {
  return prompts.map((ids) => {
    using decoder = decoderOf(1);
    const queue = scheduler(decoder, { queue: 1 });
    const { heard, request } = ask(ids, more);
    queue.submit(request);
    finish(queue);
    return heard.ids;
  });
}

onEachDevice(() => {
  test("answers each of many as it would alone, whatever the slots and the pieces", () => {
    const wanted = alone();
    for (const [slots, piece] of [
      [1, 16],
      [3, 16],
      [8, 512],
    ] as const) {
      using decoder = decoderOf(slots, piece);
      const queue = scheduler(decoder, { queue: 8 });
      const asked = prompts.map((ids) => ask(ids));
      for (const { request } of asked) expect(queue.submit(request)).not.toBeNull();
      finish(queue);
      expect(asked.map(({ heard }) => heard.ids)).toEqual(wanted);
      expect(asked.map(({ heard }) => heard.end)).toEqual(prompts.map(() => "length"));
    }
  });

  test("drops some at any moment, and the others are answered the same", () => {
    const wanted = alone();
    for (let moment = 0; moment < 12; moment++) {
      using decoder = decoderOf(3, 16);
      const queue = scheduler(decoder, { queue: 8 });
      const asked = prompts.map((ids) => ask(ids));
      const jobs = asked.map(({ request }) => queue.submit(request)!);
      for (let step = 0; step < moment; step++) queue.step();
      const before = asked.map(({ heard }) => heard.ids.length);
      for (const i of [1, 2, 5, 7]) jobs[i]!.cancel();
      finish(queue);
      expect([queue.running, queue.waiting, queue.room]).toEqual([0, 0, 11]);
      for (const i of [0, 3, 4, 6]) expect(asked[i]!.heard.ids).toEqual(wanted[i]!);
      for (const i of [1, 2, 5, 7]) expect(asked[i]!.heard.ids.length).toBe(before[i]!);
    }
  });
});

onEachDevice(() => {
  test("takes as many as there are slots and places, and no more", () => {
    using decoder = decoderOf(2);
    const queue = scheduler(decoder, { queue: 3 });
    for (let i = 0; i < 5; i++) expect(queue.submit(ask([1, 2]).request)).not.toBeNull();
    expect(queue.submit(ask([1, 2]).request)).toBeNull();
    queue.step();
    expect([queue.running, queue.waiting]).toEqual([2, 3]);
    expect(queue.submit(ask([1, 2]).request)).toBeNull();
    finish(queue);
    expect(queue.room).toBe(5);
  });

  test("goes on from what a slot holds, and says how much", () => {
    using decoder = decoderOf(2);
    const queue = scheduler(decoder, { queue: 3 });
    const first = ask(prompts[4]!);
    queue.submit(first.request);
    finish(queue);
    const talk = [...prompts[4]!, ...first.heard.ids, 5];
    const [next, other] = [ask(talk), ask(prompts[0]!)];
    queue.submit(other.request);
    queue.submit(next.request);
    finish(queue);
    // The last token that was drawn was not run.
    expect(next.heard.kept).toBe(prompts[4]!.length + first.heard.ids.length - 1);
    expect(other.heard.kept).toBe(0);
    using fresh = decoderOf(1);
    const again = ask(talk);
    const second = scheduler(fresh, { queue: 1 });
    second.submit(again.request);
    finish(second);
    expect(next.heard.ids).toEqual(again.heard.ids);
  });

  test("lets a short prompt past a long one", () => {
    using decoder = decoderOf(2, 16, { ...toy, context: 128 });
    const queue = scheduler(decoder, { queue: 0 });
    const order: string[] = [];
    const named = (name: string, length: number) =>
      ask(
        Array.from({ length }, (_, t) => t % 7),
        {
          token: () => {
            order.push(name);
            return true;
          },
        },
      ).request;
    queue.submit(named("long", 127));
    queue.step();
    queue.submit(named("short", 5));
    finish(queue);
    expect(order).toEqual(["short", "long"]);
  });

  test("ends with what one does with its own token that one alone", () => {
    using decoder = decoderOf(2);
    const queue = scheduler(decoder, { queue: 0 });
    const broken = ask(prompts[1]!, {
      token: () => {
        throw new Error("no");
      },
    });
    const other = ask(prompts[0]!);
    queue.submit(broken.request);
    queue.submit(other.request);
    finish(queue);
    expect(broken.heard.error).toEqual(new Error("no"));
    expect(other.heard.ids).toEqual(alone()[0]!);
  });

  test("tells the likeliest tokens with those that are drawn", () => {
    using decoder = decoderOf(2);
    const queue = scheduler(decoder, { queue: 0 });
    const greedy = { sampling: { ...hot, temperature: 0 }, options: { logProbs: true, topLogProbs: 3 } };
    const { heard, request } = ask(prompts[0]!, greedy);
    queue.submit(request);
    queue.submit(ask(prompts[2]!).request);
    finish(queue);
    expect(heard.top.map((top) => top[0]!.id)).toEqual(heard.ids);
    for (const top of heard.top) {
      expect(top.length).toBe(3);
      expect(top.map(({ logProb }) => logProb)).toEqual(top.map(({ logProb }) => logProb).sort((a, b) => b - a));
    }
  });

  test("tells everybody of a fault, once", async () => {
    using decoder = decoderOf(2);
    const queue = scheduler(decoder, { queue: 3 });
    const asked = prompts.slice(0, 5).map((ids) => ask(ids));
    const faults: unknown[] = [];
    const running = runner([queue], tick, (error) => faults.push(error));
    for (const { request } of asked) queue.submit(request);
    decoder.step = () => {
      throw new Error("the device is lost");
    };
    running.wake();
    while (!running.faulted) await tick();
    expect(asked.map(({ heard }) => heard.error)).toEqual(asked.map(() => new Error("the device is lost")));
    expect(faults).toEqual([new Error("the device is lost")]);
    expect([queue.running, queue.waiting]).toEqual([0, 0]);
  });
});
