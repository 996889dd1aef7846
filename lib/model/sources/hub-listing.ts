import { setTimeout as delay } from "node:timers/promises";
import { asHubError, hubError, isRetryable } from "./hub-errors.js";
import type { HubFile } from "./hub-download.js";
import { hubFetch } from "./hub-fetch.js";
import { isSafeRelativePath, TEMPLATE_FOLDER } from "./model-files.js";
import { throwIfAborted, type SourceContext } from "./source-context.js";

const METADATA_RETRIES = 2;

/** The commit that a branch or tag stands for now. Throws ERR_DOWNLOAD and ERR_MODEL_NOT_FOUND. */
export async function findHubCommit(repo: string, revision: string, context: SourceContext): Promise<string> {
  const what = `${repo}@${revision}`;
  const { modelInfo } = await import("@huggingface/hub");
  const { sha } = await retried(what, context, () =>
    modelInfo({
      name: repo,
      revision,
      additionalFields: ["sha"],
      hubUrl: context.endpoint,
      fetch: hubFetch(context, { what, maxBytes: context.limits.metadataBytes }),
    }),
  );
  if (typeof sha === "string" && /^[0-9a-f]{40}$/.test(sha)) return sha;
  throw hubError(`Expected a commit for ${what}, received something else. Check HF_ENDPOINT.`, {
    reason: "answer",
    retryable: false,
  });
}

/**
 * The files that lie directly in `folder` ("" for the root, with its folder of chat templates) of a repository, by path. An entry that no honest repository
 * has, such as a path out of its folder, makes the whole list untrusted: ERR_DOWNLOAD.
 */
export async function listHubFiles(
  repo: string,
  commit: string,
  folder: string,
  context: SourceContext,
): Promise<ReadonlyMap<string, HubFile>> {
  const what = `the list of files of ${repo}`;
  const { listFiles } = await import("@huggingface/hub");
  let hasTemplates = false;
  const files = await retried(what, context, async () => {
    const files = new Map<string, HubFile>();
    const refuse = (received: string): Error =>
      hubError(
        `Expected file names, sizes and checksums for ${what}, received ${received}. Do not use this repository.`,
        {
          reason: "answer",
          retryable: false,
        },
      );
    const entries = listFiles({
      repo: { type: "model", name: repo },
      revision: commit,
      path: folder.split("/").map(encodeURIComponent).join("/"),
      hubUrl: context.endpoint,
      fetch: hubFetch(context, {
        what,
        maxBytes: context.limits.metadataBytes,
        maxRequests: context.limits.listedPages,
      }),
    });
    let count = 0;
    for await (const entry of entries) {
      if (++count > context.limits.listedFiles)
        throw refuse(`more than ${context.limits.listedFiles} entries`);
      const { type, path, size, lfs, oid } = entry;
      if (typeof path !== "string" || !isSafeRelativePath(path))
        throw refuse(`the path ${JSON.stringify(path ?? null).slice(0, 200)}`);
      hasTemplates ||= path === TEMPLATE_FOLDER && type === "directory";
      if (type !== "file") continue;
      const bytes: unknown = lfs?.size ?? size;
      if (!Number.isSafeInteger(bytes) || (bytes as number) < 0)
        throw refuse(`${String(bytes)} bytes for ${path}`);
      const checksum = lfs
        ? { algorithm: "sha256" as const, hex: lfs.oid }
        : { algorithm: "git-sha1" as const, hex: oid };
      if (
        typeof checksum.hex !== "string" ||
        !(lfs ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/).test(checksum.hex)
      ) {
        throw refuse(`no checksum for ${path}`);
      }
      const { algorithm, hex } = checksum;
      files.set(path, { repo, commit, path, size: bytes as number, checksum: { algorithm, hex } });
    }
    return files;
  });
  if (!hasTemplates) return files;
  return new Map([...files, ...(await listHubFiles(repo, commit, TEMPLATE_FOLDER, context))]);
}

async function retried<T>(what: string, context: SourceContext, ask: () => Promise<T>): Promise<T> {
  const { signal, limits } = context;
  for (let attempt = 0; ; attempt++) {
    try {
      return await ask();
    } catch (error) {
      throwIfAborted(signal);
      const failure = asHubError(error, what);
      // A hub that keeps silent is not waited for again: a fallback should come soon.
      const worthwhile = isRetryable(failure) && failure.details?.reason !== "timeout";
      if (!worthwhile || attempt >= Math.min(METADATA_RETRIES, limits.retries)) throw failure;
      await delay(limits.retryDelayMs * 2 ** attempt, undefined, signal ? { signal } : {});
    }
  }
}
