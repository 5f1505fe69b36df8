/**
 * The programs and the cache for one batch size and one capacity. A prefill program runs whole prompts, padded on the right to a
 * power of two; a decode program runs one token a sequence over the key-value cache.
 */

import gatherSource from "../../kernels/gather.wgsl" with { type: "text" };
import { Program } from "../autograd/program";
import { type Buffer, type Device, linear, type Recording, type Slice, whole } from "../device/device";
import { cacheTensors } from "../model/architecture";
import type { Model } from "../model/model";

import { bindAll, type Slab } from "../model/slab";
import { countTokens } from "../ops/count";
import { crossEntropy } from "../ops/cross-entropy";
import { gather } from "../ops/gather";
import { sample } from "../ops/sample";
import { input, type Tensor } from "../tensor/tensor";
import { type Sampling, sampling } from "./sampling";

/** A power of two, at least 16: so that few programs serve all lengths. */
export function roundUp(tokens: number): number {
  return 2 ** Math.max(4, Math.ceil(Math.log2(tokens)));
}

export interface Row {
  ids: number[];
  /** Tokens that the cache holds. */
  at: number;
  ended: boolean;
  readonly seed: number;
}

interface Pass {
  readonly program: Program;
  readonly tokens: Tensor;
  readonly positions: Tensor;
  readonly starts: Tensor;
  readonly lastRows: Tensor | null;
  readonly counters: Tensor;
  readonly logits: Tensor;
  readonly drawn: Tensor;
}

type Drawing = Pick<Pass, "program" | "counters" | "logits" | "drawn">;

/** The log-probabilities of what a program has drawn: a program of its own, since few ask for them. */
interface Score {
  readonly program: Program;
  /** [B]: minus the log-probability of the drawn token. */
  readonly surprise: Tensor;
}

/** Takes over what another session has run: copies its cache, and draws each row's first token from its logits. */
interface Adoption extends Disposable {
  readonly copies: Recording;
  readonly rowOf: Buffer;
  readonly pass: Drawing;
}

/** The programs and the cache for one batch size and one capacity. */
export class Session implements Disposable {
  private readonly device: Device;
  private readonly model: Model;
  private readonly batch: number;
  readonly capacity: number;
  private readonly buffers: Buffer[] = [];
  private readonly bind: Map<Tensor, Slice>;
  private readonly cache: Tensor[];
  private readonly counts: Tensor;
  private readonly settings: Tensor;
  private readonly bias: Tensor;
  private readonly seeds: Tensor;
  private readonly prefills = new Map<number, Pass>();
  private readonly adoptions = new Map<Pass, Adoption>();
  private decoding: Pass | null = null;
  /** What drew the last tokens. */
  private last: Drawing | null = null;
  private readonly scores = new Map<Program, Score>();

  constructor(
    device: Device,
    model: Model,
    slabs: readonly Slab[],
    { batch, capacity }: { batch: number; capacity: number },
  ) {
    this.device = device;
    this.model = model;
    this.batch = batch;
    this.capacity = capacity;
    const { vocabulary, width } = model.config;
    this.cache = cacheTensors(model.config, batch, capacity);
    this.counts = input("counts", [batch, vocabulary], "u32");
    this.settings = input("settings", [7]);
    this.bias = input("bias", [vocabulary]);
    this.seeds = input("seeds", [batch], "u32");
    this.bind = bindAll(slabs);
    for (const layer of this.cache) this.own(layer, 4 * batch * capacity * 2 * width);
    this.own(this.counts, 4 * batch * vocabulary);
    this.own(this.settings, 28);
    this.own(this.bias, 4 * vocabulary);
    this.own(this.seeds, 4 * batch);
  }

  private own(tensor: Tensor, sizeBytes: number): void {
    const buffer = this.device.allocate(sizeBytes);
    this.buffers.push(buffer);
    this.bind.set(tensor, { ...whole(buffer), sizeBytes });
  }

