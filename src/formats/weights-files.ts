/** The tensors of a model directory: model.safetensors, or shards and the index that says which holds what. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../errors";
import { unreadable } from "../files";
import { fingerprintOf } from "../fingerprint";
import { shardMap, shardsIn } from "../hub/shards";
import { openSafetensors, type SafetensorsFile, type TensorInfo } from "./safetensors";

export interface StoredTensor {
  readonly info: TensorInfo;
  readonly file: SafetensorsFile;
}

export interface WeightsFiles extends Disposable {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** Opens every file and checks every header. */
export function openWeights(directory: string): WeightsFiles {
  const files: SafetensorsFile[] = [];
  const close = () => {
    for (const file of files) file[Symbol.dispose]();
  };
  const open = (name: string) => {
    const file = openSafetensors(join(directory, name));
    files.push(file);
    return file;
  };
  try {
    const tensors = existsSync(join(directory, INDEX))
      ? shardedTensors(directory, open)
      : allOf(open(singleFile(directory)));
    return { tensors, [Symbol.dispose]: close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Another one as soon as a bit of a model directory's weights is another: 16 hexadecimal digits. Reads them all. */
export function weightsHash(directory: string): string {
  const index = join(directory, INDEX);
  const names = existsSync(index) ? shardsIn(index) : [singleFile(directory)];
  try {
    return fingerprintOf(names.values().map((name) => Bun.mmap(join(directory, name))));
  } catch (error) {
    throw unreadable(`${directory}'s weights`, error);
  }
}

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";

function singleFile(directory: string): string {
  if (!existsSync(join(directory, SINGLE)) && existsSync(join(directory, "pytorch_model.bin"))) {
    throw new UserError(`${directory} has only pytorch_model.bin, which runs code when it is read`, {
      hint: "save the model as safetensors",
    });
  }
  return SINGLE;
}

function allOf(file: SafetensorsFile): Map<string, StoredTensor> {
  return new Map([...file.tensors].map(([name, info]) => [name, { info, file }]));
}

function shardedTensors(directory: string, open: (name: string) => SafetensorsFile): Map<string, StoredTensor> {
  const path = join(directory, INDEX);
  const places = shardMap(path);
  const files = new Map([...new Set(places.values())].map((name) => [name, open(name)]));
  return new Map(
    [...places].map(([tensor, name]) => {
      const file = files.get(name)!;
      const info = file.tensors.get(tensor);
      if (!info) throw new UserError(`${path} puts ${tensor} into ${name}, which has no such tensor`);
      return [tensor, { info, file }];
    }),
  );
}
