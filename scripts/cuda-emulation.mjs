// Builds of the emulated CUDA backend, for the scripts that check it.
import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Sanitizers stop at their first report. */
export const SANITIZER_ENV = {
  ASAN_OPTIONS: "halt_on_error=1:detect_stack_use_after_return=1:allocator_may_return_null=1",
  UBSAN_OPTIONS: "halt_on_error=1:print_stacktrace=1",
  TSAN_OPTIONS: "halt_on_error=1:second_deadlock_stack=1",
};

/** ThreadSanitizer of older compilers needs a fixed address space layout, where the system can be asked for one. */
export const fixedLayout = () =>
  spawnSync("setarch", ["-R", "true"], { stdio: "ignore" }).status === 0 ? ["setarch", "-R"] : [];

function cmake(...args) {
  const result = spawnSync("cmake", args, { cwd: root, encoding: "utf8", maxBuffer: 64 << 20 });
  if (result.error) throw result.error;
  if (result.status !== 0)
    throw new Error(`cmake ${args.join(" ")} failed:\n${result.stdout}${result.stderr}`);
}

/** Builds one target of test/cuda. Gives the folder of its program. Throws with the compiler's output. */
export function buildTarget(target) {
  const folder = "build-native";
  cmake(
    "-S",
    ".",
    "-B",
    folder,
    "-DCMAKE_BUILD_TYPE=Release",
    "-DLOWRANK_SANITIZE=",
    "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
    "-Wno-dev",
  );
  cmake(
    "--build",
    folder,
    "--target",
    target,
    "--parallel",
    String(process.env.LOWRANK_BUILD_JOBS ?? availableParallelism()),
  );
  return join(root, folder, "test", "cuda");
}