  begin(
    rows: readonly Row[],
    { logitBias, ...options }: Sampling & { readonly logitBias?: ReadonlyMap<number, number> },
  ): void {
    const { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty } = options;
    const { vocabulary } = this.model.config;
    const bias = new Float32Array(vocabulary);
    for (const [id, value] of logitBias ?? []) bias[id] = value;
    this.device.upload(this.bind.get(this.bias)!, bias);
    const counts = new Uint32Array(this.batch * vocabulary);
    rows.forEach(({ ids }, row) => {
      for (const id of ids) counts[row * vocabulary + id]!++;
    });
    this.device.upload(this.bind.get(this.counts)!, counts);
    this.device.upload(
      this.bind.get(this.settings)!,
      new Float32Array([temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty]),
    );
    this.device.upload(
      this.bind.get(this.seeds)!,
      Uint32Array.from(rows, ({ seed }) => seed),
    );
  }

  /** Runs whole prompts and draws the token after each. */
  prefill(rows: Row[], drawn: number): Uint32Array {
    for (const row of rows) row.at = row.ids.length;
    return this.draw(this.fedPrefill(rows), drawn);
  }

  private fedPrefill(rows: readonly Row[]): Pass {
    const length = Math.min(this.capacity, roundUp(Math.max(...rows.map(({ ids }) => ids.length))));
    const pass = this.prefillPass(length);
    feedPrompts(pass, rows, length);
    return pass;
  }

  /** Runs the last token of each sequence and draws the next. */
  decode(rows: Row[], drawn: number): Uint32Array {
    this.decoding ??= this.pass(1);
    const { program, tokens, positions, starts } = this.decoding;
    const at = Uint32Array.from(rows, ({ at }) => Math.min(at, this.capacity - 1));
    program.feed(
      tokens,
      Uint32Array.from(rows, ({ ids }) => ids.at(-1)!),
    );
    program.feed(positions, at);
    program.feed(starts, at);
    for (const row of rows) row.at++;
    return this.draw(this.decoding, drawn);
  }

  nextLogits(prompt: readonly number[]): Float32Array {
    const row = { ids: [...prompt], at: 0, ended: false, seed: 0 };
    this.begin([row], sampling.parse({ temperature: 0 }));
    const pass = this.fedPrefill([row]);
    this.draw(pass, 0);
    return pass.program.read(pass.logits);
  }

  /** Log-probabilities of the tokens that were drawn last. */
  logProbs(): Float32Array {
    const { program, surprise } = this.scoreOf(this.last!);
    program.run();
    return program.read(surprise).map((v) => -v);
  }

  /** Draws the first token of every row from what `source` computes for the different prompts among them. */
  adopt(source: Session, different: Row[], rows: Row[], rowOf: Uint32Array): Uint32Array {
    const pass = source.fedPrefill(different);
    pass.program.feed(pass.counters, new Uint32Array(source.batch));
    pass.program.run();
    for (const row of rows) row.at = row.ids.length;
    let adoption = this.adoptions.get(pass);
    if (!adoption) {
      adoption = this.adoption(source, pass);
      this.adoptions.set(pass, adoption);
    }
    this.device.upload(whole(adoption.rowOf), rowOf);
    adoption.copies.replay();
    return this.draw(adoption.pass, 0);
  }

  private adoption(source: Session, { program, logits }: Pass): Adoption {
    const rowOf = this.device.allocate(4 * this.batch);
    const columns = this.capacity * 2 * this.model.config.width;
    const copies = this.device.record(
      this.cache.map((layer, i) => ({
        kernel: { name: "gather", source: gatherSource, entry: "forward" },
        params: { rows: this.batch, columns, table_rows: source.batch, first: 0 },
        output: this.bind.get(layer)!,
        inputs: [source.bind.get(source.cache[i]!)!, whole(rowOf)],
        workgroups: linear(this.batch * columns, 64),
      })),
    );
    const theirs = input("logits", logits.shape);
    const ids = input("row of", [this.batch], "u32");
    const bind = new Map([...this.bind, [theirs, program.slice(logits)], [ids, whole(rowOf)]] as [Tensor, Slice][]);
    const pass = this.drawing(gather(theirs, ids), [], bind);
    return {
      copies,
      rowOf,
      pass,
      [Symbol.dispose]() {
        copies[Symbol.dispose]();
        pass.program[Symbol.dispose]();
        rowOf.free();
      },
    };
  }

