/** A console that says nothing. */
import type { Console } from "../../src/log/console";

export const silent: Console = { colour: false, note() {}, status() {}, done() {} };
