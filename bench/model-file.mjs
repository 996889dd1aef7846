import { loadModel } from "lowrank";
import { resolveModel } from "#lib/model/sources/index.js";

/** The file or folder behind a name, fetched where it is missing, and the model's facts. */
export async function modelFile(name) {
  const model = await loadModel(name);
  const { facts } = model;
  await model.dispose();
  return { file: (await resolveModel(name, {})).path, facts };
}
