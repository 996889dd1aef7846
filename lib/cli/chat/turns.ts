import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { homedir } from "node:os";
import { createInterface, type Interface } from "node:readline";

const MAX_HISTORY = 500;
const BLOCK = '"""';

function historyPath(): string {
  return join(process.env["XDG_STATE_HOME"] || join(homedir(), ".local", "state"), "lowrank", "chat-history");
}

const readHistory = async (): Promise<string[]> => {
  const text = await readFile(historyPath(), "utf8").catch(() => "");
  return text.split("\n").filter((line) => line !== "");
};

/** For this user's eyes alone. A disk that cannot be written costs the history, nothing else. */
async function writeHistory(lines: readonly string[]): Promise<void> {
  try {
    await mkdir(dirname(historyPath()), { recursive: true, mode: 0o700 });
    await writeFile(historyPath(), `${lines.join("\n")}\n`, { mode: 0o600 });
  } catch {
    return;
  }
}

/**
 * What the user writes, one turn after another: a line; several that end in \, or that stand between """ and """. Ctrl-C calls
 * `onInterrupt` while an answer is being written, and ends at an empty prompt; `signal` ends.
 */
export async function* readTurns(signal: AbortSignal, onInterrupt: () => boolean): AsyncGenerator<string> {
  const terminal = process.stdin.isTTY === true;
  const history = terminal ? await readHistory() : [];
  const lines = createInterface({
    input: process.stdin,
    ...(terminal && {
      output: process.stderr,
      history: [...history].reverse(),
      historySize: MAX_HISTORY,
      prompt: "> ",
    }),
  });
  let kept = history;
  lines.on("history", (newest: string[]) => (kept = [...newest].reverse()));
  lines.on("SIGINT", () => {
    if (!onInterrupt()) lines.close();
  });
  signal.addEventListener("abort", () => lines.close(), { once: true });
  try {
    yield* turnsOf(lines, terminal);
  } finally {
    lines.close();
    if (terminal) await writeHistory(kept.slice(-MAX_HISTORY));
  }
}

async function* turnsOf(lines: Interface, terminal: boolean): AsyncGenerator<string> {
  const ask = (prompt: string): void => {
    if (!terminal) return;
    lines.setPrompt(prompt);
    lines.prompt();
  };
  let parts: string[] = [];
  let inBlock = false;
  ask("> ");
  for await (const line of lines) {
    if (inBlock || line.startsWith(BLOCK)) {
      const opened: string = inBlock ? line : line.slice(BLOCK.length);
      inBlock = !opened.endsWith(BLOCK);
      parts.push(inBlock ? opened : opened.slice(0, -BLOCK.length));
    } else if (line.endsWith("\\")) {
      parts.push(line.slice(0, -1));
      ask("… ");
      continue;
    } else parts.push(line);
    if (inBlock) {
      ask("… ");
      continue;
    }
    const turn = parts.join("\n").trim();
    parts = [];
    if (turn !== "") yield turn;
    ask("> ");
  }
}
