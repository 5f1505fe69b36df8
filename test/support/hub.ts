/** A Hub of our own: the API's answers for one model or data set, files by way of a redirect to another server, and whatever trouble a test asks for. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";

export interface Trouble {
  /** Breaks the connection off after this many bytes of a body, this many times. */
  breakAfter?: number;
  breaks?: number;
  /** Answers this status to the next requests for a file. */
  status?: number;
  statuses?: number;
  /** The list names this checksum for the weights. */
  checksum?: string;
  /** Answers a request for a range with the whole file. */
  noRanges?: boolean;
  /** Files may be had with this token only. */
  token?: string;
}

export interface FakeHub extends Disposable {
  readonly endpoint: string;
  readonly trouble: Trouble;
  /** Requests for bodies of files: path, and first byte asked for. */
  readonly requests: { path: string; from: number; authorization: string | null }[];
}

export const COMMIT = "0123456789abcdef0123456789abcdef01234567";

/** Serves the files of `folder` as the repository `name`. safetensors and zipped files are large ones, listed by their SHA-256. */
export function fakeHub(name: string, folder: string, type: "model" | "dataset" = "model"): FakeHub {
  const trouble: Trouble = {};
  const requests: FakeHub["requests"] = [];
  const inside = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = inside.map((entry) => relative(folder, join(entry.parentPath, entry.name)));
  const files = new Map(paths.map((file) => [file, readFileSync(join(folder, file))]));
  const prefix = type === "model" ? `/${name}` : `/datasets/${name}`;
  const storage = Bun.serve({ port: 0, fetch: (request) => body(request) });
  const server = Bun.serve({
    port: 0,
    fetch(request) {
      const pathname = decodeURIComponent(new URL(request.url).pathname);
      if (trouble.token && request.headers.get("authorization") !== `Bearer ${trouble.token}`)
        return new Response("no", { status: 401 });
      if (pathname === `/api/${type}s/${name}/revision/main`) return Response.json({ _id: "1", id: name, sha: COMMIT });
      if (pathname === `/api/${type}s/${name}/tree/${COMMIT}`) return Response.json([...files].map(listed));
      if (pathname === `/api/${type}s/${name}/paths-info/${COMMIT}`) return pathsInfo(request);
      const file = pathname.replace(`${prefix}/resolve/${COMMIT}/`, "");
      if (!files.has(file)) return new Response("no", { status: 404 });
      if (request.headers.get("range") === "bytes=0-0") return head(file);
      return Response.redirect(`http://127.0.0.1:${storage.port}/${file}`, 302);
    },
  });

  async function pathsInfo(request: Request): Promise<Response> {
    const { paths } = (await request.json()) as { readonly paths: readonly string[] };
    return Response.json([...files].filter(([path]) => paths.includes(path)).map(listed));
  }

  function listed([path, data]: [string, Buffer]) {
    const oid = createHash("sha1").update(`blob ${data.length}\0`).update(data).digest("hex");
    const sha256 = trouble.checksum ?? createHash("sha256").update(data).digest("hex");
    const lfs = /\.(safetensors|gz)$/.test(path) ? { lfs: { oid: sha256, size: data.length, pointerSize: 130 } } : {};
    return { type: "file", path, oid, size: data.length, ...lfs };
  }

  function head(file: string): Response {
    const size = files.get(file)!.length;
    return new Response("x", {
      status: 206,
      headers: { "content-range": `bytes 0-0/${size}`, etag: '"1"' },
    });
  }

  function body(request: Request): Response {
    const path = decodeURIComponent(new URL(request.url).pathname.slice(1));
    const data = files.get(path)!;
    const range = request.headers.get("range")?.match(/bytes=(\d+)-/);
    const from = range && !trouble.noRanges ? Number(range[1]) : 0;
    requests.push({ path, from, authorization: request.headers.get("authorization") });
    if (trouble.status && (trouble.statuses ?? 0) > 0) {
      trouble.statuses!--;
      return new Response("no", { status: trouble.status });
    }
    const rest = data.subarray(from);
    const breaking = trouble.breakAfter !== undefined && (trouble.breaks ?? 0) > 0 && rest.length > trouble.breakAfter;
    if (breaking) trouble.breaks!--;
    const stream = new ReadableStream({
      async start(controller) {
        controller.enqueue(new Uint8Array(breaking ? rest.subarray(0, trouble.breakAfter) : rest));
        await Bun.sleep(5);
        controller.close();
      },
    });
    return new Response(stream, { status: from > 0 ? 206 : 200, headers: { "content-length": String(rest.length) } });
  }

  return {
    endpoint: `http://127.0.0.1:${server.port}`,
    trouble,
    requests,
    [Symbol.dispose]() {
      server.stop(true);
      storage.stop(true);
    },
  };
}
