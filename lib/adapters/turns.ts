/** Work on one key is done in the order in which it was asked for; work on different keys does not wait for each other. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs `work` when all earlier work on `key` is done, whether it failed or not; at once where there is none. */
  take<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key);
    const turn = before ? before.then(work, work) : work();
    const settled = turn.then(
      () => {},
      () => {},
    );
    this.#last.set(key, settled);
    void settled.then(() => {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    });
    return turn;
  }

  /** Resolves when everything that has been asked for so far is done. Never rejects. */
  async idle(): Promise<void> {
    await Promise.all(this.#last.values());
  }
}
