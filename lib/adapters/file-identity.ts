import type { BigIntStats } from "node:fs";
import { stat } from "node:fs/promises";

/** A file and what the file system said of it when it was read: another identity means that its content may have changed. */
export interface FileIdentity {
  path: string;
  identity: string;
}

export const identityOf = ({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string =>
  [dev, ino, size, mtimeNs, ctimeNs].join(" ");

/** True where no file has changed since; false, too, where one cannot be looked at. */
export async function unchanged(files: readonly FileIdentity[]): Promise<boolean> {
  const now = await Promise.all(
    files.map(({ path }) => stat(path, { bigint: true }).then(identityOf, () => "")),
  );
  return files.every(({ identity }, i) => identity === now[i]);
}
