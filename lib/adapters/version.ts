import type { FileIdentity } from "./file-identity.js";
import type { AdapterContent, KeptPrecision } from "./load.js";

export type AdapterState = "resident" | "evicted" | "loading";

/** What makes two versions the same. */
export const versionKey = (contentHash: string, precision: KeptPrecision): string =>
  `${precision}:${contentHash}`;

/**
 * One content that this model knows, in one precision: in memory, or to be read again. Names and generations point at versions; equal
 * content is one version, however often it is loaded.
 */
export class Version {
  readonly content: AdapterContent;
  readonly key: string;
  /** Where it can be read again: an absolute path, and the files behind it as they were; null where it came from memory. */
  source: { path: string; files: readonly FileIdentity[] } | null = null;
  /** The native handle; null where it is not in memory. */
  id: number | null = null;
  /** A load under way, which may fail. */
  loading: Promise<void> | null = null;
  /** Requests that hold it, those included that wait for it to come into memory. */
  users = 0;
  /** Those among them that have it in memory: it cannot be evicted. */
  active = 0;
  /** Names that point at it now. */
  names = 0;
  /** Names among them that are pinned. */
  pins = 0;
  /** Generations of names, earlier ones too, that are of this content. */
  remembered = 0;
  /** Milliseconds since the epoch; null before the first request. */
  lastUsed: number | null = null;
  /** The order of use, for eviction. */
  touched = 0;
  /** Called when no request holds it. */
  readonly idle: (() => void)[] = [];

  constructor(content: AdapterContent) {
    this.content = content;
    this.key = versionKey(content.contentHash, content.precision);
  }

  get state(): AdapterState {
    return this.id !== null ? "resident" : this.loading ? "loading" : "evicted";
  }

  get evictable(): boolean {
    return this.id !== null && this.active === 0 && this.pins === 0;
  }
}
