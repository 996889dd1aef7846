// A process whose main thread never loads the addon: it is unloaded with the last worker that did, its threads included.
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";

const [path, adapter] = process.argv.slice(2);
const script = new URL("./worker-child.mjs", import.meta.url);
for (const action of ["generate", "generate for ever", "disposed", "adapters for ever", "generate"]) {
  const worker = new Worker(script, { workerData: { action, path, adapter, threads: 3 } });
  await once(worker, "message");
  await worker.terminate();
  await sleep(20);
}
console.log("end");
