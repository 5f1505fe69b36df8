/** A chat in a real terminal: what is typed, pasted, erased and interrupted. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../support/folder";
import { writeToy } from "../support/talking";

const folder = temporaryFolder();
beforeAll(() => writeToy(join(folder.path, "toy"), { slow: true }));
afterAll(() => folder[Symbol.dispose]());

/** A chat in a terminal of its own. */
function open(...more: readonly string[]) {
  let text = "";
  const child = Bun.spawn(
    [
      process.execPath,
      "src/main.ts",
      "chat",
      "--model",
      join(folder.path, "toy"),
      "--device",
      "cpu",
      "--seed",
      "1",
      ...more,
    ],
    {
      env: {
        ...process.env,
        XDG_STATE_HOME: join(folder.path, "state"),
        EDITOR: "sed -i s/before/after/",
        VISUAL: "",
        TERM: "xterm-256color",
      },
      terminal: {
        cols: 100,
        rows: 30,
        data(_terminal, data) {
          text += new TextDecoder().decode(data);
        },
      },
    },
  );
  return {
    child,
    get text() {
      return text;
    },
    send: (keys: string) => void child.terminal!.write(keys),
    /** Waits until the terminal has shown something since the last wait. */
    async until(wanted: string | RegExp) {
      const end = performance.now() + 20_000;
      for (;;) {
        const found = typeof wanted === "string" ? (text.includes(wanted) ? wanted : null) : text.match(wanted)?.[0];
        if (found) {
          text = text.slice(text.indexOf(found) + found.length);
          return found;
        }
        if (performance.now() > end) throw new Error(`${wanted} was not shown: ${JSON.stringify(text)}`);
        await Bun.sleep(10);
      }
    },
    [Symbol.dispose]: () => child.kill("SIGKILL"),
  };
}

/** By when it was changed: names of one second do not sort. */
const newest = () => {
  const chats = join(folder.path, "state/dawngrad/chats");
  const paths = [...new Bun.Glob("*.json").scanSync(chats)].map((name) => join(chats, name));
  const last = paths.reduce((a, b) => (statSync(b).mtimeMs > statSync(a).mtimeMs ? b : a));
  return JSON.parse(readFileSync(last, "utf8"));
};
const questions = () =>
  newest()
    .messages.filter(({ role }: { role: string }) => role === "user")
    .map(({ content }: { content: string }) => content);

describe.if(process.platform !== "win32")("in a terminal", () => {
  test("a page is one message, a character is erased whole, a line is edited in an editor, and all is remembered", async () => {
    using chat = open("--max-tokens", "5");
    await chat.until("Ctrl-D leaves");
    await chat.until("> ");
    chat.send("\x1b[200~one\ntwo\tx\x1b[201~");
    await chat.until("one⏎two x");
    chat.send("\r");
    await chat.until("first after");
    chat.send("日本👨‍👩‍👧‍👦");
    await Bun.sleep(100);
    chat.send("\x7f\x7f");
    await Bun.sleep(100);
    chat.send("語\r");
    await chat.until("first after");
    chat.send("what was before");
    await chat.until("before");
    chat.send("\x07");
    await chat.until("what was after");
    chat.send("\r");
    await chat.until("first after");
    chat.send("a line\x03");
    await Bun.sleep(100);
    chat.send("last\x1b\rline\r");
    await chat.until("first after");
    const asked = ["one\ntwo x", "日語", "what was after", "last\nline"];
    // What is told of a turn stands there before it is kept.
    for (let i = 0; i < 100 && questions().length < asked.length; i++) await Bun.sleep(50);
    expect(questions()).toEqual(asked);
    chat.send("\x04");
    expect(await chat.child.exited).toBe(0);
    // Pastes are no longer marked for who comes next.
    expect(chat.text).toContain("\x1b[?2004l");
    const history = join(folder.path, "state/dawngrad/history");
    expect(readFileSync(history, "utf8").split("\n").slice(0, 2)).toEqual(["last⏎line", "what was after"]);
    expect(statSync(history).mode & 0o777).toBe(0o600);
  });

  test("Ctrl-C stops an answer and not the chat; a second one leaves", async () => {
    using chat = open("--max-tokens", "100000", "--temperature", "0");
    await chat.until("Ctrl-D leaves");
    chat.send("\x1b[A");
    await chat.until("last⏎line");
    chat.send("\x03Hello\r");
    await chat.until(/Hello\r+\n.{40}/s);
    chat.send("\x03");
    await chat.until("stopped, ");
    chat.send("/memory\r");
    await chat.until("of 2048 tokens");
    chat.send("\x03");
    await chat.until("Ctrl-C once more");
    chat.send("\x03");
    expect(await chat.child.exited).toBe(0);
  });

  test("a signal from outside leaves the terminal as it was", async () => {
    using chat = open();
    await chat.until("Ctrl-D leaves");
    await chat.until("> ");
    chat.child.kill("SIGTERM");
    expect(await chat.child.exited).toBe(143);
    expect(chat.text).toContain("\x1b[?2004l");
  });
});

test("a pipe has answers on its output, and everything else on its errors", async () => {
  const child = Bun.spawn(
    [
      process.execPath,
      "src/main.ts",
      "chat",
      "--model",
      join(folder.path, "toy"),
      "--device",
      "cpu",
      "--seed",
      "1",
      "--continue",
      "--max-tokens",
      "5",
    ],
    {
      env: { ...process.env, XDG_STATE_HOME: join(folder.path, "state") },
      stdin: new Blob(["Hello\n\n/nope\n//slash\n/quit\nnot asked\n"]),
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect(await child.exited).toBe(0);
  const { messages } = newest();
  const answers = messages
    .slice(-4)
    .flatMap((message: { content: string }, i: number) => (i % 2 ? [message.content] : []));
  expect(out.replace(/\s+/g, " ").trim()).toBe(answers.join(" ").replace(/\s+/g, " ").trim());
  expect(messages.slice(-4).map(({ content }: { content: string }) => content)).toMatchObject({
    0: "Hello",
    2: "/slash",
  });
  expect(err).toContain("error: there is no command /nope");
  expect(existsSync(join(folder.path, "state/dawngrad/history"))).toBe(true);
});
