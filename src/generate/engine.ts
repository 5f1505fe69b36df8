/**
 * The decoding engine: prompts of token ids in, columns of token ids out. It knows no text. A prefill program runs the
 * prompts, padded on the right to a power of two; a decode program runs one token a sequence over the key-value cache.
 * Tokens are drawn on the device, so a step reads back one id a sequence.
 */

import gatherSource from "../../kernels/gather.wgsl" with { type: "text" };
import { Program } from "../autograd/program";
import { type Buffer, type Device, linear, type Recording, type Slice, whole } from "../device/device";
import { UserError } from "../errors";
import { cacheTensors, type Gpt2 } from "../model/gpt2";
import type { Slab } from "../model/slab";
import { countTokens } from "../ops/count";
import { crossEntropy } from "../ops/cross-entropy";
import { gather } from "../ops/gather";
import { pcg } from "../ops/random";
import { sample } from "../ops/sample";
import { input, type Tensor } from "../tensor/tensor";
import { type Sampling, sampling } from "./sampling";

export interface GenerateOptions extends Sampling {
  /** Asked after each new token; true ends that sequence. The token itself is still given out. */
  readonly ends?: (row: number, id: number) => boolean;
  /** Told the model's own log-probability of each new token, before penalties, bias and temperature; asked before `ends`. */
  readonly onLogProb?: (row: number, id: number, logProb: number) => void;
  /** Added to the logits of tokens. */
  readonly logitBias?: ReadonlyMap<number, number>;
}

/** The new token of each sequence, or null for one that has ended. */
export type Column = readonly (number | null)[];

export class Engine implements Disposable {
  private readonly device: Device;
  private readonly model: Gpt2;
  private readonly weights: Slab;
  private readonly sessions = new Map<string, Session>();

  constructor(device: Device, model: Gpt2, weights: Slab) {
    this.device = device;
    this.model = model;
    this.weights = weights;
  }

  /** Writes on after each prompt, one column of tokens at a time. Stops when all have ended or `maxTokens` were given. */
  *generate(prompts: readonly (readonly number[])[], options: GenerateOptions): Generator<Column> {
    const { context } = this.model.config;
    prompts.forEach((prompt) => {
      this.checkPrompt(prompt);
    });
    const longest = Math.max(...prompts.map(({ length }) => length));
    const session = this.session(prompts.length, longest + options.maxTokens);
    const rows = prompts.map((prompt, row) => ({
      ids: [...prompt],
      at: 0,
      ended: false,
      seed: pcg((options.seed + row) >>> 0),
    }));
    session.begin(rows, options);

    for (let drawn = 0; drawn < options.maxTokens && rows.some(({ ended }) => !ended); drawn++) {
      // A sequence that has filled the context goes on from the later half of it; the others keep what they have.
      const full = rows.some(({ at, ended }) => at >= context && !ended);
      if (full) for (const row of rows) if (row.at >= context) row.ids = row.ids.slice(-Math.max(1, context >> 1));
      const ids =
        drawn === 0 ? this.first(session, rows) : full ? session.prefill(rows, drawn) : session.decode(rows, drawn);
      const logProbs = options.onLogProb && session.logProbs();
      const column = rows.map((row, i) => {
        const id = ids[i]!;
        row.ids.push(id);
        if (row.ended) return null;
        if (logProbs) options.onLogProb?.(i, id, logProbs[i]!);
        row.ended = options.ends?.(i, id) ?? false;
        return id;
      });
      yield column;
    }
  }

  /** The first token of each row. Prompts that occur more than once are run once, and their keys and values copied. */
  private first(session: Session, rows: Row[]): Uint32Array {
    const places = new Map<string, number>();
    const different = rows.filter(({ ids }) => {
      const key = ids.join();
      if (places.has(key)) return false;
      places.set(key, places.size);
      return true;
    });
    if (different.length === rows.length) return session.prefill(rows, 0);
    const source = this.sessionOf(different.length, session.capacity);
    const rowOf = Uint32Array.from(rows, ({ ids }) => places.get(ids.join())!);
    return session.adopt(source, different, rows, rowOf);
  }

  /** Logits of the token that follows the prompt. */
  nextLogits(prompt: readonly number[]): Float32Array {
    this.checkPrompt(prompt);
    return this.session(1, prompt.length + 1).nextLogits(prompt);
  }

  private checkPrompt(prompt: readonly number[]): void {
    const { context, vocabulary } = this.model.config;
    if (prompt.length === 0)
      throw new UserError("a prompt has no tokens", { hint: "give a prompt of at least one character" });
    if (prompt.length > context) {
      throw new UserError(`the prompt has ${prompt.length} tokens, and the model's context is ${context}`, {
        hint: "shorten the prompt",
      });
    }
    const bad = prompt.find((id) => !(id >= 0 && id < vocabulary));
    if (bad !== undefined) throw new UserError(`token ${bad} is not in the model's vocabulary of ${vocabulary}`);
  }

  private session(batch: number, tokens: number): Session {
    return this.sessionOf(batch, Math.min(this.model.config.context, roundUp(tokens)));
  }

  private sessionOf(batch: number, capacity: number): Session {
    const key = `${batch} ${capacity}`;
    let session = this.sessions.get(key);
    if (!session) {
      session = new Session(this.device, this.model, this.weights, { batch, capacity });
      this.sessions.set(key, session);
    }
    return session;
  }

  [Symbol.dispose](): void {
    for (const session of this.sessions.values()) session[Symbol.dispose]();
    this.sessions.clear();
  }
}

/** A power of two, at least 16: so that few programs serve all lengths. */
function roundUp(tokens: number): number {
  return 2 ** Math.max(4, Math.ceil(Math.log2(tokens)));
}

interface Row {
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
  /** [B]: minus the log-probability of the drawn token. */
  readonly surprise: Tensor;
}

/** Takes over what another session has run: copies its cache, and draws each row's first token from its logits. */
interface Adoption extends Disposable {
  readonly copies: Recording;
  readonly rowOf: Buffer;
  readonly pass: Omit<Pass, "tokens" | "positions" | "starts" | "lastRows">;
}

/** The programs and the cache for one batch size and one capacity. */
class Session implements Disposable {
  private readonly device: Device;
  private readonly model: Gpt2;
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
  private last: Pick<Pass, "program" | "surprise"> | null = null;

  constructor(device: Device, model: Gpt2, weights: Slab, { batch, capacity }: { batch: number; capacity: number }) {
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
    this.bind = weights.bind();
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

  begin(rows: readonly Row[], { logitBias, ...options }: Sampling & Pick<GenerateOptions, "logitBias">): void {
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
    const { program, surprise } = this.last!;
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

  private draw(
    { program, counters, drawn, surprise }: Omit<Pass, "tokens" | "positions" | "starts" | "lastRows">,
    count: number,
  ) {
    this.last = { program, surprise };
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
    const surprise = crossEntropy(logits, drawn);
    const outputs = [logits, drawn, surprise, countTokens(counts, drawn), ...more];
    return { program: new Program(this.device, outputs, { bind }), counters, logits, drawn, surprise };
  }

  [Symbol.dispose](): void {
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
