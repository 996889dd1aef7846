// Shows that the tools catch each bug planted in test/cuda/seeded, by name, and say nothing of the same program without it.
//
// Usage: node scripts/cuda-seeded-bugs.mjs [NAME…]. Builds into build-native.
// Status 1: a bug was missed, or a right program was called wrong.
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildTarget, SANITIZER_ENV } from "./cuda-emulation.mjs";
import { checkTools } from "./lib/tools.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** The builds, each with the tool whose word it gives, and what a report of the tool says. */
const builds = [
  { name: "plain", tool: "result", target: "lowrank_seeded_bugs", report: /./s },
  { name: "thread", tool: "thread", target: "lowrank_seeded_bugs_thread", report: /EMULATED: data race/ },
  {
    name: "address",
    tool: "address",
    target: "lowrank_seeded_bugs_address",
    report: /ERROR: AddressSanitizer|runtime error:/,
  },
];

function run(program, ...args) {
  const result = spawnSync(program, args, {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, ...SANITIZER_ENV },
    maxBuffer: 64 << 20,
  });
  if (result.error) throw result.error;
  return { clean: result.status === 0, text: result.stdout + result.stderr };
}

checkTools(["cmake", "c++"]);
for (const build of builds) build.program = join(buildTarget(build.target), build.target);

const wanted = process.argv.slice(2);
const bugs = run(builds[0].program)
  .text.trim()
  .split("\n")
  .map((line) => line.split(" "))
  .map(([name, ...tools]) => ({ name, tools }))
  .filter(({ name }) => wanted.length === 0 || wanted.includes(name));

const failures = [];
for (const { name, tools } of bugs) {
  const caught = [];
  for (const build of builds) {
    const right = run(build.program, name, "fixed");
    if (!right.clean)
      failures.push(`${build.name}: ${name} is called wrong where it is right\n${right.text}`);
    if (!tools.includes(build.tool)) continue;
    const wrong = run(build.program, name);
    if (!wrong.clean && build.report.test(wrong.text) && wrong.text.includes(name)) caught.push(build.tool);
    else failures.push(`${build.name}: ${name} is missed\n${wrong.text}`);
  }
  process.stdout.write(`${name.padEnd(36)} caught by: ${caught.join(", ") || "none"}\n`);
}
for (const failure of failures) process.stdout.write(`\n${failure}\n`);
process.stdout.write(
  `seeded bugs (EMULATED): ${bugs.length} bugs, ${failures.length === 0 ? "all caught" : `${failures.length} failures`}\n`,
);
process.exit(failures.length === 0 && bugs.length > 0 ? 0 : 1);
