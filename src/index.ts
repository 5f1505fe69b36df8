/** What dawngrad is to a program that imports it: docs/api.md shows how it is used. Nothing else is public. */
/// <reference path="./wgsl.d.ts" />
export type { Conversation } from "./api/chat";
export { type CompletionLogProb, type LanguageModel, open, type Pair, type TextToken } from "./api/model";
export type {
  AskOptions,
  ChatOptions,
  Completion,
  Evaluation,
  GenerateManyOptions,
  GenerateOptions,
  NextOptions,
  OpenOptions,
  PairsOptions,
  Prompt,
  ScoreOptions,
  TextOptions,
  TrainOptions,
  TrainStep,
} from "./api/options";
export { openReward, type RewardModel, type Scored } from "./api/reward";
export type { TextStream } from "./api/stream";
export { type TrainConfig, type TrainedStage, type TrainResult, train } from "./api/train";
export type { NextToken, TokenLogProb } from "./app/complete";
export { UserError as DawngradError } from "./errors";
export type { Message } from "./text/message";
