// A service whose adapters are swapped while it answers: a small HTTP server on the loopback interface, and clients that keep it busy.
// Each answer names the version that it was made with; none is cut off by a swap, none mixes two versions.
//
//   node examples/swap-under-load.mjs [SECONDS]      (default 10)
//
// POST /answer { message, adapter }   streams the text; the version stands in the header x-adapter-generation
// PUT  /adapters/NAME { name }        moves NAME to the content of another loaded adapter
// GET  /status                        adapters, memory, what the engine does
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { loadModel, LowrankError } from "lowrank";

const CLIENTS = 16;
const MAX_BODY = 64 * 1024;
const seconds = Number(process.argv[2] ?? 10);
if (!(seconds > 0)) {
  process.stderr.write("Expected a number of seconds above 0.\n");
  process.exit(2);
}
const adapters = new URL("./adapters/", import.meta.url);
const { prompts } = JSON.parse(await readFile(new URL("demo-prompts.json", adapters), "utf8"));

const model = await loadModel("smollm2-135m-instruct", { maxSequences: CLIENTS, maxQueue: 64 });
for (const name of ["order-json", "maintenance-report"])
  await model.adapters.load(name, fileURLToPath(new URL(name, adapters)));
await model.adapters.load("live", fileURLToPath(new URL("order-json", adapters)));

async function bodyOf(request) {
  let text = "";
  for await (const chunk of request) if ((text += chunk).length > MAX_BODY) throw new RangeError("too long");
  return JSON.parse(text);
}

async function answer(request, response) {
  const { message, adapter = "live" } = await bodyOf(request);
  const leaving = new AbortController();
  response.on("close", () => leaving.abort());
  // The version that the name means now: the request keeps it to its end.
  const { generation } = model.adapters.get(adapter);
  const talk = model.chat([{ role: "user", content: message }], {
    adapter,
    maxTokens: 48,
    timeoutMs: 60_000,
    signal: leaving.signal,
  });
  response.setHeader("x-adapter-generation", generation);
  for await (const { text } of talk)
    if (!response.write(text)) await new Promise((go) => response.once("drain", go));
  response.end();
}

async function swap(request, response) {
  const name = decodeURIComponent(request.url.slice("/adapters/".length));
  const { name: other } = await bodyOf(request);
  response.end(JSON.stringify(await model.adapters.swap(name, { name: other })));
}

const status = (_, response) =>
  response.end(
    JSON.stringify({ adapters: model.adapters.list(), memory: model.memory(), engine: model.statistics() }),
  );

const STATUS_OF = {
  ERR_QUEUE_FULL: 429,
  ERR_ADAPTER_NOT_FOUND: 404,
  ERR_INVALID_ARGUMENT: 400,
  ERR_TIMEOUT: 504,
};
const server = createServer((request, response) => {
  const { method, url } = request;
  const handle =
    method === "POST" && url === "/answer"
      ? answer
      : method === "PUT" && url.startsWith("/adapters/")
        ? swap
        : method === "GET" && url === "/status"
          ? status
          : (_, to) => to.writeHead(404).end();
  Promise.resolve(handle(request, response)).catch((error) => {
    if (response.headersSent) return response.destroy(error);
    const code = LowrankError.isInstance(error) ? error.code : "ERR_REQUEST";
    response.writeHead(STATUS_OF[code] ?? (code === "ERR_REQUEST" ? 400 : 500));
    response.end(JSON.stringify({ code, message: error.message }));
  });
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const base = `http://127.0.0.1:${server.address().port}`;
process.stdout.write(`Serving on ${base}; ${CLIENTS} clients and a swap every 50 ms for ${seconds} s.\n`);

let over = false;
const answered = new Map(); // generation → answers
let failed = 0;
async function client(number) {
  for (let i = number; !over; i++) {
    const body = JSON.stringify({ message: prompts[i % prompts.length].message });
    const response = await fetch(`${base}/answer`, { method: "POST", body });
    const text = await response.text();
    if (response.status !== 200 || text.length === 0) failed++;
    const generation = Number(response.headers.get("x-adapter-generation"));
    answered.set(generation, (answered.get(generation) ?? 0) + 1);
  }
}
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
const clients = Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(i)));
const times = [];
for (const end = performance.now() + seconds * 1000; performance.now() < end; await sleep(50)) {
  const name = times.length % 2 === 0 ? "maintenance-report" : "order-json";
  const began = performance.now();
  const response = await fetch(`${base}/adapters/live`, { method: "PUT", body: JSON.stringify({ name }) });
  if (response.status !== 200) failed++;
  await response.arrayBuffer();
  times.push(performance.now() - began);
}
over = true;
await clients;
delay.disable();

const state = await (await fetch(`${base}/status`)).json();
const count = [...answered.values()].reduce((sum, one) => sum + one, 0);
times.sort((a, b) => a - b);
process.stdout.write(
  `${count} answers under ${answered.size} versions, ${failed} failures; ${times.length} swaps over HTTP, median ` +
    `${times[times.length >> 1].toFixed(1)} ms; event loop delayed by ${(delay.percentile(99) / 1e6).toFixed(1)} ms at most in 99 %.\n` +
    `The engine computed ${state.engine.tokens} tokens in ${state.engine.steps} steps; ${state.engine.cachedTokens} of ` +
    `${state.engine.promptTokens} prompt tokens came from the prefix cache.\n`,
);
await new Promise((closed) => {
  server.close(closed);
  server.closeAllConnections();
});
await model.dispose();
process.exitCode = failed > 0 ? 1 : 0;
