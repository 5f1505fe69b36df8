/** The public list of ops. */
export { accumulate, add, mul, scale } from "./add";
export { attention } from "./attention";
export { attentionCached, cacheAppend, cacheCopy, NO_SLOT } from "./attention-decode";
export { countTokens } from "./count";
export { crossEntropy, IGNORE, logProbs, tokenStatistics } from "./cross-entropy";
export { doraNorm, scaleColumns } from "./dora";
export { dropout } from "./dropout";
export { fill, ones, zeros } from "./fill";
export { gather, gatherPart } from "./gather";
export { gelu } from "./gelu";
export { layerNorm } from "./layer-norm";
export { addColumns, fromColumns, matmul } from "./matmul";
export { columnSum, mean, rowSum, sum } from "./reduce";
export { sample } from "./sample";
export { keepHalf, narrow, widen } from "./store";
