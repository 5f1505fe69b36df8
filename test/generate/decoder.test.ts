/** Slots: what one sequence writes is its own, whatever runs beside it, before it, or in pieces. */
import { describe, expect, test } from "bun:test";
import type { Device } from "../../src/device/device";
import { Decoder, type Drawn } from "../../src/generate/decoder";
import { Engine } from "../../src/generate/engine";
import { namesOf } from "../../src/generate/names";
import { decoderBytes } from "../../src/generate/passes";
import { type Rollout, rollouts } from "../../src/generate/rollouts";
import { type Sampling, sampling } from "../../src/generate/sampling";
import type { StreamOptions } from "../../src/generate/stream";
import { device, onEachDevice } from "../support/device";
import { toy, toyModel } from "../support/model";

const greedy = sampling.parse({ temperature: 0, maxTokens: 8 });
const hot: Sampling = { ...greedy, temperature: 1.1, topK: 30, topP: 0.95, seed: 77 };
/** Eight prompts of lengths 1 to 23. */
const prompts = [3, 1, 17, 8, 23, 2, 16, 11].map((length, i) =>
  Array.from({ length }, (_, t) => (7 * i + 3 * t * t + t) % toy.vocabulary),
);

interface Text {
  readonly ids: number[];
  readonly logProbs: number[];
}

/** Steps until every slot has ended. */
function finish(decoder: Decoder): Map<number, Text> {
  const texts = new Map<number, Text>();
  const slots = Array.from({ length: decoder.slots }, (_, slot) => slot);
  while (slots.some((slot) => decoder.running(slot))) for (const drawn of decoder.step()) add(texts, drawn);
  return texts;
}

function add(texts: Map<number, Text>, { slot, id, logProb }: Drawn): void {
  const text = texts.get(slot) ?? { ids: [], logProbs: [] };
  texts.set(slot, text);
  text.ids.push(id);
  if (logProb !== null) text.logProbs.push(logProb);
}

const logged: StreamOptions = { logProbs: true };

/** What one prompt gives in a decoder of one slot. */
function alone(
  made: ReturnType<typeof toyModel>,
  prompt: readonly number[],
  options: Sampling,
  more: StreamOptions = {},
) {
  using decoder = new Decoder(device(), made.model, [made.weights], { slots: 1, capacity: toy.context });
  decoder.admit(0, prompt, options, { ...logged, ...more });
  return finish(decoder).get(0)!;
}

function expectSame(got: Pick<Rollout, "ids" | "logProbs">, wanted: Text): void {
  expect(got.ids).toEqual(wanted.ids);
  expect(got.logProbs.length).toBe(wanted.logProbs.length);
  if (device().info.kind === "cpu") expect(got.logProbs).toEqual(wanted.logProbs);
  for (const [i, logProb] of got.logProbs.entries()) expect(Math.abs(logProb - wanted.logProbs[i]!)).toBeLessThan(1e-5);
}

