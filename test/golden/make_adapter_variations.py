"""Makes data/adapter-variations: what PEFT makes of the small adapters once a key of their configuration or a
tensor of their file is changed.

Run after make_tiny_adapters.py, as `python make_adapter_variations.py`. The changes are told in the manifest, so
that the tests make the same files without Python: only PEFT's logits of the last token are kept, or "error".
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import json
import logging
import tempfile
import warnings
from pathlib import Path

import peft
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from adapter_variations import CONFIG_ADAPTERS, TENSOR_CASES, config_changes
from golden_files import DATA, GoldenWriter
from make_tiny_adapters import tokens_of
from tiny_adapters import INVOCATION, TINY_ADAPTERS, base_model
from tiny_models import TINY_MODELS

BASE_PREFIX = "base:"


def tokens_for(adapter: str, base: str) -> list[int]:
    tokens = tokens_of(base)[:12]
    if adapter == "activated":
        tokens[4 : 4 + len(INVOCATION)] = INVOCATION
    return tokens


def changed_tensors(adapter: str, base: str, changes: list[dict]) -> dict[str, torch.Tensor]:
    """The file's tensors after the changes, which adapter_variations.py explains."""
    tensors = load_file(TINY_ADAPTERS / adapter / "adapter_model.safetensors")
    weights = load_file(TINY_MODELS / base / "model.safetensors")
    for change in changes:
        if "take" in change:
            source = change["take"]
            found = weights[source.removeprefix(BASE_PREFIX)] if source.startswith(BASE_PREFIX) else tensors[source]
            if "rows" in change:
                found = found[change["rows"]]
            tensors[change["as"]] = found.float().clone()
        elif "shift" in change:
            row = tensors[change["shift"]][change["row"]]
            row[0::2] += change["by"]
            row[1::2] -= change["by"]
        else:
            del tensors[change["drop"]]
    return tensors


@torch.no_grad()
def result_of(adapter: str, base: str, config: dict, tensors: dict[str, torch.Tensor]) -> torch.Tensor | None:
    """PEFT's logits of the last token; None where it raises."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "adapter_config.json").write_text(json.dumps(config))
        save_file(tensors, Path(folder, "adapter_model.safetensors"), metadata={"format": "pt"})
        try:
            torch.manual_seed(0)
            model = PeftModel.from_pretrained(base_model(base), folder).eval()
            return model(torch.tensor([tokens_for(adapter, base)])).logits[0, -1].float()
        except Exception:
            return None


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    golden = GoldenWriter(DATA / "adapter-variations" / "adapter-variations")
    places: dict[bytes, dict] = {}

    def place(logits: torch.Tensor | None):
        if logits is None or not bool(torch.isfinite(logits).all()):
            return "error"
        # Results that differ in the last bits alone are one.
        key = (logits * 1e4).round().numpy().tobytes()
        if key not in places:
            places[key] = golden.array(logits)
        return places[key]

    def config_of(adapter: str) -> dict:
        return json.loads((TINY_ADAPTERS / adapter / "adapter_config.json").read_text())

    keys = {}
    for adapter, base in CONFIG_ADAPTERS.items():
        config = config_of(adapter)
        tensors = changed_tensors(adapter, base, [])
        keys[adapter] = {
            "base": base,
            "tokens": tokens_for(adapter, base),
            "unchanged": place(result_of(adapter, base, config, tensors)),
            "changes": [],
        }
        for change in config_changes(config, everything=adapter == next(iter(CONFIG_ADAPTERS))):
            changed = {key: value for key, value in config.items() if key != change["key"]}
            if "value" in change:
                changed[change["key"]] = change["value"]
            result = place(result_of(adapter, base, changed, tensors))
            keys[adapter]["changes"].append(change | {"result": result})
        print(adapter, len(keys[adapter]["changes"]))
    cases = []
    for case in TENSOR_CASES:
        adapter, base = case["adapter"], case["base"]
        config = config_of(adapter) | case.get("config", {})
        tensors = changed_tensors(adapter, base, case["tensors"])
        result = place(result_of(adapter, base, config, tensors))
        cases.append(case | {"tokens": tokens_for(adapter, base), "result": result})
        print(case["name"], "error" if result == "error" else "logits")
    golden.write({"peft": peft.__version__, "keys": keys, "cases": cases})


if __name__ == "__main__":
    main()
