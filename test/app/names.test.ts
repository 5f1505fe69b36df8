/** A name is looked up among the names that there are, and never among JavaScript's own. */
import { describe, expect, test } from "bun:test";
import { checkConfig } from "../../src/app/config-file";
import { findFile } from "../../src/app/embedded";
import { isDataSet, locateModel } from "../../src/app/locate";
import { convert } from "../../src/data/formats";
import { templateFile, templateFor } from "../../src/data/template-for";
import { dataSetOf } from "../../src/hub/datasets";
import { isHubName } from "../../src/hub/fetch";
import { trainCharacters } from "../../src/text/characters";
import { tokenizerFrom } from "../../src/text/tokenizer";
import { trainWords, wordsOf } from "../../src/text/words";
import { silent } from "../support/console";

describe.each(["constructor", "toString", "__proto__", "hasOwnProperty", "valueOf"])("%s", (name) => {
  test("is no file, data set, model or template", async () => {
    expect(findFile(name)).toBe(name);
    expect(isDataSet(name)).toBe(false);
    expect(dataSetOf(name)).toBe(undefined);
    expect(isHubName(name)).toBe(false);
    await expect(locateModel(name, silent)).rejects.toThrow(`no model at ${name}`);
    const tokenizer = tokenizerFrom(trainCharacters(["abc"]));
    expect(() => templateFor(name, "messages", tokenizer)).toThrow(`there is no chat template ${name}`);
    expect(() => templateFile(name)).toThrow(`there is no chat template ${name}`);
  });
  test("is no key, preset, kind or stage of a config", () => {
    const refusal = (config: string) => {
      try {
        checkConfig(JSON.parse(config));
        return "it was taken";
      } catch (error) {
        return (error as Error).message;
      }
    };
    const stage = '"stage": [{"kind": "pretrain", "data": "x", "optim": {"steps": 1}}]';
    expect(refusal(`{"${name}": 1, ${stage}}`)).toBe(`${name}: unknown key`);
    expect(refusal(`{"model": {"${name}": 1}, ${stage}}`)).toBe(`model.${name}: unknown key`);
    expect(refusal(`{"stage": [{"kind": "pretrain", "data": "x", "optim": {"steps": 1, "${name}": {}}}]}`)).toContain(
      name,
    );
    expect(refusal(`{"model": {"preset": "${name}"}, ${stage}}`)).toMatch(/^model\.preset: /);
    expect(refusal(`{"stage": [{"kind": "${name}"}]}`)).toMatch(/^stage\[0\]\.kind: /);
    expect(refusal(`{${stage}, "result": "${name}"}`)).toContain(`there is no stage ${name}`);
  });
  test("is no role of a message", () => {
    const messages = [
      { role: name, content: "a" },
      { role: "assistant", content: "b" },
    ];
    const { samples, bad } = convert([{ fields: { messages }, where: "x" }], "messages", {
      paths: "best",
      lang: "",
      quality: 0,
    });
    expect(samples).toEqual([]);
    expect(bad[0]!.problem).toContain(`turn 1 has the role "${name}"`);
  });
  test("is made of words like any other", () => {
    const words = tokenizerFrom(trainWords([`${name} a ${name} a `.repeat(5)], { size: 20 }));
    expect(words.encode(name).map(words.token)).toEqual(wordsOf(name));
    expect(words.encode("prototype").map(words.token)).toEqual(["<|unk|>"]);
  });
});
