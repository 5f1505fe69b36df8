/** Writes what is generated from the schemas and the sources: docs/config.md, docs/papers.md, configs/schema.json and configs/suite-schema.json. With --check, only compares. */
import { z } from "zod";
import { configSchema } from "../src/app/config";
import { suiteSchema } from "../src/app/suite";
import { papers } from "./papers";

interface Node {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly exclusiveMaximum?: number;
}

const schema = z.toJSONSchema(configSchema, { io: "input" }) as Node;
const suite = z.toJSONSchema(suiteSchema, { io: "input" }) as Node;

function typeOf(node: Node): string {
  if (node.const !== undefined) return JSON.stringify(node.const);
  if (node.enum) return node.enum.map((value) => JSON.stringify(value)).join(", ");
  const options = node.anyOf ?? node.oneOf;
  if (options) return options.map(typeOf).join(" or ");
  if (node.type === "array") return `list of ${typeOf(node.items ?? {})}`;
  const bounds = [
    node.minimum !== undefined && `>= ${node.minimum}`,
    node.exclusiveMinimum !== undefined && `> ${node.exclusiveMinimum}`,
    node.maximum !== undefined && Math.abs(node.maximum) < 2 ** 53 - 1 && `<= ${node.maximum}`,
    node.exclusiveMaximum !== undefined && `< ${node.exclusiveMaximum}`,
  ].filter(Boolean);
  return [node.type ?? "any", ...bounds].join(" ");
}

/** Rows of the keys under a table, nested tables behind their parents. */
function rowsOf(node: Node, path: string): string[] {
  const options = node.anyOf ?? node.oneOf ?? [];
  const variants = options.length > 0 && options.every(({ properties }) => properties) ? options : [node];
  const rows: string[] = [];
  for (const variant of variants) {
    for (const [key, field] of Object.entries(variant.properties ?? {})) {
      const at = path ? `${path}.${key}` : key;
      const inner = field.items?.oneOf || field.items?.properties ? field.items : field;
      const name = inner === field ? at : `${at}[]`;
      const nested = rowsOf(inner, name);
      if (nested.length) rows.push(...nested);
      else {
        const needed = variant.required?.includes(key) && field.const === undefined;
        const fallback =
          field.default === undefined ? (needed ? "required" : "") : `\`${JSON.stringify(field.default)}\``;
        rows.push(`| \`${name}\` | ${typeOf(field)} | ${fallback} | ${field.description ?? ""} |`);
      }
    }
  }
  return rows;
}

const markdown = `# Every key of a config

Generated from the schemas by \`npm run docs\`. A config is a TOML file; \`--set path=value\` overrides a key, with list
items by number, such as \`--set stage.0.optim.lr=1e-4\`. Editors complete and check it by \`configs/schema.json\`.

| key | type | default | what it does |
| --- | --- | --- | --- |
${rowsOf(schema, "").join("\n")}

## Every key of a suite

What \`dawngrad eval SUITE.toml\` reads; see [evaluation](evaluation.md). Editors complete and check it by \`configs/suite-schema.json\`.

| key | type | default | what it does |
| --- | --- | --- | --- |
${rowsOf(suite, "").join("\n")}
`;

/** The files of the program that name a paper, in the order of their paths. */
async function sources(): Promise<readonly (readonly [path: string, text: string])[]> {
  const paths = [...new Bun.Glob("{src,kernels}/**/*.{ts,wgsl}").scanSync()].sort();
  return Promise.all(paths.map(async (path) => [path, await Bun.file(path).text()] as const));
}

async function papersPage(): Promise<string> {
  const files = await sources();
  const listed = new Set(Object.values(papers).flatMap((rows) => rows.map(([place]) => place)));
  for (const [path, text] of files)
    for (const [, number] of text.matchAll(/arxiv(?:\.org\/abs\/| )(\d{4}\.\d{4,5})/gi))
      if (!listed.has(number!)) throw new Error(`${path} names arXiv ${number}, which scripts/papers.ts does not have`);
  const groups = Object.entries(papers).map(([group, rows]) => {
    const lines = rows.map(([place, title]) => {
      const naming = files.map(([path, text]) => (text.includes(place) ? path : "")).filter(Boolean);
      // A kernel stands beside the file that launches it.
      const src = naming.filter((path) => path.startsWith("src"));
      const shown = src.length > 0 ? src : naming;
      if (shown.length === 0) throw new Error(`no file names ${place}, ${title}`);
      const address = place.startsWith("http") ? place : `https://arxiv.org/abs/${place}`;
      return `| [${title}](${address}) | ${shown.map((path) => `[${path}](../${path})`).join(", ")} |`;
    });
    return `## ${group}\n\n| paper | files |\n| --- | --- |\n${lines.join("\n")}\n`;
  });
  return `# Papers, and the files that implement them

Every paper that the code names, with the files where its equation or algorithm stands; generated by \`npm run docs\`. What to use when: [methods](methods/README.md).

${groups.join("\n")}`;
}

const outputs: [string, string][] = [
  ["docs/config.md", markdown],
  ["docs/papers.md", await papersPage()],
  ["configs/schema.json", `${JSON.stringify(schema, null, 2)}\n`],
  ["configs/suite-schema.json", `${JSON.stringify(suite, null, 2)}\n`],
];
let stale = 0;
for (const [path, text] of outputs) {
  if (!process.argv.includes("--check")) await Bun.write(path, text);
  else if (!(await Bun.file(path).exists()) || (await Bun.file(path).text()) !== text) {
    console.error(`${path} is not what the sources say: run \`npm run docs\``);
    stale++;
  }
}
process.exit(stale ? 1 : 0);
