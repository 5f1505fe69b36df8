// Every kernel of the CPU device, exported as KERNEL_ENTRY of its WGSL twin, and what the device itself calls.
export { begin, fail, replay, scratchBytes, serve, stop } from "./job";

export { accumulate as add_accumulate, forward as add_forward } from "./add";
export { forward as adamw_forward } from "./adamw";
export { backward as attention_backward, forward as attention_forward } from "./attention";
export {
  append as attention_decode_append,
  copy as attention_decode_copy,
  forward as attention_decode_forward,
} from "./attention-decode";
export { forward as attention_delta_forward } from "./attention-delta";
export { forward as count_forward } from "./count";
export {
  backward as cross_entropy_backward,
  forward as cross_entropy_forward,
  statistics as cross_entropy_statistics,
} from "./cross-entropy";
export { backward as divergence_backward, statistics as divergence_statistics } from "./divergence";
export {
  backward as dora_backward,
  backward_magnitude as dora_backward_magnitude,
  forward as dora_forward,
  norm as dora_norm,
} from "./dora";
export { forward as dropout_forward } from "./dropout";
export { binary as elementwise_binary, unary as elementwise_unary } from "./elementwise";
export { forward as fill_forward } from "./fill";
export { forward as gather_forward, scatter as gather_scatter } from "./gather";
export { backward as gelu_backward, forward as gelu_forward } from "./gelu";
export {
  backward as layer_norm_backward,
  backward_scale as layer_norm_backward_scale,
  forward as layer_norm_forward,
  statistics as layer_norm_statistics,
  statistics_forward as layer_norm_statistics_forward,
} from "./layer-norm";
export { forward as lion_forward } from "./lion";
export { forward as matmul_forward } from "./matmul";
export { apply as muon_apply, momentum as muon_momentum } from "./muon";
export { finish as norm_finish, partial as norm_partial } from "./norm";
export { put as parts_put, slice as parts_slice } from "./parts";
export {
  columns as reduce_columns,
  rows as reduce_rows,
  spread_columns as reduce_spread_columns,
  spread_rows as reduce_spread_rows,
} from "./reduce";
export { forward as sample_forward } from "./sample";
export { place as sort_place, ranks as sort_ranks, take as sort_take } from "./sort";
export { narrow as store_narrow, widen as store_widen } from "./store";
