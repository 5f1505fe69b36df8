/** A model that is open, with a device of its own, for who asks things of it in turn. */
import type { OpenModel } from "../app/model";
import { openOn } from "../app/open";
import type { Device } from "../device/device";
import { openDevice } from "../device/open";
import { checked, type OpenOptions, openSchema, reporter } from "./options";
import { type Turns, turns } from "./turns";

export interface Opened extends OpenModel {
  readonly device: Device;
  readonly turns: Turns;
  /** What else goes with it: freed before it is. */
  readonly owned: DisposableStack;
}

/** Disposing of it ends what is under way; what it holds is freed as soon as that has ended. */
export async function openedBy(name: string, given: OpenOptions, wanted: "policy" | "reward"): Promise<Opened> {
  const { device: on, threads, vectors, storage, onNote, ...more } = checked(openSchema, given);
  const owned = new DisposableStack();
  try {
    const device = owned.use(openDevice(on, { threads, vectors }));
    const how = { ...more, wanted, storage: storage === "auto" ? undefined : storage };
    const opened = owned.use(await openOn(device, name, reporter(onNote), how));
    const own = turns(name, () => owned.dispose());
    return { ...opened, device, owned, turns: own, [Symbol.dispose]: () => own[Symbol.dispose]() };
  } catch (error) {
    owned.dispose();
    throw error;
  }
}
