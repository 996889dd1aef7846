import type { Generation, GenerationResult } from "../generate/index.js";
import type { Terminal } from "./terminal.js";

/** What `--json` says of an answer. */
export const answerFacts = (
  result: GenerationResult,
  model: string,
  adapters: readonly { name: string; scale: number }[],
): object => ({ model, adapters, ...result });

/** Writes an answer as it comes, and what it took behind it. */
export async function printAnswer(terminal: Terminal, generation: Generation): Promise<GenerationResult> {
  let endsLine = true;
  for await (const { text } of generation) {
    terminal.write(text);
    if (text !== "") endsLine = text.endsWith("\n");
  }
  if (!endsLine) terminal.line();
  const result = await generation.result();
  const { usage, timings } = result;
  const rate = (perSecond: number): string => `${Math.round(perSecond)}/s`;
  terminal.note(
    terminal.style(
      "dim",
      `${usage.promptTokens} prompt tokens at ${rate(timings.prefillTokensPerSecond)}, ` +
        `${usage.completionTokens} generated at ${rate(timings.decodeTokensPerSecond)}, ended by ${result.finishReason}`,
      process.stderr,
    ),
  );
  return result;
}
