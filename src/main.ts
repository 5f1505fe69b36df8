#!/usr/bin/env bun
/** The entry of the executable. */
import { main } from "./cli";

await main(process.argv.slice(2));
