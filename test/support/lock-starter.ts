/** A process that tries for a lock at a given time, says whether it has it, and holds it for a while: `lock-starter.ts PATH AT_MS [record]`. */
import { isHeld, tryLock } from "../../src/lock";

const [path = "", at = "0", how] = process.argv.slice(2);
while (Date.now() < Number(at)) {
  // Nothing is slept: all that start at one time are to meet.
}
const lock = how === "record" ? tryLock(path, null) : tryLock(path);
console.log(isHeld(lock) ? `refused: ${lock.text}` : "taken");
await Bun.sleep(how === "forever" ? 60_000 : 1500);
