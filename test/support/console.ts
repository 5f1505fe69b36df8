/** A console that says nothing. */
import type { Reporter } from "../../src/log/console";

export const silent: Reporter = { colour: false, note() {}, status() {}, done() {} };
