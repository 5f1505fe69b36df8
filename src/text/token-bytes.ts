/** The bytes of single tokens: of those that are part of a character too. */
import { characterOfByte } from "./bytes";
import type { Tokenizer } from "./tokenizer";

const byteOf = new Map(characterOfByte.map((character, byte) => [character, byte]));

/** What gives a token's bytes. A byte-level vocabulary writes each byte as a character; others have whole characters, or <0xE2>. */
export function tokenBytes(tokenizer: Tokenizer): (id: number) => number[] {
  const byteLevel = JSON.stringify(tokenizer.files.tokenizer).includes('"ByteLevel"');
  const added = new Set(tokenizer.added.map(({ id }) => id));
  return (id) => {
    const token = tokenizer.token(id);
    if (byteLevel && !added.has(id)) {
      const bytes = [...token].map((character) => byteOf.get(character));
      if (bytes.every((byte) => byte !== undefined)) return bytes;
    }
    const [, hex] = /^<0x([0-9A-F]{2})>$/.exec(token) ?? [];
    if (hex !== undefined) return [Number.parseInt(hex, 16)];
    return [...new TextEncoder().encode(added.has(id) ? token : tokenizer.decode([id]))];
  };
}
