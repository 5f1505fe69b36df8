/** Parts of results as stage files had them before files and models were known by their contents: by their roles of today. */
import { A_FILE, type Parts } from "./parts";

const DATA = /^data (?!\d+: )(.*)$/s;
const READS = /^reads (?!tokenizer$)(?!\S+(?: \d+)?: )(.*)$/s;
const MODEL = /^setting (models \d+)$/;

export function withRoles(parts: Parts): Parts {
  const names = Object.keys(parts);
  const files = names.flatMap((name) => DATA.exec(name)?.[1] ?? []);
  const models = names.flatMap((name) => READS.exec(name)?.[1] ?? []);
  if (files.length + models.length === 0) return parts;
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries(parts)) {
    const key = MODEL.exec(name)?.[1];
    const text = name.startsWith("setting ") ? textOf(value) : null;
    if (DATA.test(name)) found[name.replace(DATA, `data ${files.indexOf(DATA.exec(name)![1]!) + 1}: $1`)] = value;
    else if (key && text !== null) found[`reads ${key}: ${text}`] = parts[`reads ${text}`] ?? "";
    else if (READS.test(name)) {
      if (!names.some((other) => MODEL.test(other))) found[name.replace(READS, "reads from: $1")] = value;
    } else if (name === "setting data" || name === "setting path") {
      // They only said where the files lie.
    } else found[name] = text !== null && files.includes(text) ? A_FILE : value;
  }
  return found;
}

/** The text that a setting is, if it is one. */
function textOf(setting: string): string | null {
  return /^".*"$/s.test(setting) ? setting.slice(1, -1).replaceAll('\\"', '"').replaceAll("\\\\", "\\") : null;
}
