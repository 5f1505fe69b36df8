/**
 * The cache layout that Hugging Face's own tools share: models--OWNER--NAME with blobs by checksum, snapshots/COMMIT/FILE as links to
 * them, and refs/main naming the commit. https://huggingface.co/docs/huggingface_hub/guides/manage-cache
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { codeOf } from "../errors";
import { writeTextAside } from "../files";

export class RepositoryCache {
  readonly folder: string;

  constructor(cache: string, name: string, type: "model" | "dataset" = "model") {
    this.folder = join(cache, `${type}s--${name.replaceAll("/", "--")}`);
  }

  /** The snapshot that refs/main names, if it is there. */
  get snapshot(): string | null {
    const ref = join(this.folder, "refs", "main");
    if (!existsSync(ref)) return null;
    const path = this.snapshotOf(readFileSync(ref, "utf8").trim());
    return existsSync(path) ? path : null;
  }

  snapshotOf(commit: string): string {
    return join(this.folder, "snapshots", commit);
  }

  blob(checksum: string): string {
    return join(this.folder, "blobs", checksum);
  }

  /** Whether a file is there in its whole length. */
  has(commit: string, { path, size }: { readonly path: string; readonly size: number }): boolean {
    return statSync(join(this.snapshotOf(commit), path), { throwIfNoEntry: false })?.size === size;
  }

  /** Whether it is known that the repository has no such file: other tools leave the same mark. */
  lacks(commit: string, path: string): boolean {
    return existsSync(this.absent(commit, path));
  }

  markAbsent(commit: string, path: string): void {
    writeTextAside(this.absent(commit, path), "");
  }

  private absent(commit: string, path: string): string {
    return join(this.folder, ".no_exist", commit, path);
  }

  /** Shows a blob in a snapshot: by a relative link, or a copy where links are not allowed. */
  link(commit: string, file: string, checksum: string): void {
    const path = join(this.snapshotOf(commit), file);
    const blob = this.blob(checksum);
    mkdirSync(dirname(path), { recursive: true });
    rmSync(path, { force: true });
    try {
      symlinkSync(relative(dirname(path), blob), path);
    } catch (error) {
      if (codeOf(error) !== "EPERM") throw error;
      copyFileSync(blob, path);
    }
  }

  /** Written last: a snapshot counts only once it is whole. */
  setMain(commit: string): void {
    const ref = join(this.folder, "refs", "main");
    writeTextAside(ref, commit);
  }
}
