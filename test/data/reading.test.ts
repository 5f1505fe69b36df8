/** Data files as they are found: any line end, delimiter, nesting, compression, mark or pipe, each read right or refused in words. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { isTooDeep } from "../../src/data/json";
import { readRows } from "../../src/data/rows";
import { loadSamples } from "../../src/data/samples";
import { UserError } from "../../src/errors";
import { temporaryFolder } from "../support/folder";

const trees = { paths: "best", lang: "", quality: 0 } as const;
const table = (text: string, ending: string) => text.replaceAll("|", ending);

async function inFile<T>(name: string, content: string | Uint8Array, use: (path: string) => Promise<T>): Promise<T> {
  using folder = temporaryFolder();
  const path = join(folder.path, name);
  writeFileSync(path, content);
  return await use(path);
}

/** Every row as [line or record, fields], and what is bad. */
async function read(name: string, content: string | Uint8Array) {
  return inFile(name, content, async (path) => {
    const { rows, bad } = await readRows(path);
    const short = (where: string) => where.replace(`${path}:`, "").replace(`${path}, `, "");
    return {
      rows: rows.map(({ fields, where }) => [short(where), fields]),
      bad: bad.map(({ where, problem }) => `${short(where)}: ${problem}`),
    };
  });
}

/** What each sample says, by its place; or the sentence by which the file is refused. */
async function said(name: string, content: string | Uint8Array): Promise<string[] | string> {
  return inFile(name, content, async (path) => {
    try {
      const { samples, bad } = await loadSamples(path, { trees, strict: false, name });
      return [
        ...samples.map((sample) => {
          const texts = sample.kind === "messages" ? sample.messages.map(({ content }) => content) : [sample.kind];
          return `${sample.where}: ${texts.join(" > ")}`;
        }),
        ...bad.map(({ where, problem }) => `${where}: ${problem}`),
      ];
    } catch (error) {
      if (error instanceof UserError) return error.message;
      throw error;
    }
  });
}

