/**
 * The programs of a decoder, and the memory of its slots. A pass runs some tokens of some slots and draws a token after each; which
 * slots they are is fed, so that a program is known by its rows and its tokens alone. All share one cache and one scratch.
 */
import { type Plan, plan, slotBytes } from "../autograd/plan";
import { Program } from "../autograd/program";
import { Scratch, shared } from "../autograd/scratch";
import { type Device, type DeviceBuffer, type Slice, whole } from "../device/device";
import { cacheTensors, type ModelConfig } from "../model/architecture";
import type { Model } from "../model/model";
import { bindAll, type Slab } from "../model/slab";
import { cacheCopy } from "../ops/attention-decode";
import { countTokens } from "../ops/count";
import { crossEntropy } from "../ops/cross-entropy";
import { scale } from "../ops/elementwise";
import { gather } from "../ops/gather";
import { sample } from "../ops/sample";
import { sizeOf } from "../tensor/shape";
import { input, type Tensor } from "../tensor/tensor";

export interface DecoderSize {
  /** Sequences that it holds at the same time. */
  readonly slots: number;
  /** Positions of each, at most the model's context. */
  readonly capacity: number;
  /** Tokens of a pass over prompts, at most: a power of two. A longer prompt is run in pieces. */
  readonly piece?: number;
}

/** On a CPU already that many rows keep the products busy, and others wait for one piece at most. */
export const PIECE = 512;

/** A power of two, at least 16: so that few programs serve all lengths. */
export function roundUp(tokens: number): number {
  return 2 ** Math.max(4, Math.ceil(Math.log2(tokens)));
}

export interface Shape {
  readonly rows: number;
  /** Of each row; a prompt's last piece is padded on the right, which causality keeps from changing anything before it. */
  readonly tokens: number;
  /** The rows begin at position 0. */
  readonly fresh: boolean;
}

/** What a decoder keeps of each slot, one row a slot. */
export interface SlotTensors {
  /** Keys and values: [slots, capacity, 2 C] a layer. */
  readonly cache: readonly Tensor[];
  readonly counts: Tensor;
  readonly settings: Tensor;
  readonly bias: Tensor;
}

export interface Pass {
  readonly program: Program;
  readonly tokens: Tensor;
  readonly positions: Tensor;
  readonly starts: Tensor;
  readonly slots: Tensor;
  readonly streams: Tensor;
  readonly lastRows: Tensor | null;
  readonly logits: Tensor;
  readonly drawn: Tensor;
  /** What the inputs are fed from, used again at every run. */
  readonly fed: Record<"tokens" | "positions" | "starts" | "slots" | "streams" | "lastRows", Uint32Array>;
  /** What was drawn is read into. */
  readonly ids: Uint32Array;
}

/** The log-probabilities of what a pass has drawn: a program of its own, since few ask for them. */
interface Score {
  readonly program: Program;
  /** [R]: minus the log-probability of the drawn token. */
  readonly surprise: Tensor;
  /** [1]: what the logits are multiplied with. */
  readonly sharpness: Tensor;
}

export function slotTensors(config: ModelConfig, { slots, capacity }: DecoderSize): SlotTensors {
  return {
    cache: cacheTensors(config, slots, capacity),
    counts: input("counts", [slots, config.vocabulary], "u32"),
    settings: input("settings", [slots, 7]),
    bias: input("bias", [slots, config.vocabulary]),
  };
}

/** Rows of a decoding pass over so many running slots: few programs, and little of them idle. */
export function decodeRows(running: number, slots: number): number {
  return Math.min(slots, 2 ** Math.ceil(Math.log2(running)));
}

/** Tokens of a row in the pass that runs the next `left` tokens of a prompt. */
export function pieceTokens(left: number, { capacity, piece = PIECE }: DecoderSize): number {
  return Math.min(roundUp(left), piece, capacity);
}

/** Rows of a pass over pieces of `tokens`: of `waiting` as many as fill a power of two, so that none is idle. */
export function pieceRows(waiting: number, tokens: number, { piece = PIECE }: DecoderSize): number {
  return 2 ** Math.floor(Math.log2(Math.max(1, Math.min(waiting, piece / tokens))));
}

/** Bytes of device memory that a decoder takes beside the model's weights: all that it ever takes, bar some hundred bytes a program. */
export function decoderBytes(model: Model, size: DecoderSize): number {
  const own = slotTensors(model.config, size);
  const held = tensorsOf(own).reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0);
  const weights = [model, ...model.adapters].flatMap(({ parameters }) => parameters.list.map(({ tensor }) => tensor));
  return held + slotBytes(scratchSizes(model, own, size, new Set([...weights, ...tensorsOf(own)])));
}

/** Sizes of the scratch that serves every pass. */
function scratchSizes(model: Model, own: SlotTensors, size: DecoderSize, bound: ReadonlySet<Tensor>) {
  const plans = largestShapes(size).map((shape) => plan(passGraph(model, own, shape).outputs, bound));
  return plans.reduce<readonly number[]>((sizes, plan) => shared(sizes, workSizes(plan)).sizes, []);
}

function workSizes({ slotSizes, fedSlots }: Plan): number[] {
  return slotSizes.slice(fedSlots);
}

/** Passes of which no other needs more: pieces of every length, for as many rows as they may have, and all slots decoding. */
function largestShapes(size: DecoderSize): Shape[] {
  const shapes: Shape[] = [];
  for (let tokens = 0; tokens < pieceTokens(size.capacity, size); ) {
    tokens = pieceTokens(Math.max(16, 2 * tokens), size);
    for (const fresh of [true, false]) shapes.push({ rows: pieceRows(size.slots, tokens, size), tokens, fresh });
  }
  return [...shapes.reverse(), { rows: size.slots, tokens: 1, fresh: false }];
}

