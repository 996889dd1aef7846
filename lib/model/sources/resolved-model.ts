/** A model whose files lie on this machine. */
export interface ResolvedModel {
  /** `folder`: config.json with safetensors weights. `gguf`: one GGUF file. */
  kind: "folder" | "gguf";
  /** Absolute path of the folder or of the file. */
  path: string;
  /** For people and logs: the alias, `owner/name`, or the name of the folder or file. */
  name: string;
  /** Commit on the hub, 40 hex digits, where the files came from there. */
  revision?: string;
  /**
   * Absolute paths of the files to read: of a folder config.json, then tokenizer and template files, then the weights in
   * the order of their names; of a GGUF model that file alone.
   */
  files: string[];
}