describe("tables", () => {
  const two = [
    ["2", { instruction: "a", output: "b" }],
    ["3", { instruction: "c", output: "d" }],
  ];
  test.each([
    ["a header of CR LF and rows of LF", "instruction,output\r\na,b\nc,d\n"],
    ["a header of LF and rows of CR LF", "instruction,output\na,b\r\nc,d\r\n"],
    ["CR alone", "instruction,output\ra,b\rc,d\r"],
    ["every line end at once", "instruction,output\ra,b\r\nc,d\n"],
    ["no line end behind the last row", "instruction,output\r\na,b\r\nc,d"],
    ["a mark, blanks round the names, and empty rows behind", "\ufeffinstruction, output\na,b\nc,d\n\n,\n"],
  ])("with %s", async (_name, text) => {
    expect(await read("x.csv", text)).toEqual({ rows: two as never, bad: [] });
  });
  test.each([
    ["x.csv", ";"],
    ["x.csv", "\t"],
    ["x.tsv", "\t"],
    ["X.TSV", "\t"],
    ["x.CSV", ","],
    ["x.csv", "|"],
  ])("%s between %j", async (name, delimiter) => {
    expect((await read(name, table("instruction|output\na|b\nc|d\n", delimiter))).rows).toEqual(two as never);
  });
  test("are told by the line that a row begins in, whatever is in its cells and between rows", async () => {
    const text = 'instruction,output\r\n"a\r\nb\rc",d\r\n\r\ne,f,g\r\nh,"i"\r\n';
    expect(await read("x.csv", text)).toEqual({
      rows: [
        ["2", { instruction: "a\r\nb\rc", output: "d" }],
        ["7", { instruction: "h", output: "i" }],
      ] as never,
      bad: ["6: it has 3 cells, and the table has 2 columns"],
    });
  });
  test("between tabs have quotes as they are, where they are none round cells", async () => {
    expect((await read("x.tsv", 'text\tn\nsay "hi"\t1\n"no" way\t2\n')).rows).toEqual([
      ["2", { text: 'say "hi"', n: "1" }],
      ["3", { text: '"no" way', n: "2" }],
    ]);
    expect((await read("x.tsv", 'text\tn\n"a\tb"\t1\n')).rows).toEqual([["2", { text: "a\tb", n: "1" }]]);
    await expect(read("x.tsv", 'text\tn\nsay "hi"\t1\nb\tc\td\n')).rejects.toThrow(/broken CSV/);
  });
  test.each([
    ["a first line that names what is between cells", 'sep=;\r\ninstruction;output\r\na;"b, ""c"""\r\n', "a", 3],
    ["any other character between cells", '\ufeffsep=~\ninstruction~output\na~"b, ""c"""\n', "a", 3],
    ["backslashes before quotes", 'instruction,output\n"a\nd","b, \\"c\\""\n', "a\nd", 2],
    ["blanks before quotes", 'instruction, output\n"a", "b, ""c"""\n', "a", 2],
  ])("with %s", async (_name, text, instruction, line) => {
    expect(await read("x.csv", text)).toEqual({
      rows: [[String(line), { instruction, output: 'b, "c"' }]] as never,
      bad: [],
    });
  });
  test("with quotes that fit no way of writing them are refused", async () => {
    await expect(read("x.csv", 'text,n\n"a \\" b",1\n"c" d,2\n')).rejects.toThrow(/broken CSV/);
    await expect(read("x.csv", 'text,n\n"a,1\nb,2\n')).rejects.toThrow(/broken CSV/);
  });
  test("with a cell of many characters", async () => {
    const long = "x".repeat(300_000);
    expect((await read("x.csv", `text\n${long}\n`)).rows).toEqual([["2", { text: long }]]);
  });
  test("with two columns of one name are refused, and a column of none is told by its place", async () => {
    expect(await said("x.csv", "instruction,output,output\na,b,c\n")).toBe("x.csv has two columns named output");
    expect((await read("x.csv", ",text,\n0,a,\n")).rows).toEqual([
      ["2", { "column 1": "0", text: "a", "column 3": "" }],
    ]);
  });
  test("have lists in their cells as JSON", async () => {
    const turns = (...texts: string[]) =>
      JSON.stringify(texts.map((content, i) => ({ role: i % 2 ? "assistant" : "user", content }))).replaceAll(
        '"',
        '""',
      );
    expect(await said("x.csv", `messages,id\n"${turns("a", "b")}",1\n[broken,2\n`)).toEqual([
      "x.csv:2: a > b",
      "x.csv:3: messages is not a list",
    ]);
    const answer = JSON.stringify([{ role: "assistant", content: "b" }]).replaceAll('"', '""');
    expect(await said("x.csv", `prompt,completion\n"${turns("a")}","${answer}"\n`)).toEqual(["x.csv:2: a > b"]);
    expect(await said("x.csv", 'instruction,output\na,"[1, 2]"\n')).toEqual(["x.csv:2: a > [1, 2]"]);
    expect(await said("x.csv", 'prompt,completion\n[1],"[{""role"": 1, ""content"": 2}]"\n')).toEqual([
      "x.csv:2: completion",
    ]);
  });
});

