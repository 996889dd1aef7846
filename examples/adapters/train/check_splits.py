"""Checks that the train and held-out halves share no name, product, machine, component, code, phrasing or message.

    python check_splits.py
"""

import random

import maintenance_report
import order_json
import pools
from tasks import TASKS


def phrase_tables(module) -> dict[str, dict]:
    """The module's tables of phrasings, flattened to {name: {"train": phrases, "held_out": phrases}}."""
    tables = {}
    for name, table in vars(module).items():
        if not isinstance(table, dict) or name.startswith("__"):
            continue
        nested = table if set(table) != set(pools.SPLITS) else {"": table}
        tables.update({f"{module.__name__}.{name}.{key}": halves for key, halves in nested.items()
                       if isinstance(halves, dict) and set(halves) == set(pools.SPLITS)})
    return tables


def main() -> None:
    tables = {name: {split: pools.pool(name, split) for split in pools.SPLITS} for name in pools.POOLS}
    # Legal forms of companies (Ltd, GmbH …) are common to both halves.
    del tables["company_forms"]
    tables |= phrase_tables(order_json) | phrase_tables(maintenance_report)
    for name, halves in tables.items():
        shared = set(halves["train"]) & set(halves["held_out"])
        if shared:
            raise SystemExit(f"{name}: both halves have {sorted(shared)}")
    for name, task in TASKS.items():
        drawn = {split: [task.example(random.Random(seed), split) for seed in range(5000)] for split in pools.SPLITS}
        messages = {split: {message for message, _ in examples} for split, examples in drawn.items()}
        if messages["train"] & messages["held_out"]:
            raise SystemExit(f"{name}: a message occurs in both halves")
        for split, examples in drawn.items():
            for message, record in examples:
                if task.parse(task.render(record)) != record:
                    raise SystemExit(f"{name}, {split}: the target does not parse back to {record}")
        print(f"{name}: {len(messages['train'])} train and {len(messages['held_out'])} held-out messages differ")
    print(f"{len(tables)} tables of words and phrasings are disjoint")


if __name__ == "__main__":
    main()
