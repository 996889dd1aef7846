/** Every error code that this package throws. `docs/errors.md` gives the cause and the remedy of each. */
export type ErrorCode =
  | "ERR_INVALID_ARGUMENT"
  | "ERR_MODEL_FORMAT"
  | "ERR_MODEL_UNSUPPORTED"
  | "ERR_MODEL_NOT_FOUND"
  | "ERR_DOWNLOAD"
  | "ERR_TOKENIZER"
  | "ERR_CHAT_TEMPLATE"
  | "ERR_ADAPTER_FORMAT"
  | "ERR_ADAPTER_UNSUPPORTED"
  | "ERR_ADAPTER_SHAPE"
  | "ERR_ADAPTER_NOT_FOUND"
  | "ERR_ADAPTER_EXISTS"
  | "ERR_ADAPTER_IN_USE"
  | "ERR_ADAPTER_CONFLICT"
  | "ERR_CONTEXT_LENGTH"
  | "ERR_OUT_OF_MEMORY"
  | "ERR_BACKEND_UNAVAILABLE"
  | "ERR_ABORTED"
  | "ERR_DISPOSED"
  | "ERR_TIMEOUT"
  | "ERR_QUEUE_FULL"
  | "ERR_IO"
  | "ERR_INTERNAL";

const BRAND = Symbol.for("lowrank.error");

export interface LowrankErrorOptions {
  /** The error that led to this one. */
  cause?: unknown;
  /** Machine-readable facts, such as the name of the tensor or the bound that was exceeded. */
  details?: Record<string, unknown>;
}

/** The one error class of the package. Tell errors apart by `code`, which is stable; messages are for people. */
export class LowrankError extends Error {
  readonly code: ErrorCode;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: ErrorCode, message: string, options: LowrankErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "LowrankError";
    this.code = code;
    this.details = options.details;
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** True for any LowrankError, also one that comes from another copy of the package or another realm. */
  static isInstance(error: unknown): error is LowrankError {
    return typeof error === "object" && error !== null && (error as Record<symbol, unknown>)[BRAND] === true;
  }
}

/** The error itself where it has a code; anything else is a fault of the package: ERR_INTERNAL with the error as cause. */
export function coded(error: unknown): LowrankError {
  if (LowrankError.isInstance(error)) return error;
  const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new LowrankError("ERR_INTERNAL", `Expected no failure inside the package, received ${reason}.`, {
    cause: error,
  });
}

/** A value as messages show it: short, and on one line. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (value === null || typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `an array of ${value.length}`;
  const name: unknown = value.constructor?.name;
  if (typeof name !== "string" || name === "" || name === "Object") return "an object";
  return `${/^[AEIO]/i.test(name) ? "an" : "a"} ${name.slice(0, 80)}`;
}

/** The one message form for arguments: "Expected <what> for <name>, received <value>." and then the remedy. */
export function expected(what: string, name: string, received: unknown, remedy = ""): LowrankError {
  return new LowrankError(
    "ERR_INVALID_ARGUMENT",
    `Expected ${what} for ${name}, received ${shown(received)}.${remedy ? ` ${remedy}` : ""}`,
    { details: { name } },
  );
}
