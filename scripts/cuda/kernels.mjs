// What the compiler makes of the kernels, one architecture at a time: PTX, machine code, and ptxas's account of either.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

/** As native/cuda/CMakeLists.txt has them. */
export const FLAGS = ["-std=c++20", "-fmad=false", "--expt-relaxed-constexpr", "-O3", "-Inative"];

/** Kernel files, and a hash over them and everything that they may include. */
export function kernelSources(root) {
  const under = (folder, ...endings) =>
    readdirSync(join(root, folder), { recursive: true })
      .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
      .filter((name) => endings.some((ending) => name.endsWith(ending)))
      .sort();
  const hash = createHash("sha256").update(FLAGS.join(" "));
  for (const name of under("native", ".h", ".cu")) hash.update(name).update(readFileSync(join(root, name)));
  return { files: under("native/cuda", ".cu"), fingerprint: hash.digest("hex") };
}

const execute = (root, command, args) =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (text += data));
    child.on("error", reject);
    child.on("close", (status) =>
      status === 0 ? resolve(text) : reject(new Error(`${command} ${args.join(" ")}\n${text}`)),
    );
  });

/**
 * Compiles one file for one architecture, unless that was done before: `{ ptx, cubin, log }`, two paths and what ptxas wrote.
 */
export async function compileKernels({ root, toolkit, file, architecture, fingerprint }) {
  const folder = join(root, "build-native", "cuda-check", `sm_${architecture}`);
  mkdirSync(folder, { recursive: true });
  const base = join(folder, basename(file, ".cu"));
  const [ptx, cubin, log, stamp] = ["ptx", "cubin", "log", "stamp"].map((ending) => `${base}.${ending}`);
  const wanted = `${fingerprint} ${toolkit.version}`;
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted)
    return { ptx, cubin, log: readFileSync(log, "utf8") };
  await execute(root, toolkit.nvcc, [...FLAGS, "-ptx", `-arch=compute_${architecture}`, "-o", ptx, file]);
  const text = await execute(root, toolkit.nvcc, [
    ...["-cubin", `-arch=sm_${architecture}`, "-Xptxas", "-v", "-o", cubin, ptx],
  ]);
  writeFileSync(log, text);
  writeFileSync(stamp, wanted);
  return { ptx, cubin, log: text };
}

/** What ptxas -v wrote, by mangled kernel. Bytes; registers of a thread. */
export function resourcesOf(log) {
  const kernels = new Map();
  let current = null;
  let properties = null;
  for (const line of log.split("\n")) {
    const entry = /Compiling entry function '([^']+)' for/.exec(line);
    if (entry) {
      current = { registers: 0, shared: 0, stack: 0, spills: 0 };
      kernels.set(entry[1], current);
    }
    const named = /Function properties for (\S+)/.exec(line);
    if (named) properties = kernels.get(named[1]) ?? null;
    const stack = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    // Of a function that is called and not inlined, too: it runs on the stack of the kernel above it.
    if (stack && (properties ?? current)) {
      const kernel = properties ?? current;
      kernel.stack = Math.max(kernel.stack, Number(stack[1]));
      kernel.spills += Number(stack[2]) + Number(stack[3]);
    }
    const used = /Used (\d+) registers/.exec(line);
    if (used && current) {
      current.registers = Number(used[1]);
      current.shared = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0);
    }
  }
  return kernels;
}

/** The text of each kernel in a PTX file with its launch bounds, by mangled name: `{ body, threads, blocks }`. */
export function ptxKernels(text) {
  const kernels = new Map();
  for (const part of text.split(/^(?=(?:\.weak |\.visible )?\.entry )/m)) {
    const name = /^(?:\.weak |\.visible )?\.entry\s+([\w$]+)/.exec(part)?.[1];
    if (name === undefined) continue;
    const end = part.search(/^\}/m);
    const body = end < 0 ? part : part.slice(0, end);
    kernels.set(name, {
      body,
      threads: Number(/\.maxntid\s+(\d+)/.exec(body)?.[1] ?? 0),
      blocks: Number(/\.minnctapersm\s+(\d+)/.exec(body)?.[1] ?? 0),
    });
  }
  return kernels;
}

/** The machine code of each kernel in nvdisasm's listing of a cubin, by mangled name. */
export function sassKernels(text) {
  const kernels = new Map();
  for (const part of text.split(/^(?=\/\/-+\s+\.text\.)/m)) {
    const named = /^\/\/-+\s+\.text\.([\w$]+)/.exec(part);
    if (named) kernels.set(named[1], part);
  }
  return kernels;
}
