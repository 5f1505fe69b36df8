/** The public list of ops. */
export { accumulate, add, addTo } from "./add";
export { attention } from "./attention";
export { attentionCached, cacheAppend, cacheCopy, NO_SLOT } from "./attention-decode";
export { cosine } from "./cosine";
export { countTokens } from "./count";
export { crossEntropy, IGNORE, tokenStatistics } from "./cross-entropy";
export { divergence } from "./divergence";
export { doraNorm, scaleColumns } from "./dora";
export { dropout } from "./dropout";
export {
  above,
  abs,
  atMost,
  clamp,
  divide,
  exp,
  inside,
  log,
  logSigmoid,
  maximum,
  minimum,
  multiply,
  relu,
  scale,
  shift,
  sigmoid,
  sign,
  sqrt,
  square,
  subtract,
} from "./elementwise";
export { fill, ones, zeros } from "./fill";
export { gather, gatherPart } from "./gather";
export { gelu } from "./gelu";
export { layerNorm } from "./layer-norm";
export { addColumns, fromColumns, matmul } from "./matmul";
export { concat, slice } from "./parts";
export { columnSum, mean, rowSum, spreadRows, sum } from "./reduce";
export { sample } from "./sample";
export { segmentMean, segmentSum, takeRows } from "./segments";
export { ranks, sort } from "./sort";
export { keepHalf, narrow, widen } from "./store";