function tensorsOf({ cache, counts, settings, bias }: SlotTensors): Tensor[] {
  return [...cache, counts, settings, bias];
}

function passGraph(model: Model, own: SlotTensors, { rows, tokens: length, fresh }: Shape) {
  const tokens = input("tokens", [rows * length], "u32");
  const positions = input("positions", [rows * length], "u32");
  const starts = length > 1 ? input("starts", [rows], "u32") : positions;
  const slots = input("slots", [rows], "u32");
  const streams = input("streams", [rows, 3], "u32");
  const lastRows = length > 1 ? input("last rows", [rows], "u32") : null;
  const cache = { layers: [...own.cache], slots, positions: starts, fresh };
  const hidden = model.hidden(tokens, positions, { length, cache });
  const logits = model.logits(lastRows ? gather(hidden, lastRows) : hidden);
  const drawn = sample(logits, { ...own, streams });
  const outputs = [logits, drawn, countTokens(own.counts, drawn, streams), ...cache.layers];
  return { tokens, positions, starts, slots, streams, lastRows, logits, drawn, outputs };
}

export class Passes implements Disposable {
  private readonly device: Device;
  private readonly model: Model;
  private readonly own: SlotTensors;
  private readonly bind: Map<Tensor, Slice>;
  private readonly buffers: DeviceBuffer[] = [];
  private readonly scratch: Scratch;
  private readonly passes = new Map<string, Pass>();
  private readonly scores = new Map<Pass, Score>();
  private copying: { readonly program: Program; readonly move: Tensor } | null = null;

  /** All memory is taken here; a program that is made later finds its own in it. */
  constructor(device: Device, model: Model, slabs: readonly Slab[], size: DecoderSize) {
    this.device = device;
    this.model = model;
    this.own = slotTensors(model.config, size);
    this.bind = bindAll(slabs);
    this.scratch = new Scratch(device);
    try {
      for (const tensor of tensorsOf(this.own)) {
        const buffer = device.allocate(4 * sizeOf(tensor.shape));
        this.buffers.push(buffer);
        this.bind.set(tensor, whole(buffer));
      }
      this.scratch.take(scratchSizes(model, this.own, size, new Set(this.bind.keys())));
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  of(shape: Shape): Pass {
    const key = `${shape.rows} ${shape.tokens} ${shape.fresh}`;
    let pass = this.passes.get(key);
    if (!pass) {
      const { outputs, ...graph } = passGraph(this.model, this.own, shape);
      const { rows, tokens: length } = shape;
      const fed = {
        tokens: new Uint32Array(rows * length),
        positions: new Uint32Array(rows * length),
        starts: new Uint32Array(rows),
        slots: new Uint32Array(rows),
        streams: new Uint32Array(3 * rows),
        lastRows: new Uint32Array(rows),
      };
      const program = new Program(this.device, outputs, { bind: this.bind, scratch: this.scratch });
      pass = { ...graph, program, fed, ids: new Uint32Array(rows) };
      this.passes.set(key, pass);
    }
    return pass;
  }

  /** What a pass has drawn for each of its rows. */
  drawnBy(pass: Pass): Uint32Array {
    return pass.program.read(pass.drawn, pass.ids);
  }

  /** The log-probabilities of what a pass has drawn, its logits divided by a temperature. */
  logProbsOf(pass: Pass, temperature: number): Float32Array {
    const { program, surprise, sharpness } = this.scoreOf(pass);
    program.feed(sharpness, Float32Array.of(1 / temperature));
    program.run();
    return program.read(surprise).map((v) => -v);
  }

  private scoreOf(pass: Pass): Score {
    let score = this.scores.get(pass);
    if (!score) {
      const logits = input("logits", pass.logits.shape);
      const drawn = input("drawn", pass.drawn.shape, "u32");
      const sharpness = input("sharpness", [1]);
      const surprise = crossEntropy(scale(logits, sharpness), drawn);
      const bind = new Map([
        [logits, pass.program.slice(pass.logits)],
        [drawn, pass.program.slice(pass.drawn)],
      ]);
      // Memory of its own: the scratch holds what it reads.
      score = { program: new Program(this.device, [surprise], { bind }), surprise, sharpness };
      this.scores.set(pass, score);
    }
    return score;
  }

  /** Sets what the next tokens of a slot are drawn by. `bias` null: as it is. */
  settle(slot: number, to: { settings: Float32Array; counts: Uint32Array; bias: Float32Array | null }): void {
    this.write(this.own.settings, slot, to.settings);
    this.write(this.own.counts, slot, to.counts);
    if (to.bias) this.write(this.own.bias, slot, to.bias);
  }

  private write(tensor: Tensor, slot: number, row: Float32Array | Uint32Array): void {
    const { buffer } = this.bind.get(tensor)!;
    this.device.upload({ buffer, offsetBytes: slot * row.byteLength, sizeBytes: row.byteLength }, row);
  }

  /** Copies the first `count` positions of a slot's keys and values to another slot. */
  copy(from: number, to: number, count: number): void {
    if (!this.copying) {
      const move = input("move", [3], "u32");
      const copies = this.own.cache.map((layer) => cacheCopy(layer, move));
      this.copying = { program: new Program(this.device, copies, { bind: this.bind }), move };
    }
    const { program, move } = this.copying;
    program.feed(move, Uint32Array.of(from, to, count));
    program.run();
  }

  [Symbol.dispose](): void {
    for (const { program } of [...this.scores.values(), ...this.passes.values()]) program[Symbol.dispose]();
    this.copying?.program[Symbol.dispose]();
    this.scratch[Symbol.dispose]();
    for (const buffer of this.buffers) buffer.free();
  }
}
