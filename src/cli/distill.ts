/** `dawngrad distill --teacher MODEL --data FILE --layers 6`: a config of one stage from the command line. */
import { schema } from "../stages/distill";
import { learning, stageCommand } from "./stage-command";

const { lora: _lora, rank: _rank, alpha: _alpha, target: _target, base: _base, ...given } = learning;

export default stageCommand({
  kind: "distill",
  description: "teaches a smaller model to say what a larger one would",
  schema,
  flags: {
    teacher: "teacher",
    layers: { path: "layers", says: "makes the student of so many of the teacher's layers" },
    preset: { path: "model.preset", says: "a new student of a named size" },
    depth: { path: "model.layers", says: "a new student's transformer blocks" },
    width: { path: "model.width", says: "a new student's channels" },
    heads: { path: "model.heads", says: "a new student's attention heads" },
    ...given,
    reads: "reads",
    beta: "beta",
    temperature: "temperature",
    packing: "packing",
  },
  student: "a student that is there already; else --layers, or the sizes of a new one",
  example: "weights.data=0",
});
