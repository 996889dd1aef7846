/** A queue that serves its groups in turn, and within a group first come, first served. */
export class FairQueue<T> {
  /** The group to be served next comes first. */
  readonly #groups = new Map<string, T[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  sizeOf(group: string): number {
    return this.#groups.get(group)?.length ?? 0;
  }

  push(group: string, item: T): void {
    const items = this.#groups.get(group);
    if (items) items.push(item);
    else this.#groups.set(group, [item]);
    this.#size++;
  }

  /** Takes the next item out; undefined where there is none. */
  shift(): T | undefined {
    for (const [group, items] of this.#groups) {
      const item = items.shift();
      this.#groups.delete(group);
      if (items.length > 0) this.#groups.set(group, items); // behind the others
      this.#size--;
      return item;
    }
    return undefined;
  }

  /** Takes an item out of its group. False where it is not there. */
  remove(group: string, item: T): boolean {
    const items = this.#groups.get(group);
    const at = items?.indexOf(item) ?? -1;
    if (at < 0) return false;
    items!.splice(at, 1);
    if (items!.length === 0) this.#groups.delete(group);
    this.#size--;
    return true;
  }
}
