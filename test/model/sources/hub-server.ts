import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Files from this size on are kept apart, as the hub does with LFS: SHA-256, and content from another host. */
export const LFS_BYTES = 4096;

export interface SeenRequest {
  /** `hub`: the endpoint; `content`: the host that large files are redirected to. */
  host: "hub" | "content";
  method: string;
  path: string;
  range: string | undefined;
  authorization: string | undefined;
}

interface Repository {
  /** The only commit that is kept. */
  commit: string;
  refs: Map<string, string>;
  files: Map<string, Buffer>;
}

/** Answers a request in place of the server; returns false to leave it alone. */
export type Intercept = (seen: SeenRequest, response: ServerResponse, body: Buffer | undefined) => boolean;

/** A hub on the loopback interface that speaks the paths of the real one: API, resolve, redirects, ranges. */
export class HubServer {
  readonly requests: SeenRequest[] = [];
  readonly repositories = new Map<string, Repository>();
  intercept: Intercept = () => false;
  readonly #servers: Server[] = [];
  #contentUrl = "";
  url = "";

  static async start(): Promise<HubServer> {
    const hub = new HubServer();
    hub.#contentUrl = await hub.#listen("content");
    hub.url = await hub.#listen("hub");
    return hub;
  }

  /** Adds a repository, or a new commit of it on `main`; returns the commit. */
  publish(repo: string, files: Record<string, Buffer | string>): string {
    const contents = new Map(Object.entries(files).map(([path, content]) => [path, Buffer.from(content)]));
    const hash = createHash("sha1");
    for (const [path, content] of contents) hash.update(path).update(content);
    const commit = hash.digest("hex");
    this.repositories.set(repo, { commit, refs: new Map([["main", commit]]), files: contents });
    return commit;
  }

  /** Requests for contents, as `path range`. */
  contentRequests(): string[] {
    const seen = this.requests.filter(({ host, path }) => host === "hub" && path.includes("/resolve/"));
    return seen.map(({ path, range }) => `${path.split("/").at(-1)} ${range ?? "all"}`);
  }

  async close(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  async #listen(host: "hub" | "content"): Promise<string> {
    const server = createServer((request, response) => this.#answer(host, request, response));
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  #answer(host: "hub" | "content", request: IncomingMessage, response: ServerResponse): void {
    const { method = "GET", headers } = request;
    const url = new URL(request.url ?? "/", "http://localhost");
    const path = decodeURIComponent(url.pathname);
    const seen: SeenRequest = {
      host,
      method,
      path,
      range: headers.range,
      authorization: headers.authorization,
    };
    this.requests.push(seen);
    const [, repo, revision, file] = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path) ?? [];
    const content = repo === undefined ? undefined : this.repositories.get(repo)?.files.get(file!);
    if (this.intercept(seen, response, content)) return;
    const api = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)\/?(.*)$/.exec(path);
    if (api) return this.#answerApi(response, api[1]!, api[2]!, api[3]!, api[4]!);
    const repository = repo === undefined ? undefined : this.repositories.get(repo);
    if (!repository) return notFound(response, "RepoNotFound");
    const commit = findCommit(repository, revision!);
    if (commit === undefined) return notFound(response, "RevisionNotFound");
    if (!content) return notFound(response, "EntryNotFound");
    const large = content.length >= LFS_BYTES;
    if (large && host === "hub") {
      response.writeHead(302, {
        location: `${this.#contentUrl}${encodeURI(path)}`,
        "x-repo-commit": commit,
        "x-linked-size": content.length,
        "x-linked-etag": `"${createHash("sha256").update(content).digest("hex")}"`,
      });
      response.end();
      return;
    }
    sendContent(response, content, method, headers.range, {
      "x-repo-commit": commit,
      etag: `"${gitId(content)}"`,
    });
  }

  #answerApi(response: ServerResponse, repo: string, kind: string, revision: string, folder: string): void {
    const repository = this.repositories.get(repo);
    if (!repository) return notFound(response, "RepoNotFound");
    const commit = findCommit(repository, revision);
    if (commit === undefined) return notFound(response, "RevisionNotFound");
    if (kind === "revision") {
      const siblings = [...repository.files.keys()].map((rfilename) => ({ rfilename }));
      return sendJson(response, { _id: "1", id: repo, modelId: repo, sha: commit, private: false, siblings });
    }
    const prefix = folder === "" ? "" : `${folder}/`;
    const entries: unknown[] = [];
    const folders = new Set<string>();
    for (const [path, content] of repository.files) {
      if (!path.startsWith(prefix)) continue;
      const [name, ...inner] = path.slice(prefix.length).split("/");
      if (inner.length === 0) entries.push(listEntry(path, content));
      else folders.add(prefix + name!);
    }
    for (const path of folders)
      entries.push({ type: "directory", path, size: 0, oid: gitId(Buffer.from(path)) });
    sendJson(response, entries);
  }
}

function findCommit({ refs, commit }: Repository, revision: string): string | undefined {
  return refs.get(revision) ?? (revision === commit ? commit : undefined);
}

/** An entry of the hub's tree API. */
export function listEntry(path: string, content: Buffer): Record<string, unknown> {
  const entry = { type: "file", path, size: content.length, oid: gitId(content) };
  if (content.length < LFS_BYTES) return entry;
  const oid = createHash("sha256").update(content).digest("hex");
  return { ...entry, lfs: { oid, size: content.length, pointerSize: 130 }, xetHash: "0".repeat(64) };
}

/** The id that git gives to a file with this content. */
export function gitId(content: Buffer): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

/** The start of the range that a request asks for. */
export function rangeStart(range: string | undefined): number {
  return Number(/^bytes=(\d+)-/.exec(range ?? "")?.[1] ?? 0);
}

export function sendContent(
  response: ServerResponse,
  content: Buffer,
  method: string,
  range: string | undefined,
  headers: Record<string, string> = {},
): void {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
  const start = Number(from ?? 0);
  const end = to ? Math.min(Number(to), content.length - 1) : content.length - 1;
  const part = content.subarray(start, end + 1);
  const common = { ...headers, "accept-ranges": "bytes", "content-length": part.length };
  if (from === undefined) response.writeHead(200, common);
  else response.writeHead(206, { ...common, "content-range": `bytes ${start}-${end}/${content.length}` });
  response.end(method === "HEAD" ? undefined : part);
}

export function sendJson(response: ServerResponse, value: unknown): void {
  const text = JSON.stringify(value);
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}

function notFound(response: ServerResponse, code: string): void {
  response.writeHead(404, { "x-error-code": code });
  response.end(JSON.stringify({ error: code }));
}
