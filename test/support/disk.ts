/** What a program asks of the disk, in order: which files and folders are synced, what is renamed and what is removed. */
import { spyOn } from "bun:test";
import * as fs from "node:fs";

export interface DiskEvent {
  readonly what: "sync" | "rename" | "remove";
  readonly path: string;
  /** Of a file that is synced: its bytes by then. */
  readonly size?: number;
  readonly to?: string;
}

/** Records all that this process does until the end of the scope. */
export function watchDisk(): { readonly events: readonly DiskEvent[] } & Disposable {
  const { openSync, fsyncSync, renameSync, rmSync, fstatSync } = { ...fs };
  const paths = new Map<number, string>();
  const events: DiskEvent[] = [];
  const spies = [
    spyOn(fs, "openSync").mockImplementation((path, ...rest) => {
      const fd = openSync(path, ...rest);
      paths.set(fd, String(path));
      return fd;
    }),
    spyOn(fs, "fsyncSync").mockImplementation((fd) => {
      events.push({ what: "sync", path: paths.get(fd)!, size: fstatSync(fd).size });
      fsyncSync(fd);
    }),
    spyOn(fs, "renameSync").mockImplementation((from, to) => {
      renameSync(from, to);
      events.push({ what: "rename", path: String(from), to: String(to) });
    }),
    spyOn(fs, "rmSync").mockImplementation((path, options) => {
      rmSync(path, options);
      events.push({ what: "remove", path: String(path) });
    }),
  ];
  return {
    events,
    [Symbol.dispose]() {
      for (const spy of spies) spy.mockRestore();
    },
  };
}
