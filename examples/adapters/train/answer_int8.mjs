// Answers of this package in int8, greedy: reads {adapter: [message, …]} as JSON from stdin, writes {adapter: [answer, …]} to stdout.
// evaluate_adapters.py runs it.
import { json } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { loadModel } from "lowrank";

const MAX_NEW_TOKENS = 96;
const asked = await json(process.stdin);
const model = await loadModel("smollm2-135m-instruct");
try {
  const answers = {};
  for (const [adapter, messages] of Object.entries(asked)) {
    await model.adapters.load(adapter, fileURLToPath(new URL(`../${adapter}`, import.meta.url)));
    const chat = (content) =>
      model.chat([{ role: "user", content }], { adapter, maxTokens: MAX_NEW_TOKENS }).result();
    answers[adapter] = (await Promise.all(messages.map(chat))).map(({ text }) => text);
  }
  process.stdout.write(JSON.stringify(answers));
} finally {
  await model.dispose();
}
