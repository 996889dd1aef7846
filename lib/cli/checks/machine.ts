import { addon, devices, instructionSets } from "../../native/index.js";
import { packageVersion } from "../version.js";
import type { Finding } from "./index.js";

const MIN_NODE = 20;

export async function nodeVersion(): Promise<Finding> {
  const says = `${process.version}, ${process.platform}-${process.arch}${libc()}`;
  const major = Number(process.versions.node.split(".")[0]);
  return major >= MIN_NODE
    ? { state: "ok", says }
    : { state: "failure", says, remedy: `Install Node.js ${MIN_NODE} or later.` };
}

/** Which C library Linux has. */
function libc(): string {
  if (process.platform !== "linux") return "";
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime ? `, glibc ${header.glibcVersionRuntime}` : ", musl";
}

export async function addonLoads(): Promise<Finding> {
  try {
    addon();
  } catch (error) {
    return { state: "failure", says: (error as Error).message };
  }
  return { state: "ok", says: `lowrank ${packageVersion()} loads` };
}

export async function instructionSet(): Promise<Finding> {
  const forced = process.env["LOWRANK_ISA"];
  let sets;
  try {
    sets = instructionSets();
  } catch {
    return { state: "failure", says: "not known, as the engine does not load" };
  }
  const names = sets.filter(({ available }) => available).map(({ name }) => name);
  if (forced) {
    return names.includes(forced)
      ? {
          state: "warning",
          says: `${forced}, forced by LOWRANK_ISA; the best here is ${names[0]}`,
          remedy: "Unset LOWRANK_ISA.",
        }
      : {
          state: "failure",
          says: `LOWRANK_ISA is ${JSON.stringify(forced)}, which this processor or this build lacks`,
          remedy: `Unset LOWRANK_ISA, or set it to one of ${names.join(", ")}.`,
        };
  }
  const best = sets.find(({ available }) => available)!;
  return best.name === "reference"
    ? { state: "warning", says: "reference: no kernels for this processor; models run, and slowly" }
    : { state: "ok", says: `${best.name} (${best.description})` };
}

export async function cuda(): Promise<Finding> {
  let found;
  try {
    found = await devices();
  } catch {
    return { state: "failure", says: "not known, as the engine does not load" };
  }
  const cards = found.filter(({ backend }) => backend === "cuda");
  const [usable] = cards.filter(({ available }) => available);
  if (usable)
    return { state: "ok", says: `${usable.id}: ${usable.name}${usable.emulated ? ", EMULATED" : ""}` };
  return { state: "ok", says: `none (${cards[0]?.reason ?? "no device"}); models run on the CPU` };
}
