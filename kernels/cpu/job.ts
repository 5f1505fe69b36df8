// What every kernel is called with, and how threads share it. A job is one dispatch of a recording, laid out in shared
// memory; all threads run the same jobs in order, and take units of work from each until none is left. Which thread takes
// a unit does not change what it computes, so results do not depend on timing or on the number of threads.

// The layout of a job, in bytes. src/device/cpu/jobs.ts writes it.
const NEXT: usize = 0; // the next unit to be taken
const INSIDE: usize = 4; // threads that are in this job
const MICROSECONDS: usize = 8; // how long it took, where times are asked for
const KERNEL: usize = 64;
const GROUPS: usize = 68; // the workgroups that the WGSL twin would have, x y z
const OUTPUT: usize = 80;
const INPUTS: usize = 84;
const PARAMS: usize = 128;
const CONSTANTS: usize = 168;
const JOB: usize = 256;

// The layout of the control block, at CONTROL.
const GENERATION: usize = 64; // counts replays; sleeping threads wait for it to change
const OPEN: usize = 68; // the generation that may be worked on, 0 for none
const ACTIVE: usize = 72; // helper threads that are working on it
const FIRST: usize = 76;
const END: usize = 80;
const FAILED: usize = 84; // a helper thread has died
const STOP: usize = 88; // helper threads are to end

// Constants of a kernel, in the order of src/device/cpu/jobs.ts.
export const TRANSPOSE_A = 0;
export const TRANSPOSE_B = 1;
export const BIAS = 2;
export const GELU = 3;
export const ACCUMULATE = 4;
export const HEAD = 5;
export const PART = 6;
export const STORED = 7;
export const SEGMENTS = 8;
export const OPERATION = 9;

/** Looks at a word this often before going to sleep on it: a few microseconds. */
const SPINS = 4000;
const SECOND: i64 = 1000000000;
/** Seconds without any progress after which the other threads are taken for dead. */
const PATIENCE = 120;

/** Memory of this thread alone: SCRATCH_BYTES of it. */
export let scratch: usize = 0;
export const SCRATCH_BYTES: u32 = 3 << 20;
/** Behind it: what kernels of machine code are called with, see native.ts. */
const ARGUMENT_BYTES: u32 = 256;
/** How many threads there are: for shares of even size, never for what is computed. */
export let threads: u32 = 1;
/** Whether there are kernels of machine code. */
export let native: bool = false;
let control: usize = 0;

// @ts-ignore: an import of the module
@external("env", "now")
declare function now(): f64;

/** Tells this thread where its own memory and the control block are, how many threads there are, and whether machine code. */
export function begin(controlBlock: usize, own: usize, count: u32, machineCode: bool): void {
  control = controlBlock;
  scratch = own;
  threads = count;
  native = machineCode;
}

export function scratchBytes(): u32 {
  return SCRATCH_BYTES + ARGUMENT_BYTES;
}

@inline
export function output(job: usize): usize {
  return load<u32>(job, OUTPUT);
}

@inline
export function input(job: usize, i: usize): usize {
  return load<u32>(job + (i << 2), INPUTS);
}

@inline
export function param(job: usize, i: usize): u32 {
  return load<u32>(job + (i << 2), PARAMS);
}

@inline
export function number(job: usize, i: usize): f32 {
  return load<f32>(job + (i << 2), PARAMS);
}

@inline
export function constant(job: usize, i: usize): u32 {
  return load<u32>(job + (i << 2), CONSTANTS);
}

@inline
export function groups(job: usize, dimension: usize): u32 {
  return load<u32>(job + (dimension << 2), GROUPS);
}

/** The first of `count` units that are now this thread's. */
@inline
export function take(job: usize, count: u32): u32 {
  return atomic.add<u32>(job + NEXT, count);
}

/** How many rows make a unit that is one long run of memory: where threads take short ones in turn, neither's loads are foreseen. */
@inline
export function rowsOfRun(columns: u32): u32 {
  return max<u32>(1, 16384 / max<u32>(1, columns));
}

/** Runs jobs on the calling thread, together with the helpers. 0, or 1 where a helper has died. */
export function replay(first: usize, end: usize, timed: bool): u32 {
  for (let job = first; job < end; job += JOB) {
    store<u32>(job, 0, NEXT);
    store<u32>(job, 0, INSIDE);
  }
  store<u32>(control, <u32>first, FIRST);
  store<u32>(control, <u32>end, END);
  const generation = load<u32>(control, GENERATION) + 1;
  atomic.store<u32>(control + OPEN, generation);
  atomic.store<u32>(control + GENERATION, generation);
  atomic.notify(control + GENERATION, -1);
  let failed = run(first, end, timed);
  atomic.store<u32>(control + OPEN, 0);
  failed |= settle(control + ACTIVE);
  return failed;
}

/** The life of a helper thread: sleeps until there is a replay, works on it, and ends when told to. */
export function serve(): void {
  let seen: u32 = 0;
  while (true) {
    for (let i = 0; i < SPINS && atomic.load<u32>(control + GENERATION) == seen; i++) {}
    while (atomic.load<u32>(control + GENERATION) == seen) atomic.wait<u32>(control + GENERATION, seen, -1);
    if (atomic.load<u32>(control + STOP)) return;
    seen = atomic.load<u32>(control + GENERATION);
    atomic.add<u32>(control + ACTIVE, 1);
    if (atomic.load<u32>(control + OPEN) == seen) run(load<u32>(control, FIRST), load<u32>(control, END), false);
    leave(control + ACTIVE);
  }
}

/** Marks this thread as dead, for the others to see. */
export function fail(): void {
  atomic.store<u32>(control + FAILED, 1);
}

/** Ends the helper threads. */
export function stop(): void {
  atomic.store<u32>(control + STOP, 1);
  atomic.add<u32>(control + GENERATION, 1);
  atomic.notify(control + GENERATION, -1);
}

function run(first: usize, end: usize, timed: bool): u32 {
  for (let job = first; job < end; job += JOB) {
    const start = timed ? now() : 0;
    atomic.add<u32>(job + INSIDE, 1);
    call_indirect<void>(load<u32>(job, KERNEL), job);
    leave(job + INSIDE);
    if (settle(job + INSIDE)) return 1;
    if (timed) store<f64>(job, load<f64>(job, MICROSECONDS) + 1000 * (now() - start), MICROSECONDS);
  }
  return 0;
}

function leave(count: usize): void {
  if (atomic.sub<u32>(count, 1) == 1) atomic.notify(count, -1);
}

/** Waits until a count of threads is zero. 1 if a thread has died. */
function settle(count: usize): u32 {
  for (let i = 0; i < SPINS; i++) if (atomic.load<u32>(count) == 0) return 0;
  let waits = 0;
  while (true) {
    const inside = atomic.load<u32>(count);
    if (inside == 0) return 0;
    if (atomic.load<u32>(control + FAILED) || waits > PATIENCE) return 1;
    if (atomic.wait<u32>(count, inside, SECOND) == 2) waits++;
  }
}
