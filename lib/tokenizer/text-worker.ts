/** Entry of the worker thread of a `TextProcessor`. */
import { parentPort, workerData } from "node:worker_threads";
import { LowrankError, type ErrorCode } from "../errors/index.js";
import { TextJobRunner, type TextJob } from "./text-jobs.js";
import type { TokenizerDefinition } from "./tokenizer-definition.js";

/** An error without what cannot be cloned. */
export interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Record<string, unknown> | undefined;
}

export type WorkerReply =
  { readonly ready: true } | { readonly result: unknown } | { readonly error: PlainError };

const port = parentPort!;
const runner = new TextJobRunner(workerData as TokenizerDefinition | null);

port.on("message", (job: TextJob) => {
  let reply: WorkerReply;
  let transfer: ArrayBuffer[] = [];
  try {
    const result = runner.run(job);
    if (result instanceof Int32Array) transfer = [result.buffer as ArrayBuffer];
    reply = { result };
  } catch (error) {
    reply = { error: plain(error) };
  }
  port.postMessage(reply, transfer);
});
port.on("messageerror", (error) => {
  port.postMessage({ error: plain(error) } satisfies WorkerReply);
});
port.postMessage({ ready: true } satisfies WorkerReply);

function plain(error: unknown): PlainError {
  if (LowrankError.isInstance(error))
    return { code: error.code, message: error.message, details: error.details };
  return {
    code: "ERR_INTERNAL",
    message: `Expected no failure in the text worker, received: ${String(error)}.`,
    details: undefined,
  };
}
