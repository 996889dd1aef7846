import { sep } from "node:path";

const isWithin = (folder: string, path: string): boolean =>
  path.startsWith(folder.endsWith(sep) ? folder : folder + sep);

/**
 * Whether a file that a folder's link leads to belongs to that folder: it lies in it, at whatever depth (a Kubernetes volume, whose
 * files are links into a hidden subfolder), or, where the folder lies in a snapshot of the hub's cache, among the blobs of the same
 * repository. Both are real paths, without links, so that no name can pretend to lie elsewhere than it does.
 */
export function belongsTo(folder: string, path: string): boolean {
  if (isWithin(folder, path)) return true;
  // …/models--owner--name/snapshots/<commit>/… and …/models--owner--name/blobs/<checksum>
  const parts = folder.split(sep);
  const at = parts.lastIndexOf("snapshots");
  if (at < 1 || at === parts.length - 1 || !parts[at - 1]!.startsWith("models--")) return false;
  return isWithin([...parts.slice(0, at), "blobs"].join(sep), path);
}
