import { Worker, type ResourceLimits } from "node:worker_threads";
import { expected, LowrankError } from "../errors/index.js";
import type { TextJob, TextResults } from "./text-jobs.js";
import type { WorkerReply } from "./text-worker.js";
import type { TokenizerDefinition } from "./tokenizer-definition.js";

export interface JobOptions {
  /** Milliseconds of run time after which the worker is ended and the job fails with ERR_TIMEOUT. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
}

interface Pending {
  readonly job: TextJob;
  readonly options: JobOptions;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
  readonly onAbort: () => void;
}

/** A worker that does not even start is given up after this many milliseconds. */
const START_TIMEOUT = 60_000;

/**
 * One worker thread that does jobs in order, one at a time. It starts with the first job, does not keep the process alive while it
 * is idle, and is replaced after it had to be ended: by a time-out, an abort, or because it used up its memory.
 */
export class WorkerHost {
  readonly #definition: TokenizerDefinition | null;
  readonly #limits: ResourceLimits;
  readonly #queue: Pending[] = [];
  #worker: Worker | null = null;
  #ready = false;
  #running: Pending | null = null;
  #timer: NodeJS.Timeout | undefined;
  #disposed = false;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(definition: TokenizerDefinition | null, limits: ResourceLimits) {
    this.#definition = definition;
    this.#limits = limits;
  }

  /**
   * Hands a job to the worker. Rejects with the job's own coded error, or ERR_TIMEOUT, ERR_ABORTED, ERR_OUT_OF_MEMORY, ERR_DISPOSED.
   */
  run<K extends TextJob["kind"]>(job: TextJob & { kind: K }, options: JobOptions): Promise<TextResults[K]> {
    return new Promise((resolve, reject) => {
      if (this.#disposed) return reject(disposed());
      if (options.signal?.aborted) return reject(aborted(options.signal));
      const pending: Pending = { job, options, resolve, reject, onAbort: () => this.#abort(pending) };
      options.signal?.addEventListener("abort", pending.onAbort, { once: true });
      this.#queue.push(pending);
      this.start();
      this.#next();
    });
  }

  /** Starts the worker, if it is not running, so that the first job need not wait for it. */
  start(): void {
    if (this.#worker !== null || this.#disposed) return;
    const worker = new Worker(new URL("./text-worker.js", import.meta.url), {
      workerData: this.#definition,
      resourceLimits: this.#limits,
      execArgv: [],
      env: {},
      name: "lowrank-text",
    });
    this.#worker = worker;
    this.#ready = false;
    worker.unref();
    worker.on("message", (reply: WorkerReply) => worker === this.#worker && this.#receive(reply));
    worker.on("error", (error) => worker === this.#worker && this.#end(failed(error)));
    worker.on("exit", (code) => worker === this.#worker && this.#end(failed(new Error(`exit code ${code}`))));
  }

  #receive(reply: WorkerReply): void {
    if ("ready" in reply) this.#ready = true;
    else if ("error" in reply)
      this.#settle((job) =>
        job.reject(new LowrankError(reply.error.code, reply.error.message, { details: reply.error.details })),
      );
    else this.#settle((job) => job.resolve(reply.result as never));
    this.#next();
  }

  #next(): void {
    if (this.#running === null && this.#queue.length > 0) {
      this.#worker!.ref();
      clearTimeout(this.#timer);
      if (!this.#ready) {
        this.#timer = setTimeout(() => this.#end(timedOut(START_TIMEOUT)), START_TIMEOUT);
        return;
      }
      const pending = this.#queue.shift()!;
      this.#running = pending;
      this.#timer = setTimeout(() => this.#end(timedOut(pending.options.timeout)), pending.options.timeout);
      try {
        this.#worker!.postMessage(pending.job);
      } catch (cause) {
        this.#settle((job) => job.reject(notCloneable(cause)));
        this.#next();
      }
    }
    if (this.#running === null && this.#queue.length === 0) {
      clearTimeout(this.#timer);
      this.#worker?.unref();
    }
  }

  #settle(finish: (job: Pending) => void): void {
    clearTimeout(this.#timer);
    const job = this.#running;
    this.#running = null;
    if (job === null) return;
    job.options.signal?.removeEventListener("abort", job.onAbort);
    finish(job);
  }

  /** Ends the worker; the running job (or, before the start, the first in the queue) fails with the error, the others go on. */
  #end(error: LowrankError): void {
    const worker = this.#worker;
    this.#worker = null;
    this.#ready = false;
    if (worker !== null) this.#ended = worker.terminate();
    if (this.#running === null) this.#running = this.#queue.shift() ?? null;
    this.#settle((job) => job.reject(error));
    if (this.#queue.length > 0) {
      this.start();
      this.#next();
    }
  }

  #abort(pending: Pending): void {
    const error = aborted(pending.options.signal!);
    if (this.#running === pending) return this.#end(error);
    this.#queue.splice(this.#queue.indexOf(pending), 1);
    pending.reject(error);
    this.#next();
  }

  /** Ends the worker for good. Jobs that are not done fail with ERR_DISPOSED. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    for (const pending of this.#queue.splice(0)) {
      pending.options.signal?.removeEventListener("abort", pending.onAbort);
      pending.reject(disposed());
    }
    if (this.#worker !== null) this.#end(disposed());
    await this.#ended;
  }
}

const timedOut = (milliseconds: number): LowrankError =>
  new LowrankError(
    "ERR_TIMEOUT",
    `Expected an end within ${milliseconds} ms for the text worker, received none. Shorten the text, or raise the timeout.`,
    { details: { milliseconds } },
  );

const aborted = (signal: AbortSignal): LowrankError =>
  new LowrankError("ERR_ABORTED", "Expected no abort for the text worker, received one by the signal.", {
    cause: signal.reason,
  });

const disposed = (): LowrankError =>
  new LowrankError(
    "ERR_DISPOSED",
    "Expected a text processor in use, received one that has been disposed. Create another.",
  );

function failed(error: Error & { code?: string }): LowrankError {
  if (error.code === "ERR_WORKER_OUT_OF_MEMORY")
    return new LowrankError(
      "ERR_OUT_OF_MEMORY",
      "Expected less memory for the text worker, received a text or a template that needs more. Shorten the text, or use another chat template.",
      { cause: error },
    );
  return new LowrankError(
    "ERR_INTERNAL",
    `Expected the text worker to go on, received its end: ${error.message}.`,
    { cause: error },
  );
}

const notCloneable = (cause: unknown): LowrankError =>
  expected("JSON values", "messages, tools and variables", cause instanceof Error ? cause.message : cause);
