import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** A contender's process, driven by `ask`. */
export class Contender {
  #child;
  #ended;
  #lines;
  #log = "";

  /** name: what the report calls it; label: with its threads; args: a function of the threads; env: added to ours. */
  constructor({ name, kind, threads, command, args, env = {} }) {
    this.kind = kind;
    this.name = name;
    this.threads = threads;
    this.label = `${name}, ${threads} ${threads === 1 ? "thread" : "threads"}`;
    this.#child = spawn(command, args(threads), {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    this.#ended = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.on("error", (error) => (this.#log += error.message));
    this.#child.stdin.on("error", () => {}); // it ended: `ask` says so, as its answer is missing
    this.#child.stderr.on("data", (data) => (this.#log += data));
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Waits until its model is loaded; what it tells of itself. `tasks` are then the names of those that it has. */
  async ready() {
    const { ready, tasks } = await this.#next();
    this.tasks = tasks;
    return (this.facts = ready);
  }

  /** Runs one task: see protocol.mjs. */
  async ask(request) {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    return this.#next();
  }

  async #next() {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`${this.label} ended:\n${this.#log.slice(-2000)}`);
      if (!value.startsWith("@")) continue; // a library's own words
      const answer = JSON.parse(value.slice(1));
      if (answer.error) throw new Error(`${this.label}: ${answer.error}`);
      return answer;
    }
  }

  /** Also where it has ended already. */
  async close() {
    this.#child.stdin.end();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 10_000);
    await this.#ended;
    clearTimeout(timer);
  }
}

/** Ends all of them, whatever state they are in. */
export const closeAll = (contenders) => Promise.all(contenders.map((one) => one.close().catch(() => {})));
