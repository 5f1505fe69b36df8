/** The stages: the schema and the build of each. */
import { z } from "zod";
import * as pretrain from "./pretrain";

/** One `[[stage]]` table, told apart by its `kind`. */
export const stageSchema = z.discriminatedUnion("kind", [pretrain.schema]);

export const stages = { pretrain } as const;
