/** A model whose files lie on this machine. */
export interface ResolvedModel {
  /** `folder`: config.json with safetensors weights. `gguf`: a GGUF file, or the parts of a split one. */
  kind: "folder" | "gguf";
  /** Absolute path of the folder or of the file, of a split one the first part. */
  path: string;
  /** For people and logs: the alias, `owner/name`, or the name of the folder or file. */
  name: string;
  /** Commit on the hub, 40 hex digits, where the files came from there. */
  revision?: string;
  /**
   * Absolute paths of the files to read: of a folder config.json, then tokenizer and template files, then the weights in
   * the order of their names; of a GGUF model that file, or all of its parts in order.
   */
  files: string[];
}
