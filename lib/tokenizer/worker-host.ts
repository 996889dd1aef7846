import { Worker, type ResourceLimits } from "node:worker_threads";
import { missed, timeLeft, type Deadline } from "../errors/deadline.js";
import { expected, LowrankError } from "../errors/index.js";
import { checkRoomForWorker } from "./address-space.js";
import { FairQueue } from "./fair-queue.js";
import type { TextJob, TextResults } from "./text-jobs.js";
import type { PlainError, WorkerReply } from "./text-worker.js";
import type { TokenizerDefinition } from "./tokenizer-definition.js";

export interface JobOptions {
  /** Milliseconds of run time after which the worker is ended and the job fails with ERR_TIMEOUT. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
  /** The job fails with ERR_TIMEOUT when it is not done by then, also while it waits. */
  readonly deadline?: Deadline | undefined;
  /** Groups of jobs take turns, so that one's many jobs do not hold up another's. Default: "". */
  readonly group?: string | undefined;
}

interface Pending {
  readonly job: TextJob;
  readonly group: string;
  readonly timeout: number;
  /** Settles the caller's promise, once; the worker may still be at the job. */
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

/** A worker that does not even start is given up after this many milliseconds. */
const START_TIMEOUT = 60_000;
/** Milliseconds that a job may still run when nobody waits for it any more: a new worker would cost the others more. */
const GRACE = 1_000;
/** Jobs that may wait, in all and of one group. */
const MAX_WAITING = 1_024;
const MAX_WAITING_OF_GROUP = 256;

/**
 * One worker thread that does jobs one at a time; groups of jobs take turns. It starts with the first job, does not keep the process
 * alive while it is idle, and is replaced after it had to be ended: by a time-out, or because it used up its memory.
 */
export class WorkerHost {
  readonly #definition: TokenizerDefinition | null;
  readonly #limits: ResourceLimits;
  readonly #queue = new FairQueue<Pending>();
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
   * Hands a job to the worker. Rejects with the job's own coded error, or ERR_TIMEOUT, ERR_ABORTED, ERR_OUT_OF_MEMORY, ERR_QUEUE_FULL,
   * ERR_DISPOSED.
   */
  run<K extends TextJob["kind"]>(job: TextJob & { kind: K }, options: JobOptions): Promise<TextResults[K]> {
    const { timeout, signal, deadline, group = "" } = options;
    return new Promise((resolve, reject) => {
      if (this.#disposed) throw disposed();
      if (signal?.aborted) throw aborted(signal);
      if (this.#queue.size >= MAX_WAITING || this.#queue.sizeOf(group) >= MAX_WAITING_OF_GROUP)
        throw queueFull(this.#queue.size);
      this.start();
      let timer: NodeJS.Timeout | undefined;
      const settled = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      };
      const pending: Pending = {
        job,
        group,
        timeout,
        resolve: (result) => (settled(), resolve(result)),
        reject: (error) => (settled(), reject(error)),
      };
      const onAbort = (): void => this.#abandon(pending, aborted(signal!));
      signal?.addEventListener("abort", onAbort, { once: true });
      if (deadline)
        timer = setTimeout(
          () => this.#abandon(pending, missed(deadline, "its text was still being tokenised")),
          timeLeft(deadline),
        );
      this.#queue.push(group, pending);
      this.#next();
    });
  }

  /** Starts the worker, if it is not running, so that the first job need not wait for it. Throws ERR_OUT_OF_MEMORY. */
  start(): void {
    if (this.#worker !== null || this.#disposed) return;
    checkRoomForWorker();
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
    const current = (): boolean => worker === this.#worker;
    worker.on("message", (reply: WorkerReply) => current() && this.#receive(reply));
    worker.on("messageerror", (error) => current() && this.#receive({ error: unreadable(error) }));
    worker.on("error", (error) => current() && this.#end(failed(error)));
    worker.on("exit", (code) => current() && this.#end(failed(new Error(`exit code ${code}`))));
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
    if (this.#running === null && this.#queue.size > 0) {
      this.#worker!.ref();
      clearTimeout(this.#timer);
      if (!this.#ready) {
        this.#timer = setTimeout(() => this.#end(timedOut(START_TIMEOUT)), START_TIMEOUT);
        return;
      }
      const pending = this.#queue.shift()!;
      this.#running = pending;
      this.#timer = setTimeout(() => this.#end(timedOut(pending.timeout)), pending.timeout);
      try {
        this.#worker!.postMessage(pending.job);
      } catch (cause) {
        this.#settle((job) => job.reject(notCloneable(cause)));
        this.#next();
      }
    }
    if (this.#running === null && this.#queue.size === 0) {
      clearTimeout(this.#timer);
      this.#worker?.unref();
    }
  }

  #settle(finish: (job: Pending) => void): void {
    clearTimeout(this.#timer);
    const job = this.#running;
    this.#running = null;
    if (job !== null) finish(job);
  }

  /** Ends the worker; the running job (or, before the start, the first in the queue) fails with the error, the others go on. */
  #end(error: LowrankError): void {
    const worker = this.#worker;
    this.#worker = null;
    this.#ready = false;
    if (worker !== null) this.#ended = worker.terminate();
    if (this.#running === null) this.#running = this.#queue.shift() ?? null;
    this.#settle((job) => job.reject(error));
    if (this.#queue.size === 0 || this.#disposed) return;
    try {
      this.start();
    } catch (noRoom) {
      return this.#rejectWaiting(noRoom);
    }
    this.#next();
  }

  /** Nobody waits for the job any more. One that runs has a little time left, since a new worker takes time to start. */
  #abandon(pending: Pending, error: LowrankError): void {
    pending.reject(error);
    if (this.#running === pending) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#end(error), Math.min(GRACE, pending.timeout));
    } else {
      this.#queue.remove(pending.group, pending);
    }
    this.#next();
  }

  #rejectWaiting(error: unknown): void {
    for (let waiting; (waiting = this.#queue.shift());) waiting.reject(error);
  }

  /** Ends the worker for good. Jobs that are not done fail with ERR_DISPOSED. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    this.#rejectWaiting(disposed());
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

const queueFull = (waiting: number): LowrankError =>
  new LowrankError(
    "ERR_QUEUE_FULL",
    `Expected at most ${MAX_WAITING} texts, and ${MAX_WAITING_OF_GROUP} of one cacheSalt, to wait for the text worker, received one more. Try again later.`,
    { details: { waiting } },
  );

const unreadable = (error: Error): PlainError => ({
  code: "ERR_INTERNAL",
  message: `Expected a result of the text worker that can be read, received: ${error.message}.`,
  details: undefined,
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
