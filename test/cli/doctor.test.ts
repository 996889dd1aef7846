/** Each planted fault is found, named and comes with a remedy. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { lowrankHere } from "./run.js";

interface Findings {
  findings: { check: string; state: "ok" | "warning" | "failure"; says: string; remedy?: string }[];
}

const home = mkdtempSync(join(tmpdir(), "lowrank-doctor-"));
let hub: Server;
let endpoint: string;
beforeAll(async () => {
  hub = createServer((request, response) => {
    response.writeHead(request.url?.startsWith("/broken") ? 503 : 200).end("[]");
  });
  await new Promise<void>((resolve) => hub.listen(0, "127.0.0.1", resolve));
  endpoint = `http://127.0.0.1:${(hub.address() as AddressInfo).port}`;
});
afterAll(() => {
  hub.close();
  rmSync(home, { recursive: true, force: true });
});

async function doctor(env: Record<string, string>) {
  const healthy = { XDG_CACHE_HOME: home, HF_HOME: join(home, "hf"), HF_ENDPOINT: endpoint, LOWRANK_ISA: "" };
  for (const [name, value] of Object.entries({ ...healthy, ...env })) vi.stubEnv(name, value);
  const { code, stdout } = await lowrankHere("doctor", "--json");
  vi.unstubAllEnvs();
  const { findings } = JSON.parse(stdout) as Findings;
  return { code, found: (check: string) => findings.find((one) => one.check === check)!, findings };
}

test("a machine in order passes every check", async () => {
  const { code, findings } = await doctor({});
  expect(findings.filter(({ state }) => state === "failure")).toEqual([]);
  expect(code).toBe(0);
  expect(findings.length).toBeGreaterThanOrEqual(9);
});

test("an instruction set that the processor lacks", async () => {
  const { code, found } = await doctor({ LOWRANK_ISA: "mmx" });
  expect(code).toBe(1);
  expect(found("instruction set")).toMatchObject({ state: "failure" });
  expect(found("instruction set").remedy).toContain("reference");
});

test("an instruction set that is forced is told", async () => {
  const { code, found } = await doctor({ LOWRANK_ISA: "reference" });
  expect(code).toBe(0);
  expect(found("instruction set").state).toBe("warning");
});

test("a cache that is no folder", async () => {
  const file = join(home, "a-file");
  writeFileSync(file, "");
  const { code, found } = await doctor({ XDG_CACHE_HOME: file });
  expect(code).toBe(1);
  expect(found("caches")).toMatchObject({ state: "failure" });
  expect(found("caches").remedy).toContain("XDG_CACHE_HOME");
});

// Root may write anywhere.
test.runIf(process.getuid?.() !== 0)("a cache that cannot be written to", async () => {
  const folder = join(home, "sealed");
  mkdirSync(folder);
  chmodSync(folder, 0o500);
  expect((await doctor({ XDG_CACHE_HOME: folder })).found("caches").state).toBe("failure");
});

test("a packed file that is empty", async () => {
  const folder = join(home, "damaged", "lowrank", "packed");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${"0".repeat(64)}.weights`), "");
  const { code, found } = await doctor({ XDG_CACHE_HOME: join(home, "damaged") });
  expect(code).toBe(1);
  expect(found("packed weights")).toMatchObject({ state: "failure" });
  expect(found("packed weights").remedy).toContain("Delete it");
});

test.each([
  ["nobody listens", { HF_ENDPOINT: "http://127.0.0.1:1" }, "warning", /cannot be reached/],
  ["the hub is down", { HF_ENDPOINT: "BROKEN" }, "warning", /status 503/],
  ["offline mode", { HF_HUB_OFFLINE: "1" }, "warning", /HF_HUB_OFFLINE is set/],
  ["no URL", { HF_ENDPOINT: "nonsense" }, "failure", /HF_ENDPOINT/],
])("network: %s", async (_name, env, state, says) => {
  const given = Object.fromEntries(
    Object.entries(env).map(([key, value]) => [key, value === "BROKEN" ? `${endpoint}/broken` : value]),
  );
  const { found } = await doctor(given as Record<string, string>);
  expect(found("network").state).toBe(state);
  expect(found("network").says).toMatch(says);
});
