/** Messages of every shape for a real template, as a stranger would send them. */
import { readFileSync } from "node:fs";
import { TextProcessor } from "../../../dist/tokenizer/index.js";
import { readTiny } from "./files.mjs";

const chat = JSON.parse(
  readFileSync(new URL("../../golden/data/tokenizer/chat.json", import.meta.url), "utf8"),
);

export function randomMessages(random) {
  if (random.chance(0.05)) return random.json();
  const count = random.chance(0.02) ? random.below(100_000) : random.below(8);
  const roles = ["system", "user", "assistant", "tool", "", "x", 5, null];
  return Array.from({ length: count }, () => {
    if (random.chance(0.01)) return random.json();
    const content = random.chance(0.03)
      ? random.pick(["<", "a", "日", " ", "<|im_start|>", "🦜"]).repeat(random.below(4_000_000))
      : random.chance(0.05)
        ? random.json()
        : random.chance(0.15)
          ? [{ type: "text", text: random.text() }]
          : random.text();
    const message = {
      role: random.chance(0.98) ? random.pick(roles.slice(0, 4)) : random.pick(roles),
      content,
    };
    if (random.chance(0.1)) message.tool_calls = random.json();
    if (random.chance(0.05)) message.reasoning_content = random.text();
    return message;
  });
}

export async function createMessages() {
  const text = await TextProcessor.create({
    kind: "files",
    files: { tokenizerJson: readTiny("llama3"), tokenizerConfig: { eos_token: "</s>" } },
  });
  const templates = Object.values(chat.templates);
  return {
    async run(random) {
      const options = { chatTemplate: random.pick(templates), maxTokens: 8192 };
      if (random.chance(0.2))
        options.tools = random.chance(0.2)
          ? random.json()
          : [{ name: random.text(), parameters: random.json() }];
      if (random.chance(0.1)) options.documents = [{ title: random.text(), text: random.text() }];
      if (random.chance(0.1)) options.variables = { enable_thinking: random.json(), x: random.json() };
      await text.applyChatTemplate(randomMessages(random), options);
      const prompt = random.chance(0.05) ? random.text().repeat(random.below(100_000)) : random.text(100_000);
      await text.encode(prompt, { maxTokens: 8192 });
    },
    dispose: () => text.dispose(),
  };
}
