"""Scores the demo adapters on held-out data, and writes ../scores.json and the outputs in ../demo-prompts.json.

    python evaluate_adapters.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf

Four conditions, each with greedy decoding. In float32 by PEFT: `base` gets the message alone; `base_instructed` gets the
task's instruction before it; `adapter` gets the message alone. `adapter_int8` is the same by this package in int8
(answer_int8.mjs; `npm run quickstart` builds what it needs). An answer that is not exactly of the form counts as wrong in
every field.
"""

import argparse
import hashlib
import json
import random
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import torch
from peft import PeftModel

from base_model import BASE_NAME, answer, load_base
from tasks import TASKS

ADAPTERS = Path(__file__).parent.parent
SEED = 61_123  # of the held-out data; training has its own
MAX_NEW_TOKENS = 96


def held_out(task, count: int) -> list[tuple[str, dict]]:
    rng = random.Random(SEED)
    return [task.example(rng, "held_out") for _ in range(count)]


def score(task, examples: list[tuple[str, dict]], answers: list[str]) -> dict:
    """Shares of valid answers, right fields and entirely right records, each in 0..1."""
    parsed = [task.parse(text) for text in answers]
    right = {
        key: sum(got is not None and type(got[key]) is type(want[key]) and got[key] == want[key]
                 for got, (_, want) in zip(parsed, examples, strict=True)) / len(examples)
        for key in task.KEYS
    }
    return {
        "records": len(examples),
        "valid": sum(got is not None for got in parsed) / len(examples),
        "field_accuracy": round(sum(right.values()) / len(right), 4),
        "record_exact_match": sum(got == want for got, (_, want) in zip(parsed, examples, strict=True)) / len(examples),
        "fields": right,
    }


def evaluate(model, tokenizer, name: str, count: int, base_count: int, show_errors: bool) -> dict:
    task = TASKS[name]
    examples = held_out(task, count)
    messages = [message for message, _ in examples]
    few = messages[:base_count]
    with model.disable_adapter():
        base = answer(model, tokenizer, few, MAX_NEW_TOKENS)
        told = answer(model, tokenizer, [f"{task.INSTRUCTION}\n\n{message}" for message in few], MAX_NEW_TOKENS)
    model.set_adapter(name)
    adapted = answer(model, tokenizer, messages, MAX_NEW_TOKENS)
    if show_errors:
        for text, (message, record) in zip(adapted, examples, strict=True):
            if text != task.render(record):
                print(f"# {message}\n  want {task.render(record)}\n  got  {text}")
    return {
        "base": score(task, examples[:base_count], base),
        "base_instructed": score(task, examples[:base_count], told),
        "adapter": score(task, examples, adapted),
    }


def evaluate_int8(count: int) -> dict[str, dict]:
    examples = {name: held_out(task, count) for name, task in TASKS.items()}
    messages = {name: [message for message, _ in pairs] for name, pairs in examples.items()}
    done = subprocess.run(
        ["node", Path(__file__).parent / "answer_int8.mjs"],
        input=json.dumps(messages), stdout=subprocess.PIPE, text=True, check=True,
    )
    answers = json.loads(done.stdout)
    return {name: score(task, examples[name], answers[name]) for name, task in TASKS.items()}


def write_scores(scores: dict, records: int) -> None:
    """Adds the int8 condition and writes ../scores.json."""
    for name, figures in evaluate_int8(records).items():
        scores["adapters"][name]["adapter_int8"] = figures
        report(name, "adapter_int8", figures)
    (ADAPTERS / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")


def report(name: str, condition: str, figures: dict) -> None:
    print(f"{name} {condition}: valid {figures['valid']:.1%}, fields {figures['field_accuracy']:.1%},"
          f" records {figures['record_exact_match']:.1%} of {figures['records']}", flush=True)


def fill_demo_prompts(model, tokenizer, file: Path) -> None:
    """Puts the outputs of the base and of both adapters beside every prompt of the file."""
    demo = json.loads(file.read_text())
    messages = [prompt["message"] for prompt in demo["prompts"]]
    with model.disable_adapter():
        outputs = {"base": answer(model, tokenizer, messages, MAX_NEW_TOKENS)}
    for name in TASKS:
        model.set_adapter(name)
        outputs[name] = answer(model, tokenizer, messages, MAX_NEW_TOKENS)
    for index, prompt in enumerate(demo["prompts"]):
        prompt["outputs"] = {name: texts[index] for name, texts in outputs.items()}
    file.write_text(json.dumps(demo, indent=2, ensure_ascii=False) + "\n")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--gguf", type=Path, required=True, help="SmolLM2-135M-Instruct.Q4_1.gguf")
    arguments.add_argument("--adapters", type=Path, default=ADAPTERS, help="parent of the adapter folders")
    arguments.add_argument("--records", type=int, default=120, help="held-out records for each adapter")
    arguments.add_argument("--base-records",
                           type=int, default=30, help="of these, how many the base is scored on")
    arguments.add_argument("--show-errors", action="store_true", help="print every wrong answer")
    arguments.add_argument("--int8-only", action="store_true", help="score adapter_int8 anew, keep the rest of scores.json")
    arguments.add_argument("--threads", type=int, default=2)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    if options.int8_only:
        write_scores(json.loads((ADAPTERS / "scores.json").read_text()), options.records)
        return
    base, tokenizer = load_base(options.gguf)
    first, *others = TASKS
    model = PeftModel.from_pretrained(base, options.adapters / first, adapter_name=first)
    for name in others:
        model.load_adapter(options.adapters / name, adapter_name=name)
    model.eval()
    scores = {
        "base": BASE_NAME,
        "gguf": {"file": options.gguf.name, "sha256": hashlib.sha256(options.gguf.read_bytes()).hexdigest()},
        "versions": {package: version(package) for package in ("torch", "transformers", "peft")},
        "decoding": {"greedy": True, "dtype": "float32", "max_new_tokens": MAX_NEW_TOKENS},
        "held_out_seed": SEED,
        "adapters": {},
    }
    for name in TASKS:
        started = time.monotonic()
        result = evaluate(model, tokenizer, name, options.records, options.base_records, options.show_errors)
        scores["adapters"][name] = result
        for condition, figures in result.items():
            report(name, condition, figures)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    write_scores(scores, options.records)
    fill_demo_prompts(model, tokenizer, ADAPTERS / "demo-prompts.json")


if __name__ == "__main__":
    main()
