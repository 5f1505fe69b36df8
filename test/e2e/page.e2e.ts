/** The chat page in headless Chromium: run with `bun test ./test/e2e/page.e2e.ts`. DAWNGRAD_CHAT=http://127.0.0.1:8080 points the tests that any server can pass at a real one. */
import { afterAll, afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { fakeChatServer } from "../support/fake-chat-server";

setDefaultTimeout(30_000);
const executablePath = process.env.CHROMIUM ?? Bun.which("chromium") ?? undefined;
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const fake = fakeChatServer();
const { script, requests } = fake;
const address = process.env.DAWNGRAD_CHAT ?? fake.address;
const ours = describe.skipIf(process.env.DAWNGRAD_CHAT !== undefined);
const pictures = process.env.DAWNGRAD_PICTURES ?? join(tmpdir(), "dawngrad-pages");
mkdirSync(pictures, { recursive: true });

let context: BrowserContext;
let page: Page;
/** What was asked of any address, and what the browser complained of, in all tests. */
const asked: string[] = [];
const complaints: string[] = [];

async function openPage(path = "/"): Promise<Page> {
  const opened = await context.newPage();
  opened.on("request", (request) => asked.push(request.url()));
  opened.on("pageerror", (error) => complaints.push(String(error)));
  opened.on("console", (message) => {
    if (message.type() === "error" && !message.text().includes("Failed to load resource"))
      complaints.push(message.text());
  });
  await opened.goto(address + path);
  await loaded(opened);
  return opened;
}

const loaded = (on: Page) => on.locator("#about:not(:empty)").waitFor({ state: "attached" });

async function openBrowser(options: Parameters<typeof browser.newContext>[0] = {}): Promise<void> {
  await context?.close();
  context = await browser.newContext({ viewport: { width: 1280, height: 832 }, ...options });
  page = await openPage();
}

beforeEach(async () => {
  fake.reset();
  if (!page) return await openBrowser();
  for (const other of context.pages()) if (other !== page) await other.close();
  await page.evaluate("localStorage.clear()");
  await page.goto("about:blank");
  await page.goto(address);
  await loaded(page);
});
afterEach(() => {
  expect(complaints).toEqual([]);
  const { origin } = new URL(address);
  expect(asked.filter((url) => new URL(url).origin !== origin && !/^(data|blob):/.test(url))).toEqual([]);
});
afterAll(async () => {
  await browser.close();
  fake[Symbol.dispose]();
});

const idle = (on = page) => on.locator("body:not(.busy)").waitFor();
const box = () => page.getByRole("textbox", { name: "Your message" });
const texts = (on = page) => on.locator(".turn .text").evaluateAll((all) => all.map((text) => text.textContent ?? ""));
const meta = () => page.locator(".turn .meta").last().textContent();
const sentence = () => page.locator("#notice p").textContent();
const press = (name: string | RegExp) => page.getByRole("button", { name }).last().click();
const focused = () => page.evaluate("(({ id, name, dataset }) => id || name || dataset.do)(document.activeElement)");
const roles = (at: number) => requests.at(at)!.messages!.map(({ role }) => role);

async function begin(text: string): Promise<void> {
  await box().fill(text);
  await page.keyboard.press("Enter");
}

async function say(text: string): Promise<void> {
  await begin(text);
  await idle();
}

async function started(): Promise<void> {
  await page.locator(".turn.running .text", { hasText: /.{4}/ }).waitFor();
}

/** Words without an end, so that a test can stop them. */
function* endless() {
  for (;;) yield "on and ";
}

describe("a talk", () => {
  test("is answered, kept over a reload, edited, regenerated and deleted", async () => {
    await say("How are you?");
    const [question, answer] = await texts();
    expect(question).toBe("How are you?");
    expect(answer!.length).toBeGreaterThan(0);
    expect(await meta()).toMatch(/context \d+% full/);
    await page.reload();
    expect(await texts()).toEqual([question!, answer!]);
    await press("Regenerate");
    await idle();
    expect((await texts()).length).toBe(2);
    await say("And tomorrow?");
    expect((await texts()).length).toBe(4);
    await page.locator(".turn").first().hover();
    await page.getByRole("button", { name: "Edit" }).first().click();
    expect(await box().inputValue()).toBe("How are you?");
    await say("Who are you?");
    expect((await texts()).length).toBe(2);
    expect((await texts())[0]).toBe("Who are you?");
    await page.getByRole("listitem").first().hover();
    await press("Delete “Who are you?”");
    expect(await texts()).toEqual([]);
    await press("Undo");
    expect((await texts())[0]).toBe("Who are you?");
    await press("New chat");
    await say("Another");
    expect((await texts())[0]).toBe("Another");
    await page.getByRole("link", { name: "Who are you?" }).click();
    expect((await texts())[0]).toBe("Who are you?");
  });

  test("goes on by keyboard alone", async () => {
    expect(await focused()).toBe("input");
    await page.keyboard.type("One");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("two");
    await page.keyboard.press("Enter");
    await idle();
    expect((await texts())[0]).toBe("One\ntwo");
    await page.keyboard.press("ArrowUp");
    expect(await box().inputValue()).toBe("One\ntwo");
    await page.keyboard.press("Escape");
    expect(await box().inputValue()).toBe("");
    await page.keyboard.press("Shift+Tab");
    expect(await focused()).toBe("again");
    await page.keyboard.press("Enter");
    await idle();
    expect((await texts()).length).toBe(2);
    expect(await focused()).toBe("input");
  });

  test("has settings, a look and a file of its own", async () => {
    await press("Settings");
    const dialog = page.getByRole("dialog", { name: "Settings" });
    const fields = await dialog.getByRole("spinbutton").all();
    const values = await Promise.all(fields.map((field) => field.inputValue()));
    expect(values).toEqual(["0.7", "40", "0.9", "0", "1", "150", ""]);
    await dialog.getByRole("textbox", { name: "System text" }).fill("Be brief.");
    await dialog.getByRole("spinbutton", { name: "Most tokens" }).fill("8");
    await dialog.getByRole("spinbutton", { name: "Seed" }).fill("7");
    await page.keyboard.press("Enter");
    await say("Hello");
    const download = page.waitForEvent("download");
    await press("Export");
    const file = Bun.file(await (await download).path());
    const [, answer] = await texts();
    const [system, user] = [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hello" },
    ];
    expect(await file.json()).toEqual({ messages: [system, user, { role: "assistant", content: answer }] });
    const paper = () => page.evaluate("getComputedStyle(document.body).backgroundColor");
    const light = await paper();
    await press("Dark look");
    expect(await paper()).not.toBe(light);
    await page.reload();
    expect(await paper()).not.toBe(light);
    await page.emulateMedia({ colorScheme: "dark" });
    await press("Light look");
    expect(await paper()).toBe(light);
  });

  test("is legible light and dark, and still for who wants it still", async () => {
    await say("Hello");
    const contrasts = `(() => {
      const parse = (color) => color.match(/[0-9.]+/g).slice(0, 3).map(Number);
      const light = (color) => parse(color).map((part) => part / 255).map((part) => (part > 0.04045 ? ((part + 0.055) / 1.055) ** 2.4 : part / 12.92)).reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
      const behind = (element) => { const color = getComputedStyle(element).backgroundColor; return color === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : color; };
      const shown = [...document.querySelectorAll("body *")].filter((element) => element.checkVisibility() && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
      return shown.map((element) => {
        const [low, high] = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => a - b);
        return { text: element.textContent, contrast: (high + 0.05) / (low + 0.05) };
      });
    })()`;
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      const all = await page.evaluate<{ text: string; contrast: number }[]>(contrasts);
      expect(all.length).toBeGreaterThan(12);
      expect(all.filter(({ contrast }) => !(contrast >= 4.5))).toEqual([]);
    }
    await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
    await page.evaluate(`document.querySelector(".turn:last-child").classList.add("running")`);
    const moving = `document.getAnimations().filter(({ playState }) => playState === "running").length`;
    expect(await page.evaluate<number>(moving)).toBe(0);
    await page.emulateMedia({ reducedMotion: "no-preference" });
    expect(await page.evaluate<number>(moving)).toBe(1);
  });

  test("tells its parts to a screen reader", async () => {
    await say("Hello");
    for (const role of ["navigation", "main", "heading", "form"] as const)
      expect(await page.getByRole(role).count()).toBeGreaterThan(0);
    expect(await page.getByRole("article", { name: "You" }).count()).toBe(1);
    expect(await page.getByRole("article", { name: "Answer" }).count()).toBe(1);
    expect(await page.getByRole("status").textContent()).toBe(`Answer: ${(await texts())[1]}`);
    await press("Settings");
    const controls = await page.locator("button, input, textarea, select, a").filter({ visible: true }).all();
    const names = await Promise.all(controls.map((control) => control.ariaSnapshot()));
    expect(names.length).toBeGreaterThan(15);
    expect(names.filter((name) => !/"/.test(name))).toEqual([]);
  });
});

ours("an answer", () => {
  test("comes whole however its bytes are cut", async () => {
    const pieces = ["Grüße, ", "日本", "語 👩‍👩‍👧", "\n\nand  two spaces", "\r\n: data: [DONE]"];
    for (const [cut, newline] of [
      [1, "\r\n"],
      [3, "\n"],
      [2, "\r"],
    ] as const) {
      Object.assign(script, { cut, newline, answer: () => pieces });
      await say("Hello");
      expect((await texts()).at(-1)).toBe(pieces.join(""));
      expect(await sentence()).toBe("");
    }
    expect(requests[0]).toMatchObject({ model: "tales-124m", stream: true, stream_options: { include_usage: true } });
    expect(requests[0]).toMatchObject({
      temperature: 0.7,
      top_k: 40,
      top_p: 0.9,
      min_p: 0,
      repetition_penalty: 1,
      max_tokens: 150,
    });
    expect("seed" in requests[0]!).toBe(false);
    expect(roles(-1)).toEqual(["user", "assistant", "user", "assistant", "user"]);
  });

  test("is stopped by the button and by Esc, and goes on", async () => {
    Object.assign(script, { pause: 5, answer: endless });
    await begin("Talk");
    await started();
    await press("Stop");
    await idle();
    const [, first] = await texts();
    expect(first).toStartWith("on and on");
    expect(await meta()).toBe("stopped");
    await press("Continue");
    await page.locator(".turn.running .text", { hasText: new RegExp(`^.{${first!.length + 10}}`) }).waitFor();
    await page.keyboard.press("Escape");
    await idle();
    expect((await texts())[1]).toStartWith(first!);
    expect(requests[1]).toMatchObject({ continue_final_message: true, add_generation_prompt: false });
    expect(requests[1]!.messages!.at(-1)).toEqual({ role: "assistant", content: first! });
    while (fake.left() < 2) await Bun.sleep(5);
  });

  test("that ended by its length goes on", async () => {
    Object.assign(script, { finish: "length", answer: () => ["one "] });
    await say("Count");
    expect(await meta()).toContain("cut at its length");
    Object.assign(script, { finish: "stop", answer: () => ["two"] });
    await press("Continue");
    await idle();
    expect((await texts())[1]).toBe("one two");
    expect(await page.getByRole("button", { name: "Continue" }).count()).toBe(0);
  });

  test("stays while a new one is asked for in vain", async () => {
    await say("Hello");
    script.failure = { status: 503, message: "The server is shutting down." };
    await press("Regenerate");
    await idle();
    expect(await texts()).toEqual(["Hello", "Hello, you."]);
    expect(await sentence()).toBe("The server is shutting down.");
    script.answer = () => ["New."];
    await press("Retry");
    await idle();
    expect(await texts()).toEqual(["Hello", "New."]);
    expect(requests.map((_, at) => roles(at))).toEqual([["user"], ["user"], ["user"]]);
  });

  test("is text, whatever a model says", async () => {
    const hostile = `<img src=x onerror="document.title='gone'"><script>document.title='gone'</script>[a](https://example.com)`;
    script.answer = () => [hostile, "\n```html\n<b>code</b>\n```\nafter"];
    await say("<b>bold</b>");
    expect((await texts())[0]).toBe("<b>bold</b>");
    expect((await texts()).at(-1)).toContain(hostile);
    expect(await page.locator(".text pre").textContent()).toBe("<b>code</b>\n");
    expect(await page.locator(".text :not(pre)").count()).toBe(0);
    expect(await page.title()).not.toBe("gone");
    await page.reload();
    expect(await page.locator(".text :not(pre)").count()).toBe(0);
  });
});

ours("trouble", () => {
  test("of a full context leaves the oldest turns out, and says from where on", async () => {
    script.answer = () => ["four words to say"];
    for (const question of ["a first and rather long question here", "second long question here"]) await say(question);
    Object.assign(script, { context: 14, answer: () => ["fine"] });
    await say("third");
    expect((await texts()).at(-1)).toBe("fine");
    expect(requests.at(-1)!.messages!.map(({ content }) => content)).toEqual([
      "second long question here",
      "four words to say",
      "third",
    ]);
    expect(await page.locator(".mark + .turn .text").textContent()).toBe("second long question here");
    await page.reload();
    expect(await page.locator(".mark + .turn .text").textContent()).toBe("second long question here");
    script.context = 2;
    await say("this alone is too long");
    expect(await sentence()).toContain("longer than it can see at once");
  });

  test("keeps what was written, and is tried again", async () => {
    Object.assign(script, { answer: endless, breakAfter: 3 });
    await say("Talk");
    expect((await texts())[1]).toBe("on and on and on and ");
    expect(await sentence()).toContain("broke off");
    fake.reset();
    Object.assign(script, { answer: () => ["Half"], complaint: "The engine failed." });
    await press("Retry");
    await idle();
    expect((await texts())[1]).toBe("Half");
    expect(await sentence()).toBe("The engine failed.");
    fake.reset();
    script.failure = { status: 429, message: "Too many are waiting.", retryAfter: 3 };
    await press("Retry");
    await idle();
    expect((await texts())[1]).toBe("Half");
    expect(await sentence()).toBe("Too many are waiting. Try again in 3 s.");
    await context.setOffline(true);
    await press("Retry");
    await idle();
    expect(await sentence()).toBe("The server can't be reached.");
    await context.setOffline(false);
    await press("Retry");
    await idle();
    expect(await texts()).toEqual(["Talk", "Hello, you."]);
    expect(await sentence()).toBe("");
  });

  test("of a key is asked about, and the question is sent again", async () => {
    script.key = "secret";
    await say("Hello");
    expect(await sentence()).toBe("The server wants a key.");
    await press("Enter the key");
    expect(await focused()).toBe("key");
    await page.keyboard.type("secret");
    await page.keyboard.press("Enter");
    await page.locator(".turn").nth(1).waitFor();
    await idle();
    expect(await texts()).toEqual(["Hello", "Hello, you."]);
    expect(requests.at(-1)!.authorization).toBe("Bearer secret");
    await page.reload();
    await say("Again");
    expect((await texts()).length).toBe(4);
    await page.evaluate("localStorage.clear()");
    await page.reload();
    expect(await sentence()).toBe("The server wants a key.");
    await say("Without");
    expect(await sentence()).toBe("The server wants a key.");
    await press("Enter the key");
    await page.keyboard.type("secret");
    await page.keyboard.press("Enter");
    await page.locator(".turn").nth(1).waitFor();
  });

  test("of a full store is told, and the talk goes on", async () => {
    await page.evaluate(`for (let size = 2 ** 22; size >= 1; size /= 2)
      try { for (;;) localStorage.setItem(Math.random(), "x".repeat(size)); } catch {}`);
    await say("Hello");
    await say("Again");
    expect((await texts()).length).toBe(4);
    expect(await sentence()).toContain("no room to keep the chat");
  });

  test("between two tabs loses no chat", async () => {
    await say("Mine");
    const other = await openPage(new URL(page.url()).pathname + new URL(page.url()).hash);
    expect((await texts(other))[0]).toBe("Mine");
    Object.assign(script, { pause: 5, answer: endless });
    await begin("Long");
    await started();
    Object.assign(script, { pause: 0, answer: () => ["Short."] });
    await other.fill("#input", "From the other");
    await other.keyboard.press("Enter");
    await idle(other);
    await page.keyboard.press("Escape");
    await idle();
    await other.reload();
    const chats = await other.evaluate<string[]>("Object.values(localStorage)");
    const ends = chats.map((chat) => JSON.parse(chat).messages.map(({ content }: { content: string }) => content));
    expect(ends.map((messages) => messages.slice(0, 2))).toEqual([
      ["Mine", "Hello, you."],
      ["Mine", "Hello, you."],
    ]);
    expect(ends.map((messages) => messages.at(-1).slice(0, 6)).sort()).toEqual(["Short.", "on and"]);
    expect(await other.getByRole("listitem").count()).toBe(2);
  });
});

ours("models", () => {
  test("are chosen from, and a base model continues the text so far", async () => {
    script.models = [
      { id: "tales", chat_template: true },
      { id: "base", chat_template: false },
    ];
    await page.reload();
    await page.getByRole("combobox", { name: "Model" }).selectOption("base");
    expect(await page.locator("#kind").textContent()).toBe("A base model: it continues what you write.");
    script.answer = () => [" a time", " there was"];
    await say("Once upon");
    await press("Continue");
    await idle();
    await say(" a fox");
    expect(requests.map(({ path }) => path)).toEqual(Array(3).fill("/v1/completions"));
    expect(requests.map(({ prompt }) => prompt)).toEqual([
      "Once upon",
      "Once upon a time there was",
      "Once upon a time there was a time there was a fox",
    ]);
    await page.getByRole("combobox", { name: "Model" }).selectOption("tales");
    await say("Hello");
    expect(requests.at(-1)).toMatchObject({ path: "/v1/chat/completions", model: "tales" });
  });
});

ours("a reader", () => {
  test("who has scrolled up is left in peace, and one at the bottom stays there", async () => {
    script.answer = () => Array.from({ length: 80 }, (_, line) => `line ${line}\n`);
    await say("Hello");
    const place = () =>
      page.evaluate<{ top: number; below: number }>(`(({ scrollTop, scrollHeight, clientHeight }) =>
        ({ top: scrollTop, below: scrollHeight - scrollTop - clientHeight }))(document.querySelector("#talk"))`);
    expect((await place()).below).toBeLessThan(40);
    Object.assign(script, { pause: 5, answer: endless });
    await begin("More");
    await started();
    await page.mouse.move(700, 400);
    const bottom = await place();
    await page.mouse.wheel(0, -600);
    let before = await place();
    while (before.top > bottom.top - 300) before = await place();
    await page.getByRole("button", { name: "Latest" }).waitFor();
    await Bun.sleep(200);
    before = await place();
    await Bun.sleep(300);
    expect((await place()).top).toBe(before.top);
    await press("Latest");
    await Bun.sleep(100);
    expect((await place()).below).toBeLessThan(40);
    await page.keyboard.press("Escape");
    await idle();
  });

  test("composing with an input method does not send", async () => {
    const client = await context.newCDPSession(page);
    await client.send("Input.imeSetComposition", { text: "にほん", selectionStart: 3, selectionEnd: 3 });
    await box().dispatchEvent("keydown", { key: "Enter", isComposing: true });
    await client.send("Input.insertText", { text: "日本" });
    expect(requests.length).toBe(0);
    await page.keyboard.press("Enter");
    await idle();
    expect((await texts())[0]).toBe("日本");
  });

  test("of 200 turns and of an answer of 20,000 characters sees smooth frames", async () => {
    const turn = "Some words of a turn. ".repeat(20);
    const messages = Array.from({ length: 200 }, (_, at) => ({ role: at % 2 ? "assistant" : "user", content: turn }));
    const long = JSON.stringify({ id: "long", revision: "a", updated: 1, model: "", from: 0, messages });
    await page.evaluate(`localStorage.setItem("dawngrad.chat.long", ${JSON.stringify(long)}); location.hash = "long";`);
    await page.locator(".turn").nth(199).waitFor();
    const pieces = Array.from({ length: 2000 }, (_, at) => (at % 40 ? "ten chars " : "new line.\n"));
    Object.assign(script, { pause: 1, answer: () => pieces });
    await page.evaluate(`var seen = [];
      requestAnimationFrame(function frame(now) { seen.push(now); requestAnimationFrame(frame); });`);
    await say("A long one, please");
    const seen = await page.evaluate<number[]>("seen");
    expect((await texts()).at(-1)!.length).toBe(20_000);
    const gaps = seen
      .slice(1)
      .map((at, index) => at - seen[index]!)
      .sort((a, b) => a - b);
    const [middle, most] = [gaps[gaps.length >> 1]!, gaps[Math.floor(gaps.length * 0.95)]!];
    expect(middle).toBeLessThan(34);
    expect(most).toBeLessThan(100);
  });

  test("sees it light and dark, wide and narrow", async () => {
    const tale =
      "Once there was a little fox who lived at the edge of a quiet wood. Every night she curled up in her den, and every night the stars kept her awake.\n\n“Why are you so bright?” she asked them.\n\nThe smallest star thought about it for a while. “So that you can find your way home,” it said.";
    const morning =
      "She saw the whole hill covered in snow, and a thin line of gold where the sun was coming up. Her own footprints led from the wood to the den, and she laughed.";
    for (const [width, height] of [
      [1280, 832],
      [390, 844],
    ] as const)
      for (const colorScheme of ["light", "dark"] as const) {
        await openBrowser({ viewport: { width, height }, colorScheme });
        await page.screenshot({ path: join(pictures, `${width}-${colorScheme}-empty.png`) });
        for (const [question, answer] of [
          ["Why do cats purr?", "Because."],
          ["What is the sea made of?", "Of salt."],
          ["Tell me a story about a fox who can't sleep.", tale],
        ] as const) {
          Object.assign(script, { pause: 2, answer: () => answer.match(/\s*\S+/g)! });
          await page.evaluate("document.getElementById('new').click()");
          await say(question);
        }
        script.answer = () => morning.match(/\s*\S+/g)!;
        await say("And what did she see in the morning?");
        expect(await page.evaluate<number>("document.documentElement.scrollWidth")).toBe(width);
        await page.screenshot({ path: join(pictures, `${width}-${colorScheme}.png`) });
      }
  });
});
