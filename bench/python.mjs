// What is made by Python: a virtual environment for each set of packages in build/peers, and model files in other types, written from the same weights as
// ours by the PyPI package gguf.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
/** Where everything that peers need is kept. */
export const folder = join(here, "../build/peers");
const GGUF = { gguf: "0.19.0", numpy: "2.4.6" };

/** Runs a command in `folder`; what it says is part of the error where it fails. */
export function run(command, args, env = {}) {
  mkdirSync(folder, { recursive: true });
  const result = spawnSync(command, args, {
    cwd: folder,
    env: { ...process.env, ...env },
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  if (result.status === 0) return;
  const said = (result.error?.message ?? result.stderr).trim().split("\n").slice(-3).join(" ");
  throw new Error(`Expected ${command} ${args.join(" ")} to succeed: ${said}`);
}

/** The interpreter of a virtual environment of these packages, `{name: version}`, made anew where the versions changed. */
export function pythonWith(name, packages, log, { env, without = [] } = {}) {
  const venv = join(folder, name);
  const python = join(venv, "bin/python");
  const record = join(venv, "installed.json");
  const wanted = JSON.stringify(packages);
  if (existsSync(record) && readFileSync(record, "utf8") === wanted) return python;
  log(`installing ${Object.entries(packages).flat().join(" ")} …`);
  if (!existsSync(python)) run("python3", ["-m", "venv", venv]);
  run(
    python,
    ["-m", "pip", "install", "-q", ...Object.entries(packages).map((pair) => pair.join("=="))],
    env,
  );
  if (without.length > 0) run(python, ["-m", "pip", "uninstall", "-q", "-y", ...without]);
  writeFileSync(record, wanted);
  return python;
}

/**
 * Runs one of our scripts, whose last argument is what it writes. That goes under another name first: a run cut short leaves no half of a
 * file.
 */
function write(python, target, script, ...args) {
  const unfinished = `${target}.unfinished`;
  const remove = () => rmSync(unfinished, { force: true, recursive: true });
  remove();
  try {
    run(python, [join(here, script), ...args, unfinished]);
    renameSync(unfinished, target);
  } finally {
    remove();
  }
  return target;
}

/** The same by the package gguf, where the file is not there yet or `anew`. */
function writeGguf(name, words, log, script, args, { anew = false } = {}) {
  const target = join(folder, `${name}.gguf`);
  if (existsSync(target) && !anew) return target;
  log(`writing ${words} …`);
  return write(pythonWith("venv", GGUF, log), target, script, ...args);
}

/** The file of a model of random weights in a larger shape, "0.5b" or "1.5b". */
export const randomModel = (name, log) =>
  writeGguf(name, `random weights in the shape of ${name}`, log, "random_model.py", [name]);

/** A model's file in another type, "Q8_0" or "Q4_0". */
export const requantized = ({ name, file }, type, log) =>
  writeGguf(`${name}-${type}`, `${name} as ${type}`, log, "requantize_gguf.py", [file, type]);

/** A PEFT adapter of a model in llama.cpp's form. */
export const adapterToGguf = ({ name }, adapter, log) =>
  writeGguf(`${name}-adapter`, `the adapter as GGUF`, log, "adapter_to_gguf.py", [adapter], { anew: true });

/** A model's file with a PEFT adapter merged into it, in float16. */
export const mergedModel = ({ name, file }, adapter, log) =>
  writeGguf(`${name}-merged`, `${name} with the adapter merged`, log, "merge_adapter.py", [file, adapter], {
    anew: true,
  });

/** A model as OpenVINO's IR in int8. python: of an environment that has what export_openvino.py needs. */
export function writeOpenVino(python, { name, file }, log) {
  const target = join(folder, `${name}-openvino`);
  if (existsSync(target)) return target;
  log(`writing ${name} for OpenVINO …`);
  return write(python, target, "export_openvino.py", file);
}