  private scoreOf({ program, ...pass }: Drawing): Score {
    let score = this.scores.get(program);
    if (!score) {
      const logits = input("logits", pass.logits.shape);
      const drawn = input("drawn", pass.drawn.shape, "u32");
      const surprise = crossEntropy(logits, drawn);
      const bind = new Map([
        [logits, program.slice(pass.logits)],
        [drawn, program.slice(pass.drawn)],
      ]);
      score = { program: new Program(this.device, [surprise], { bind }), surprise };
      this.scores.set(program, score);
    }
    return score;
  }

  private draw(pass: Drawing, count: number): Uint32Array {
    const { program, counters, drawn } = pass;
    this.last = pass;
    program.feed(counters, new Uint32Array(this.batch).fill(count));
    program.run();
    return program.read(drawn, new Uint32Array(this.batch));
  }

  private prefillPass(length: number): Pass {
    let pass = this.prefills.get(length);
    if (!pass) {
      pass = this.pass(length);
      this.prefills.set(length, pass);
    }
    return pass;
  }

  /** The program that runs `length` tokens a sequence. */
  private pass(length: number): Pass {
    const rows = this.batch * length;
    const tokens = input("tokens", [rows], "u32");
    const positions = input("positions", [rows], "u32");
    const starts = input("starts", [this.batch], "u32");
    const lastRows = length > 1 ? input("last rows", [this.batch], "u32") : null;
    const cache = { layers: [...this.cache], positions: starts };
    const hidden = this.model.hidden(tokens, positions, { length, cache });
    const logits = this.model.logits(lastRows ? gather(hidden, lastRows) : hidden);
    return { tokens, positions, starts, lastRows, ...this.drawing(logits, cache.layers, this.bind) };
  }

  /** The program that ends in a draw from `logits`. */
  private drawing(logits: Tensor, more: readonly Tensor[], bind: ReadonlyMap<Tensor, Slice>) {
    const counters = input("counters", [this.batch], "u32");
    const { counts, settings, bias, seeds } = this;
    const drawn = sample(logits, { counts, settings, bias, seeds, counters });
    const outputs = [logits, drawn, countTokens(counts, drawn), ...more];
    return { program: new Program(this.device, outputs, { bind }), counters, logits, drawn };
  }

  [Symbol.dispose](): void {
    for (const { program } of this.scores.values()) program[Symbol.dispose]();
    for (const adoption of this.adoptions.values()) adoption[Symbol.dispose]();
    for (const { program } of this.prefills.values()) program[Symbol.dispose]();
    this.decoding?.program[Symbol.dispose]();
    for (const buffer of this.buffers) buffer.free();
  }
}

/** Prompts padded on the right: causality keeps the padding from changing anything before it. */
function feedPrompts(
  { program, tokens, positions, starts, lastRows }: Pass,
  rows: readonly Row[],
  length: number,
): void {
  const ids = new Uint32Array(rows.length * length);
  rows.forEach((row, i) => {
    ids.set(row.ids, i * length);
  });
  program.feed(tokens, ids);
  program.feed(
    positions,
    Uint32Array.from(ids, (_, i) => i % length),
  );
  program.feed(starts, new Uint32Array(rows.length));
  if (lastRows)
    program.feed(
      lastRows,
      Uint32Array.from(rows, (row, i) => i * length + row.ids.length - 1),
    );
}
