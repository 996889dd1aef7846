// What a build needs from the system, checked before it starts.
import { spawnSync } from "node:child_process";

const REMEDIES = {
  "c++":
    "a C++20 compiler (g++ 11 or newer, or clang 14 or newer). Debian, Ubuntu: apt-get install g++. macOS: xcode-select --install",
  make: "make. Debian, Ubuntu: apt-get install make. macOS: xcode-select --install",
  python3:
    "python3 (node-gyp runs on it). Debian, Ubuntu: apt-get install python3 python3-pip. macOS: brew install python",
  cmake:
    "cmake 3.18 or newer (for the native tests). Debian, Ubuntu: apt-get install cmake. Anywhere: pip install cmake",
};

/** Exits with a message that names what is missing and how to install it. */
export function checkTools(names) {
  const missing = names.filter((name) => spawnSync(name, ["--version"], { stdio: "ignore" }).status !== 0);
  if (missing.length === 0) return;
  process.stderr.write("Missing on this machine:\n");
  for (const name of missing) process.stderr.write(`  ${REMEDIES[name]}\n`);
  process.exit(1);
}

export function checkNode(least) {
  if (Number(process.versions.node.split(".")[0]) >= least) return;
  process.stderr.write(
    `Expected Node.js ${least} or newer, this is ${process.versions.node}. See https://nodejs.org.\n`,
  );
  process.exit(1);
}
