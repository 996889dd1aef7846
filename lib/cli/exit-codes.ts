import { LowrankError, type ErrorCode } from "../errors/index.js";

/** What the process ends with; docs/cli.md lists them. */
export const EXIT = {
  ok: 0,
  /** A fault of the package, or a check of `doctor` that failed. */
  failure: 1,
  /** A flag or an argument that is not understood. */
  usage: 2,
  /** A model, an adapter or a file that is not there or cannot be read. */
  notFound: 3,
  /** A file that is damaged, or of a kind that is not supported. */
  format: 4,
  /** The network, or a download. */
  download: 5,
  /** Memory, or a device. */
  resources: 6,
  /** Ctrl-C. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

const OF_ERROR: Readonly<Record<ErrorCode, ExitCode>> = {
  ERR_INVALID_ARGUMENT: EXIT.usage,
  ERR_CONTEXT_LENGTH: EXIT.usage,
  ERR_CHAT_TEMPLATE: EXIT.usage,
  ERR_MODEL_NOT_FOUND: EXIT.notFound,
  ERR_ADAPTER_NOT_FOUND: EXIT.notFound,
  ERR_IO: EXIT.notFound,
  ERR_MODEL_FORMAT: EXIT.format,
  ERR_MODEL_UNSUPPORTED: EXIT.format,
  ERR_TOKENIZER: EXIT.format,
  ERR_ADAPTER_FORMAT: EXIT.format,
  ERR_ADAPTER_UNSUPPORTED: EXIT.format,
  ERR_ADAPTER_SHAPE: EXIT.format,
  ERR_DOWNLOAD: EXIT.download,
  ERR_OUT_OF_MEMORY: EXIT.resources,
  ERR_BACKEND_UNAVAILABLE: EXIT.resources,
  ERR_QUEUE_FULL: EXIT.resources,
  ERR_TIMEOUT: EXIT.failure,
  ERR_ADAPTER_EXISTS: EXIT.failure,
  ERR_ADAPTER_IN_USE: EXIT.failure,
  ERR_ADAPTER_CONFLICT: EXIT.failure,
  ERR_ABORTED: EXIT.interrupted,
  ERR_DISPOSED: EXIT.failure,
  ERR_INTERNAL: EXIT.failure,
};

export const exitCodeOf = (error: unknown): ExitCode =>
  LowrankError.isInstance(error) ? OF_ERROR[error.code] : EXIT.failure;