describe("JSON", () => {
  const [a, c] = [
    { instruction: "a", output: "b" },
    { instruction: "c", output: "d}{" },
  ];
  const pretty = (value: unknown) => JSON.stringify(value, null, 2);
  const records = ["x, record 1: a > b", "x, record 2: c > d}{"];
  const named = (name: string, lines: readonly string[]) => lines.map((line) => line.replace("x", name));
  test.each(["x.json", "x.jsonl", "x.ndjson", "X.JSON", "x.JsonL"])("a list in %s", async (name) => {
    for (const text of [JSON.stringify([a, c]), pretty([a, c]), `\ufeff\n${pretty([a, c])}\n`])
      expect(await said(name, text)).toEqual(named(name, records));
  });
  test("an object with one list of records, however deep", async () => {
    const found = [`x.json: data, record 1: a > b`, `x.json: data, record 2: c > d}{`];
    for (const make of [pretty, JSON.stringify]) {
      expect(await said("x.json", make({ version: 1, tags: ["x"], data: [a, c] }))).toEqual(found);
      expect(await said("x.json", make({ info: { by: "me" }, all: { train: [a] } }))).toEqual([
        "x.json: all.train, record 1: a > b",
      ]);
    }
  });
  test("an object with several lists, or none, is refused with what was found", async () => {
    expect(await said("x.json", pretty({ train: [a, c], test: [a] }))).toBe(
      "x.json is an object with 2 lists of records: train (2), test (1)",
    );
    expect(await said("x.json", pretty({ version: 1, data: [{ x: 1 }] }))).toBe(
      "x.json:1 has the fields version, data, which is no known format",
    );
  });
  test("one object over many lines is a record, also where it has a list", async () => {
    expect(await said("x.json", pretty(a))).toEqual(["x.json:1: a > b"]);
    const messages = [
      { role: "user", content: "a" },
      { role: "assistant", content: "b" },
    ];
    expect(await said("x.jsonl", `\n${pretty({ messages })}`)).toEqual(["x.jsonl:2: a > b"]);
  });
  test("objects over many lines, one behind another", async () => {
    const found = ["x.json:1: a > b", "x.json:5: c > d}{", "x.json:6: a > b"];
    expect(await said("x.json", `${pretty(a)}\n${JSON.stringify(c)}\n${pretty(a)}`)).toEqual(found);
    expect(await said("x.jsonl", `${JSON.stringify(a)}\n${pretty(c)}`)).toEqual([
      "x.jsonl:1: a > b",
      "x.jsonl:2: c > d}{",
    ]);
  });
  test("lines of any end, each with a mark or none", async () => {
    const [first, second] = [JSON.stringify(a), JSON.stringify(c)];
    for (const ending of ["\n", "\r\n", "\r"])
      expect(await said("x.jsonl", `\ufeff${first}${ending}\ufeff${second}${ending}`)).toEqual([
        "x.jsonl:1: a > b",
        "x.jsonl:2: c > d}{",
      ]);
  });
  test("that is broken is never read as the few lines of it that are whole", async () => {
    const [first, last] = [pretty(a), JSON.stringify(c)];
    expect(await said("x.jsonl", `[\n${last},\n${last},\n${last}\n`)).toMatch(
      /^x\.jsonl:5: broken JSON: close bracket/,
    );
    expect(await said("x.json", `${first.slice(0, -2)}\n${last}\n`)).toMatch(/^x\.json:\d: broken JSON: /);
    expect(await said("x.jsonl", `${last}\n{"instruction": "cut\n${last}\n`)).toEqual([
      "x.jsonl:1: c > d}{",
      "x.jsonl:3: c > d}{",
      "x.jsonl:2: broken JSON: Unterminated string",
    ]);
  });
  test("of 300,000 brackets is one sentence", async () => {
    const many = 300_000;
    expect(await said("x.json", "[".repeat(many))).toBe("x.json: broken JSON, nested too deeply to say where");
    expect(await said("x.json", "[".repeat(many) + "]".repeat(many))).toBe(
      "x.json has no record: expected an object, got a list of 1",
    );
    const deep = `{"messages": ${"[".repeat(many)}${"]".repeat(many)}}`;
    expect(await said("x.jsonl", `${JSON.stringify(a)}\n${deep}\n`)).toEqual([
      "x.jsonl:1: a > b",
      "x.jsonl:2: it is nested more than 1000 levels deep",
    ]);
    expect(await said("x.csv", `messages\n"${"[".repeat(many)}${"]".repeat(many)}"\n`)).toMatch(
      /messages is not a list$/,
    );
  });
});

test("a name that an object has twice is told, and no value of the two is taken", async () => {
  const twice = '{"text": "a: \\"text\\": {", "more": {"x": 1, "x": 2}}';
  expect(await read("a.jsonl", `{"text": "one"}\n${twice}\n{"a": [{"text": 1}], "text": "\\"text\\": 2"}\n`)).toEqual({
    rows: [
      ["1", { text: "one" }],
      ["3", { a: [{ text: 1 }], text: '"text": 2' }],
    ],
    bad: ['2: it has the field "x" twice'],
  });
  expect(await read("a.json", `${twice}\n\n{"text": "b"}`)).toEqual({
    rows: [["3", { text: "b" }]],
    bad: ['1: it has the field "x" twice'],
  });
  expect((await read("a.jsonl", '{"a" : 1, "a": 2}\n{"text" : "\\"a\\":"}')).bad).toEqual([
    '1: it has the field "a" twice',
  ]);
  await expect(read("a.json", `[{"text": "one"}, ${twice}]`)).rejects.toThrow(
    'a.json has an object with the field "x" twice',
  );
});

