import { LowrankError } from "../../errors/index.js";
import { hubEndpoint, hubOffline } from "../../model/index.js";
import type { Finding } from "./index.js";

const PATIENCE_MS = 5_000;

/** Whether the hub answers. Sends one request without any token, and nothing else. */
export async function hub(signal: AbortSignal): Promise<Finding> {
  let endpoint;
  try {
    endpoint = hubEndpoint();
  } catch (error) {
    if (!LowrankError.isInstance(error)) throw error;
    return { state: "failure", says: error.message };
  }
  if (hubOffline())
    return {
      state: "warning",
      says: "HF_HUB_OFFLINE is set: only models of the caches are found",
      remedy: "Unset it to download models.",
    };
  try {
    const { status } = await fetch(`${endpoint}/api/models?limit=1`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]),
    });
    if (status < 500) return { state: "ok", says: `${endpoint} answers` };
    return {
      state: "warning",
      says: `${endpoint} answers with status ${status}`,
      remedy: "Try again later.",
    };
  } catch (error) {
    const cause = (error as { cause?: { code?: string } }).cause?.code ?? (error as Error).name;
    return {
      state: "warning",
      says: `${endpoint} cannot be reached (${cause}); models that are here already run`,
      remedy:
        "Check the network and the proxy, or set HF_ENDPOINT to a mirror. docs/models.md tells how to bring files over.",
    };
  }
}
