/** Sizes of memory as text. */

export function mebibytes(sizeBytes: number): string {
  return sizeBytes < 1 << 20 ? `${Math.ceil(sizeBytes / 1024)} KiB` : `${Math.ceil(sizeBytes / (1 << 20))} MiB`;
}