describe("a file", () => {
  const line = '{"text": "a"}\n';
  test("without an ending is known by how it begins, a data set by its file", async () => {
    expect(await said("x", line)).toEqual(["x:1: text"]);
    expect(await said("x", gzipSync(line))).toEqual(["x:1: text"]);
    expect(await said("x.gz", gzipSync("text\na\n"))).toEqual(["x.gz:2: text"]);
    expect(await said("x", readFileSync("test/golden/messages-snappy.parquet"))).toHaveLength(300);
    expect(await said("x.JSONL.GZ", gzipSync(line))).toEqual(["x.JSONL.GZ:1: text"]);
    const { rows } = await inFile("y.jsonl", line, (path) => readRows(path, "a-data-set"));
    expect(rows).toEqual([{ fields: { text: "a" }, where: "a-data-set:1" }]);
  });
  test("that is empty but for blanks and marks says so", async () => {
    for (const name of ["x.jsonl", "x.json", "x.csv", "x.tsv", "x.txt", "x"])
      for (const text of ["", "\ufeff", " \r\n\t\n", "\ufeff \n"])
        expect(await said(name, text)).toBe(`${name} is empty`);
  });
  test("in UTF-16 is told to be that, with a mark or without", async () => {
    const text = "instruction,output\na,b\n";
    expect(await said("x.csv", Buffer.from(`\ufeff${text}`, "utf16le"))).toBe(
      "x.csv is not text in UTF-8: it begins with the byte-order mark of UTF-16",
    );
    const bare = await inFile("x.csv", Buffer.from(text, "utf16le"), (path) => readRows(path).catch((error) => error));
    expect([bare.message.replace(/.*\//, ""), bare.hint]).toEqual([
      "x.csv is not text in UTF-8: it holds a NUL character, the first in line 1",
      "convert it first: iconv -f UTF-16LE -t UTF-8",
    ]);
  });
  test("gzipped in several parts is read to its end, and one that is made to fill the memory is not", async () => {
    expect(await said("x.jsonl.gz", Buffer.concat([gzipSync(line), gzipSync(line)]))).toHaveLength(2);
    const blanks = Buffer.concat(new Array(70).fill(gzipSync(Buffer.alloc(2 ** 20, " "))));
    expect(await said("x.jsonl.gz", blanks)).toMatch(
      /^x\.jsonl\.gz has more than 67108864 bytes when it is unpacked, and \d+ before$/,
    );
  });
  test("that is a folder is refused, whatever its name", async () => {
    using folder = temporaryFolder();
    for (const name of ["x.jsonl", "x.parquet", "x", "x.d"]) {
      const path = join(folder.path, name);
      mkdirSync(path);
      await expect(readRows(path)).rejects.toThrow(`${path} cannot be read: it is a folder`);
    }
  });
});

test("whatever a file holds, it is read or refused in words", async () => {
  const piece = fc.constantFrom(
    ...'{}[],:"\\\n\r\t;'.split(""),
    ...[
      '"messages"',
      '"role"',
      '"user"',
      '"text"',
      "null",
      "1e999",
      "text",
      "a",
      "\ufeff",
      "\0",
      "message_id",
      "parent_id",
    ],
    ...['"prompt"', '"replies"', '"message_tree_id"', "__proto__", "instruction,output\n", '{"text":"a"}\n', "true"],
  );
  const anyText = fc.oneof(
    fc.array(piece, { maxLength: 40 }).map((parts) => parts.join("")),
    fc.json({ maxDepth: 5 }),
    fc
      .dictionary(
        fc.constantFrom(
          "prompt",
          "completion",
          "messages",
          "message_tree_id",
          "message_id",
          "parent_id",
          "role",
          "text",
        ),
        fc.jsonValue(),
      )
      .map((fields) => JSON.stringify(fields)),
  );
  const name = fc.constantFrom("x.json", "x.jsonl", "x.csv", "x.tsv", "x.txt", "x");
  await fc.assert(
    fc.asyncProperty(name, anyText, async (name, text) => {
      await said(name, text);
    }),
    { seed: 12, numRuns: 600 },
  );
}, 30_000);

test("half of the lines may be broken, and braces behind an escaped quote are text", async () => {
  expect(await read("x.jsonl", '{"a": 1}\n{"a":\n')).toMatchObject({
    rows: [["1", { a: 1 }]],
    bad: [expect.stringContaining("2: broken JSON")],
  });
  const text = '{\n"a": "x\\"} {"\n}\n{\n"a": 2\n}';
  expect(await read("x.json", text)).toEqual({
    rows: [
      ["1", { a: 'x"} {' }],
      ["4", { a: 2 }],
    ],
    bad: [],
  });
});

test("levels are counted, and so many are not too many", () => {
  expect([0, 1, 2].map((levels) => isTooDeep({ a: { b: 1 } }, levels))).toEqual([true, true, false]);
});

test("of delimiters that part a header alike, the one of the ending is taken", async () => {
  expect((await read("x.csv", "a,b;c\n1,2;3\n")).rows).toEqual([["2", { a: "1", "b;c": "2;3" }]]);
  expect((await read("x.tsv", "a\tb,c\n1\t2,3\n")).rows).toEqual([["2", { a: "1", "b,c": "2,3" }]]);
});
