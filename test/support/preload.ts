/** Runs before every test file: one device for the process. A missing adapter fails the tests that need it. */
import { afterAll } from "bun:test";
import { closeDevice } from "./device";

afterAll(closeDevice);
