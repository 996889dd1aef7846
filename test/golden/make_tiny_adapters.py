"""Makes data/tiny-adapters: adapters as PEFT saves them and the logits that PEFT computes with them.

Run after make_tiny_models.py, as `python make_tiny_adapters.py`.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import shutil

import peft
import torch

from golden_files import GoldenWriter
from int8_weights import quantise_weights
from make_tiny_models import TOLERANCE, logits, random_tokens
from tiny_adapters import (
    ADAPTERS,
    INVOCATION,
    TINY_ADAPTERS,
    attach,
    base_model,
    build,
    build_fused,
    set_scale,
)

LENGTH = 32
GREEDY_TOKENS = 24


def tokens_of(base: str) -> list[int]:
    return random_tokens(256, LENGTH, sum(map(ord, base)))


def invoked(*starts: int) -> list[int]:
    """The usual tokens with the invocation sequence of the activated adapter written over them at these
    positions."""
    tokens = tokens_of("llama")
    for start in starts:
        tokens[start : start + len(INVOCATION)] = INVOCATION
    return tokens


def cases() -> list[dict]:
    """What is compared: the base, its precision, the tokens, the adapters in order with the request's
    scales."""
    result = [
        dict(base=adapter.base, adapters=[(adapter.name, 1.0)])
        for adapter in ADAPTERS
        if adapter.name != "activated"
    ]
    for case in result:
        if case["base"] == "phi3":  # beyond the short context
            case["tokens"] = tokens_of("phi3") * 2
    result += [
        dict(base="llama", adapters=[("fused", 1.0)], computed_with=[("fused-parts", 1.0)]),
        dict(base="llama", adapters=[("plain", 0.5)]),
        dict(base="llama", adapters=[("plain", 1.0)], precision="w8-float32"),
        dict(base="llama", adapters=[("dora", 0.5)]),
        dict(base="llama", adapters=[("dora", 1.0)], precision="w8-float32"),
        dict(base="llama-bias", adapters=[("dora-bias", 0.5)], precision="w8-float32"),
        dict(base="gemma3", adapters=[("gemma3-dora", 1.0)], precision="w8-float32"),
        dict(base="llama", adapters=[("embedding", 0.5)]),
        dict(base="llama", adapters=[("lora-bias", 0.5)]),
        dict(base="llama-bias", adapters=[("bias-all", 0.5)]),
        dict(base="llama", adapters=[("plain", 0.7), ("rslora", 1.3)]),
        dict(base="llama", adapters=[("patterns", 1.0), ("second-layer", 0.5), ("embedding", 1.0)]),
        # PEFT's DoRA multiplies what came before it, so the order of the two shows.
        dict(base="llama", adapters=[("plain", 0.7), ("dora", 1.0)]),
        dict(base="llama", adapters=[("dora", 1.0), ("plain", 0.7)]),
        dict(base="llama", adapters=[("activated", 1.0)], tokens=invoked(), inactive=True),
        dict(base="llama", adapters=[("activated", 1.0)], tokens=invoked(12), active_from=12),
        dict(base="llama", adapters=[("activated", 1.0)], tokens=invoked(4, 20), active_from=20),
        dict(base="llama", adapters=[("activated", 0.5)], tokens=invoked(29), active_from=29),
    ]
    return result


GREEDY = {"plain", "dora", "embedding", "saved-modules", "activated"}


def continuation(model, tokens: list[int], base: str) -> dict:
    """Greedy tokens under the adapter, and the gap of the top two logits at each step."""
    tokens, start, gaps = list(tokens), len(tokens), []
    for _ in range(GREEDY_TOKENS):
        top = logits(model, tokens)[-1].topk(2)
        gaps.append(float(top.values[0] - top.values[1]))
        tokens.append(int(top.indices[0]))
    return {"tokens": tokens[start:], "gaps": gaps}


@torch.no_grad()
def restore_base(model, base):
    """Undoes PEFT's loading of `base_layer.weight`: it saves the float32 table of a targeted embedding or
    head beside the adapter, which is the base's own and would undo the quantisation of a W8 base."""
    weights = dict(base.named_parameters())
    for name, parameter in model.base_model.model.named_parameters():
        if name.endswith(".base_layer.weight"):
            parameter.copy_(weights.get(name.replace(".base_layer", ""), base.get_input_embeddings().weight))
    return model


def compute(writer: GoldenWriter, case: dict) -> dict:
    precision = case.get("precision", "float32")
    tokens = case.get("tokens", tokens_of(case["base"]))

    def base():
        model = base_model(case["base"])
        return quantise_weights(model) if precision == "w8-float32" else model

    unadapted = base()
    without = logits(unadapted, tokens)
    computed_with = case.get("computed_with", case["adapters"])
    model = restore_base(attach(base(), [name for name, _ in computed_with]), unadapted)
    for name, scale in computed_with:
        set_scale(model, name, scale)
    values = logits(model, tokens)
    scale = float(values.abs().max())
    effect = float((values - without).abs().max())
    if case.get("inactive"):
        assert effect == 0
    elif effect < 100 * TOLERANCE * scale:
        raise RuntimeError(f"{case}: the adapter moves the logits by {effect} only.")
    if "active_from" in case:
        assert torch.equal(values[: case["active_from"]], without[: case["active_from"]])
    names = "+".join(f"{name}x{scale}" for name, scale in case["adapters"])
    print(f"{names} on {case['base']} {precision}: effect {effect:.2f}, max {scale:.2f}")
    entry = {
        "base": case["base"],
        "precision": precision,
        "adapters": [{"name": name, "scale": scale} for name, scale in case["adapters"]],
        "tokens": tokens,
        "maxAbs": scale,
        # How far the adapter moves the logits: the golden fails without it.
        "effect": effect,
        "logits": writer.array(values),
    }
    if precision == "float32" and len(case["adapters"]) == 1 and names.removesuffix("x1.0") in GREEDY:
        entry["greedy"] = continuation(model, tokens, case["base"])
    return entry


if __name__ == "__main__":
    torch.set_num_threads(1)
    shutil.rmtree(TINY_ADAPTERS, ignore_errors=True)
    for tiny_adapter in ADAPTERS:
        build(tiny_adapter)
    build_fused()
    golden = GoldenWriter(TINY_ADAPTERS / "tiny-adapters")
    entries = [compute(golden, case) for case in cases()]
    shutil.rmtree(TINY_ADAPTERS / "fused-parts")
    bases = {adapter.name: adapter.base for adapter in ADAPTERS} | {"fused": "llama"}
    golden.write({"peft": peft.__version__, "bases": bases, "cases": entries})