onEachDevice(() => {
  describe("slots", () => {
    test.each([
      ["greedy", greedy],
      ["sampled", hot],
    ])("%s: eight prompts of unequal length through three slots give what each gives alone", (_name, options) => {
      using made = toyModel();
      using decoder = new Decoder(device(), made.model, [made.weights], { slots: 3, capacity: toy.context });
      const names = namesOf(prompts, new Map());
      const found = [...rollouts(decoder, prompts, { ...options, logProbs: true })];
      expect(found.map(({ index }) => index).sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      for (const rollout of found)
        expectSame(rollout, alone(made, prompts[rollout.index]!, options, { name: names[rollout.index]! }));
    });

    test("a second turn over a kept cache equals running the whole", () => {
      using made = toyModel();
      using decoder = new Decoder(device(), made.model, [made.weights], { slots: 2, capacity: toy.context });
      const asked = prompts[3]!;
      decoder.admit(1, asked, greedy, logged);
      const answer = finish(decoder).get(1)!.ids;
      const held = decoder.held(1);
      // The last token was drawn and never run.
      expect(held).toEqual([...asked, ...answer].slice(0, -1));
      const second = [...asked, ...answer, 9, 30, 4];
      decoder.admit(1, second, { ...greedy, maxTokens: 6 }, { ...logged, keep: held.length });
      expectSame(finish(decoder).get(1)!, alone(made, second, { ...greedy, maxTokens: 6 }));
    });

    test("keeps no tokens that its slot does not hold", () => {
      using made = toyModel();
      using decoder = new Decoder(device(), made.model, [made.weights], { slots: 1, capacity: toy.context });
      expect(() => decoder.admit(0, [1, 2, 3], greedy, { keep: 1 })).toThrow("to keep 1 of 3 tokens, and holds 0");
      decoder.admit(0, [1, 2, 3], { ...greedy, maxTokens: 1 });
      finish(decoder);
      expect(() => decoder.admit(0, [1, 2, 4], greedy, { keep: 3 })).toThrow("to keep 3 of 3 tokens, and holds 2");
      decoder.forget();
      expect(decoder.held(0)).toEqual([]);
    });

    test.each([16, 32])("a prompt longer than a pass of %i tokens equals one pass", (piece) => {
      using made = toyModel({ ...toy, context: 128 });
      const size = { slots: 3, capacity: 128 };
      using pieces = new Decoder(device(), made.model, [made.weights], { ...size, piece });
      using whole = new Decoder(device(), made.model, [made.weights], size);
      const given = [100, 37, 20].map((length, i) =>
        Array.from({ length }, (_, t) => (11 * i + t * t) % toy.vocabulary),
      );
      for (const decoder of [pieces, whole])
        for (const [slot, ids] of given.entries()) decoder.admit(slot, ids, hot, { ...logged, name: slot });
      const [found, wanted] = [finish(pieces), finish(whole)];
      for (const slot of [0, 1, 2]) expectSame(found.get(slot)!, wanted.get(slot)!);
    });

    test("sequences that decode go on between the pieces of a long prompt", () => {
      using made = toyModel({ ...toy, context: 128 });
      using decoder = new Decoder(device(), made.model, [made.weights], { slots: 2, capacity: 128, piece: 16 });
      decoder.admit(0, [5, 6], { ...greedy, maxTokens: 50 });
      while (decoder.step().length === 0);
      decoder.admit(
        1,
        Array.from({ length: 64 }, (_, t) => t % 50),
        greedy,
      );
      const steps = [1, 2, 3, 4].map(() => decoder.step().map(({ slot }) => slot));
      expect(steps).toEqual([[0], [0], [0], [1, 0]]);
    });

    test("a prompt that another slot holds is copied from there and not run again", () => {
      using made = toyModel({ ...toy, context: 128 });
      using decoder = new Decoder(device(), made.model, [made.weights], { slots: 3, capacity: 128, piece: 16 });
      const long = Array.from({ length: 100 }, (_, t) => (t * t) % 50);
      for (const slot of [0, 1]) decoder.admit(slot, long, hot, { ...logged, name: slot });
      // Seven pieces of the first alone; the second's one token of its own is decoded in the step after.
      const steps = Array.from({ length: 8 }, () => decoder.step().map(({ slot }) => slot));
      expect(steps).toEqual([[], [], [], [], [], [], [0], [0, 1]]);
      decoder.release(0);
      decoder.release(1);
      decoder.share(1, 2, 90);
      expect(decoder.held(2)).toEqual(long.slice(0, 90));
      decoder.admit(2, long, hot, { ...logged, keep: 90, name: 1 });
      using other = new Decoder(device(), made.model, [made.weights], { slots: 1, capacity: 128 });
      other.admit(0, long, hot, { ...logged, name: 1 });
      expectSame(finish(decoder).get(2)!, finish(other).get(0)!);
    });

    test("settings of one slot never touch another, and a text does not depend on its slot", () => {
      using made = toyModel();
      const settings: [Sampling, StreamOptions][] = [
        [greedy, {}],
        [{ ...hot, temperature: 5, topK: 0, topP: 1 }, { logitBias: new Map([[7, 40]]) }],
        [{ ...hot, repetitionPenalty: 100, presencePenalty: 3 }, {}],
        [
          { ...hot, minP: 0.3, frequencyPenalty: -2, seed: 5 },
          {
            logitBias: new Map([
              [9, -5],
              [3, 2],
            ]),
          },
        ],
      ];
      const wanted = settings.map(([options, more], i) => alone(made, prompts[i]!, options, more));
      using decoder = new Decoder(device(), made.model, [made.weights], { slots: 4, capacity: toy.context });
      // Each slot serves each in turn, so that nothing of one before is left.
      for (const turn of [0, 1, 2, 3]) {
        settings.forEach(([options, more], i) => {
          decoder.admit((i + turn) % 4, prompts[i]!, options, { ...logged, ...more });
        });
        const found = finish(decoder);
        for (const [i, text] of wanted.entries()) expectSame(found.get((i + turn) % 4)!, text);
      }
    });

    test("a sequence that comes late or leaves early changes nothing of the others", () => {
      using made = toyModel();
      using decoder = new Decoder(device(), made.model, [made.weights], { slots: 3, capacity: toy.context });
      const options = { ...hot, maxTokens: 9 };
      decoder.admit(0, prompts[0]!, options, logged);
      decoder.admit(1, prompts[2]!, options, logged);
      const texts = new Map<number, Text>();
      for (let i = 0; i < 3; i++) for (const drawn of decoder.step()) add(texts, drawn);
      decoder.release(0);
      decoder.admit(2, prompts[3]!, options, logged);
      for (const [slot, { ids, logProbs }] of finish(decoder)) {
        const text = texts.get(slot) ?? { ids: [], logProbs: [] };
        texts.set(slot, { ids: [...text.ids, ...ids], logProbs: [...text.logProbs, ...logProbs] });
      }
      expect(texts.get(0)!.ids).toEqual(alone(made, prompts[0]!, options).ids.slice(0, texts.get(0)!.ids.length));
      expectSame(texts.get(1)!, alone(made, prompts[2]!, options));
      expectSame(texts.get(2)!, alone(made, prompts[3]!, options));
    });

    test("says why a sequence has ended", () => {
      using made = toyModel();
      using decoder = new Decoder(device(), made.model, [made.weights], { slots: 3, capacity: toy.context });
      const first = alone(made, prompts[0]!, greedy).ids;
      const stop = new Set([first[2]!]);
      decoder.admit(0, prompts[0]!, greedy, { stop });
      decoder.admit(1, prompts[1]!, greedy);
      decoder.admit(2, prompts[4]!, { ...greedy, maxTokens: 100 });
      const ends = new Map<number, [string, number]>();
      const counts = [0, 0, 0];
      while ([0, 1, 2].some((slot) => decoder.running(slot))) {
        for (const { slot, end } of decoder.step()) {
          counts[slot]!++;
          if (end) ends.set(slot, [end, counts[slot]!]);
        }
      }
      expect(ends.get(0)).toEqual(["stop", first.indexOf(first[2]!) + 1]);
      expect(ends.get(1)).toEqual(["length", 8]);
      // The last token has no place in the cache any more.
      expect(ends.get(2)).toEqual(["full", toy.context - prompts[4]!.length + 1]);
      expect(decoder.step()).toEqual([]);
    });

    test("a decoder takes the memory that was said before, whatever runs through it", () => {
      using made = toyModel();
      let bytes = 0;
      const counting = Object.create(device(), {
        allocate: {
          value: (size: number) => {
            // Inputs of programs are some hundred bytes each.
            if (size > 4 * 3 * 16 * 3) bytes += size;
            return device().allocate(size);
          },
        },
      }) as Device;
      const size = { slots: 5, capacity: 32 };
      using decoder = new Decoder(counting, made.model, [made.weights], size);
      const before = bytes;
      for (const _ of rollouts(decoder, prompts, greedy));
      expect(bytes).toBe(before);
      const said = decoderBytes(made.model, size);
      expect(bytes).toBeLessThanOrEqual(said);
      expect(bytes).toBeGreaterThan(0.9 * said);
    });

    test("an engine's batch is made of the same texts, and rollouts of its prompts too", () => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      const rows = prompts.map((): number[] => []);
      for (const column of engine.generate(prompts, hot))
        column.forEach((id, row) => {
          if (id !== null) rows[row]!.push(id);
        });
      for (const { index, ids } of engine.rollouts(prompts, { ...hot, together: 2 })) expect(ids).toEqual(rows[index]!);
    });

    test("of two texts of one engine the older one may not go on", () => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      const older = engine.generate([prompts[0]!], greedy);
      older.next();
      expect([...engine.generate([prompts[1]!], greedy)].length).toBe(8);
      expect(() => older.next()).toThrow("another text was begun");
    });
  });
});
