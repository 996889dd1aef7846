import type { CommandModule } from "../context.js";

interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<CommandModule>;
}

/** Every command, one file each. */
export const COMMANDS: readonly CommandEntry[] = [
  { name: "chat", summary: "Talk with a model", load: () => import("./chat.js") },
  { name: "generate", summary: "Continue or answer a prompt", load: () => import("./generate.js") },
  { name: "score", summary: "Log-probabilities of a completion", load: () => import("./score.js") },
  { name: "tokenize", summary: "Token ids of a text", load: () => import("./tokenize.js") },
  { name: "compare", summary: "Measure how adapters differ, as a page", load: () => import("./compare.js") },
  { name: "pull", summary: "Download a model", load: () => import("./pull.js") },
  {
    name: "models",
    summary: "Models on this machine, and what they take",
    load: () => import("./models.js"),
  },
  { name: "adapters", summary: "Look into adapters and check them", load: () => import("./adapters.js") },
  { name: "devices", summary: "What models can run on", load: () => import("./devices.js") },
  { name: "doctor", summary: "Find what is wrong with this machine", load: () => import("./doctor.js") },
  { name: "completion", summary: "Completion for bash, zsh or fish", load: () => import("./completion.js") },
];
