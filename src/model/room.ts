/** How large a device lets tables and logits be in one piece. */
import type { Traits } from "../device/device";

export interface Room {
  /** Bytes of a table's part. */
  readonly tableBytes: number;
  /** Bytes of logits that may live at a time, with their gradient beside them. */
  readonly logitsBytes: number;
}

/** On every device: 128 MiB can be bound everywhere, https://www.w3.org/TR/webgpu/#limits, maxStorageBufferBindingSize. */
export const anyRoom: Room = { tableBytes: 128 << 20, logitsBytes: 64 << 20 };

/** A GPU is filled by more rows of logits than a processor's caches hold. */
const MOST_LOGITS = 256 << 20;

export function roomOf({ software, maxBindingBytes }: Traits): Room {
  if (software) return anyRoom;
  return {
    tableBytes: Math.max(anyRoom.tableBytes, maxBindingBytes),
    logitsBytes: Math.max(anyRoom.logitsBytes, Math.min(maxBindingBytes, MOST_LOGITS)),
  };
}
