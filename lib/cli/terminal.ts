import { styleText } from "node:util";
import type { SingleBar } from "cli-progress";
import type { LoadProgress } from "../model/index.js";

export interface TerminalOptions {
  /** Results are JSON on stdout. */
  readonly json: boolean;
  /** Nothing but results and errors. */
  readonly quiet: boolean;
}

type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

/** stdout for results, stderr for everything else. Colour and bars appear on a terminal alone. */
export class Terminal {
  readonly json: boolean;
  readonly quiet: boolean;

  constructor({ json, quiet }: TerminalOptions) {
    this.json = json;
    this.quiet = quiet;
  }

  /** A result, as it is. */
  write(text: string): void {
    process.stdout.write(text);
  }

  line(text = ""): void {
    this.write(`${text}\n`);
  }

  /** A result as JSON; integers that JSON cannot hold become strings. */
  data(value: unknown): void {
    this.line(JSON.stringify(value, jsonValue, 2));
  }

  /** What accompanies a result. */
  note(text: string): void {
    if (!this.quiet) process.stderr.write(`${text}\n`);
  }

  /** A table with aligned columns. */
  table(rows: readonly (readonly string[])[]): void {
    const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]!.length))) ?? [];
    for (const row of rows)
      this.line(
        row
          .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column]!)))
          .join("  "),
      );
  }

  style(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
    return coloured(stream) ? styleText(style, text) : text;
  }

  /** Shows the stages of a load until `stop`. */
  async progress(): Promise<LoadBars> {
    if (this.quiet || !process.stderr.isTTY) return new LoadBars(null);
    const { default: progress } = await import("cli-progress");
    return new LoadBars(
      new progress.SingleBar({
        stream: process.stderr,
        format: "  {stage} [{bar}] {percentage} % {file}",
        hideCursor: true,
        clearOnComplete: true,
      }),
    );
  }
}

/** The stages of a load: one bar, which starts again with each. */
export class LoadBars {
  readonly #bar: SingleBar | null;
  #stage = "";

  constructor(bar: SingleBar | null) {
    this.#bar = bar;
  }

  readonly report = (progress: LoadProgress): void => {
    if (this.#bar === null || progress.stage === "fallback" || progress.stage === "wait") return;
    const [file, done, total] =
      progress.stage === "load"
        ? ["", progress.parameters, progress.totalParameters]
        : [progress.file, progress.receivedBytes, progress.totalBytes];
    const stage = `${progress.stage} ${file}`;
    if (stage !== this.#stage) {
      this.stop();
      this.#stage = stage;
      this.#bar.start(total, done, { stage: progress.stage, file });
    } else this.#bar.update(done);
  };

  stop(): void {
    if (this.#stage !== "") this.#bar?.stop();
    this.#stage = "";
  }
}

/** On a terminal, unless NO_COLOR is set (https://no-color.org). */
function coloured(stream: NodeJS.WriteStream): boolean {
  if (process.env["NO_COLOR"]) return false;
  return stream.isTTY === true;
}

function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === "bigint")
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value);
  return ArrayBuffer.isView(value) ? Array.from(value as Int32Array) : value;
}

const UNITS = ["B", "KB", "MB", "GB", "TB"];

/** Bytes for people, in powers of 1000 as disks and downloads have them. */
export function byteText(bytes: number): string {
  let unit = 0;
  while (bytes >= 999.5 && unit < UNITS.length - 1) {
    bytes /= 1000;
    unit++;
  }
  return `${unit === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)} ${UNITS[unit]}`;
}
