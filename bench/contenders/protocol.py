"""What a contender in Python speaks: see protocol.mjs."""

import json
import sys
import time
import traceback


def prompt_tokens(count: int, seed: int) -> list[int]:
    """The same token ids as promptTokens in protocol.mjs."""
    return [1000 + (i * 37 + seed * 101) % 20000 for i in range(count)]


class Stopwatch:
    """Milliseconds up to the first token, and from there to the last."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.first = None
        self.last = None
        self.count = 0

    def token(self) -> None:
        self.last = time.perf_counter()
        self.count += 1
        if self.first is None:
            self.first = self.last

    def answer(self) -> dict:
        return {
            "prefill_ms": 1000 * (self.first - self.began),
            "decode_ms": 1000 * (self.last - self.first),
            "decoded": self.count - 1,
        }


# Sequences of the task `batch`.
BATCH = 16


def serve(ready: dict, generate, batch=None) -> None:
    """Answers tasks one by one.

    generate(prompt, tokens, adapter): a Stopwatch that has seen `tokens` tokens.
    batch(prompts, tokens, adapter): a Stopwatch that has seen as many steps, each of which gave every prompt a token; or None.
    """

    def say(message: dict) -> None:
        print("@" + json.dumps(message), flush=True)

    say({"ready": ready, "tasks": ["generate"] + (["batch"] if batch is not None else [])})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            context, seed, tokens = request["context"], request["seed"], request["tokens"]
            adapter = request.get("adapter", False)
            if request["task"] == "generate":
                watch, sequences = generate(prompt_tokens(context, seed), tokens, adapter), 1
            elif request["task"] == "batch" and batch is not None:
                prompts = [prompt_tokens(context, BATCH * seed + i) for i in range(BATCH)]
                watch, sequences = batch(prompts, tokens, adapter), BATCH
            else:
                raise ValueError(f"Expected a task that this contender has, received {request['task']}.")
            if watch.count != tokens:
                raise ValueError(f"Expected {tokens} tokens, received {watch.count}.")
            answer = watch.answer()
            answer["decoded"] *= sequences
            say(answer)
        except Exception:
            say({"error": traceback.format_exc()})
