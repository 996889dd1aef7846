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


def serve(ready: dict, generate) -> None:
    """Answers tasks one by one. generate(prompt, tokens, adapter): a Stopwatch that has seen `tokens` tokens."""

    def say(message: dict) -> None:
        print("@" + json.dumps(message), flush=True)

    say({"ready": ready})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["task"] != "generate":
                raise ValueError(f"Expected generate for the task, received {request['task']}.")
            prompt = prompt_tokens(request["context"], request["seed"])
            watch = generate(prompt, request["tokens"], request.get("adapter", False))
            if watch.count != request["tokens"]:
                raise ValueError(f"Expected {request['tokens']} tokens, received {watch.count}.")
            say(watch.answer())
        except Exception:
            say({"error": traceback.format_exc()})
