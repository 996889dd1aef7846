export { packedDirectory } from "./environment.js";
export { readContainedFile } from "./contained-file.js";
export { resolveModel } from "./resolve-model.js";
export type { ResolvedModel } from "./resolved-model.js";
export { SOURCE, type ResolveModelOptions } from "./options.js";
export type { ModelSourceProgress, OnModelSourceProgress } from "./progress.js";
export { MODEL_ALIASES, type ModelAlias, type ModelWheel } from "./aliases.js";
export { hashFile, type FileChecksum } from "./checked-file.js";
export { TEMPLATE_FOLDER } from "./model-files.js";
