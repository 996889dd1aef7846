// Resolves a model in a process of its own: resolve-child.mjs <name> <cacheDirectory>. Prints the path.
import { resolveModel } from "#lib/model/sources/index.js";

const [name, cacheDirectory] = process.argv.slice(2);
process.stdout.write((await resolveModel(name, { cacheDirectory })).path);
