import { expect, test } from "vitest";
import { FairQueue } from "#lib/tokenizer/fair-queue.js";

test("groups take turns; within a group first come, first served", () => {
  const queue = new FairQueue<string>();
  for (const item of ["a1", "a2", "a3", "b1", "c1", "b2", "c2"]) queue.push(item[0]!, item);
  expect(queue.size).toBe(7);
  expect(queue.sizeOf("a")).toBe(3);
  const order: string[] = [];
  for (let item; (item = queue.shift()) !== undefined;) order.push(item);
  expect(order).toEqual(["a1", "b1", "c1", "a2", "b2", "c2", "a3"]);
  expect(queue.size).toBe(0);
});

test("a group that comes late waits for one item of each other group", () => {
  const queue = new FairQueue<string>();
  for (let i = 0; i < 100; i++) queue.push("a", `a${i}`);
  expect(queue.shift()).toBe("a0");
  queue.push("b", "b0");
  expect([queue.shift(), queue.shift()]).toEqual(["a1", "b0"]);
});

test("items are taken out", () => {
  const queue = new FairQueue<string>();
  queue.push("a", "a1");
  queue.push("b", "b1");
  expect(queue.remove("a", "b1")).toBe(false);
  expect(queue.remove("a", "a1")).toBe(true);
  expect(queue.remove("a", "a1")).toBe(false);
  expect([queue.size, queue.sizeOf("a"), queue.shift(), queue.shift()]).toEqual([1, 0, "b1", undefined]);
});
