/** maxTokens -> max-tokens: an option's name as it is typed. */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
}
