/** Who may ask. */
import { expect, test } from "bun:test";
import { guard } from "../../src/server/guard";
import { CHAT, say, served } from "../support/served";
import { toySpeaker } from "../support/talking";

const body = JSON.stringify({ messages: say("hello"), max_tokens: 2 });
const HEADER = "access-control-allow-origin";

test("on loopback without a key other names and other sites' pages are refused", async () => {
  await using server = served();
  const ask = (headers: Record<string, string>, path = CHAT) =>
    fetch(server.address + path, { method: "POST", body, headers }).then(({ status }) => status);
  const { port } = new URL(server.address);
  expect(await ask({})).toBe(200);
  expect(await ask({ host: `localhost:${port}` })).toBe(200);
  expect(await ask({ host: `LOCALHOST:${port}`, origin: `http://localhost:${port}` })).toBe(200);
  for (const host of ["evil.example", `evil.example:${port}`, "127.0.0.1.evil.example", "localhost.evil.example"])
    expect(await ask({ host }), host).toBe(403);
  for (const origin of ["https://evil.example", "null", "http://localhost:1", "http://localhost.evil.example"])
    expect(await ask({ origin }), origin).toBe(403);
  expect((await fetch(`${server.address}/v1/models`, { headers: { host: "evil.example" } })).status).toBe(403);
  const response = await fetch(server.address + CHAT, {
    method: "OPTIONS",
    headers: { origin: "https://evil.example" },
  });
  expect(response.headers.get(HEADER)).toBeNull();
});

test("a key is needed for everything but the page and the health, and never told", async () => {
  await using server = served(undefined, { key: "a secret" });
  const status = async (path: string, authorization?: string) =>
    (await fetch(server.address + path, { headers: { ...(authorization && { authorization }) } })).status;
  for (const path of ["/", "/health"]) expect(await status(path)).toBe(200);
  for (const path of ["/v1/models", "/metrics", "/v1/models/toy"]) {
    expect(await status(path)).toBe(401);
    for (const wrong of ["Bearer a secre", "Bearer a secret!", "a secret", "Basic a secret", "Bearer "])
      expect(await status(path, wrong)).toBe(401);
    expect(await status(path, "Bearer a secret")).toBe(200);
    expect(await status(path, "bearer a secret")).toBe(200);
  }
  const response = await server.post(CHAT, body);
  expect(response.status).toBe(401);
  expect(response.headers.get("www-authenticate")).toBe("Bearer");
  expect(await response.text()).not.toContain("a secret");
});

test("pages of other sites may ask where they were named, errors and streams included", async () => {
  await using server = served([toySpeaker({ slots: 2, queue: 2 })], { key: "k", cors: ["https://a.example"] });
  const origin = "https://a.example";
  const preflight = await fetch(server.address + CHAT, {
    method: "OPTIONS",
    headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" },
  });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get(HEADER)).toBe(origin);
  expect(preflight.headers.get("access-control-allow-headers")).toContain("authorization");
  const authorization = "Bearer k";
  for (const [headers, given, status] of [
    [{ origin }, body, 401],
    [{ origin, authorization }, "{", 400],
    [{ origin, authorization }, body, 200],
    [{ origin, authorization }, JSON.stringify({ ...JSON.parse(body), stream: true }), 200],
  ] as const) {
    const response = await server.post(CHAT, given, { headers });
    expect(response.status).toBe(status);
    expect(response.headers.get(HEADER)).toBe(origin);
    expect(response.headers.get("vary")).toBe("Origin");
  }
  const other = await server.post(CHAT, body, { headers: { origin: "https://b.example", authorization } });
  expect([other.status, other.headers.get(HEADER)]).toEqual([403, null]);
});

test("an address that others reach needs a key", () => {
  expect(() => served(undefined, { host: "0.0.0.0" })).toThrow("there is no key");
  const doors = guard({ host: "0.0.0.0", key: "k", cors: [] });
  const request = new Request("http://10.0.0.1/", { headers: { host: "box.lan", authorization: "Bearer k" } });
  expect(() => doors.check(request, false)).not.toThrow();
});

test("the page asks nobody but its server", async () => {
  await using server = served();
  const response = await fetch(server.address);
  expect(response.headers.get("content-security-policy")).toContain("connect-src 'self'");
  const html = await response.text();
  expect(html).not.toMatch(/(?:src|href)=["']https?:/);
});
