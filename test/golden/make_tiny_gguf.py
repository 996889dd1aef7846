"""Makes data/tiny-gguf: small models and adapters as GGUF (gguf_conventions.py) and their logits.

The models are those of data/tiny-models, the adapters those of data/tiny-adapters, so run make_tiny_models.py
and make_tiny_adapters.py first.
"""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM

from gguf_conventions import BF16, F16, F32, PERMUTED, Q8_0, TINY_GGUF, names_of, write_adapter, write_model
from golden_files import GoldenWriter
from make_tiny_adapters import restore_base, tokens_of
from make_tiny_models import TOLERANCE, logits
from tiny_adapters import TINY_ADAPTERS, attach, set_scale
from tiny_models import MODELS, load


@torch.no_grad()
def dequantised(path: Path, model):
    """The model with the weights that the file holds, read back and un-permuted here."""
    config = model.config
    names = names_of(config)
    tensors = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}
    for key, parameter in model.named_parameters():
        weight = tensors[names.get_name(key, try_suffixes=(".weight", ".bias"))].reshape(parameter.shape)
        if config.model_type in PERMUTED and ("q_proj" in key or "k_proj" in key):
            heads = config.num_attention_heads if "q_proj" in key else config.num_key_value_heads
            pairs = weight.reshape(heads, -1, 2, *weight.shape[1:])
            weight = pairs.swapaxes(1, 2).reshape(weight.shape)
        if config.model_type.startswith("gemma") and key.endswith("norm.weight"):
            weight = weight - np.float32(1)
        parameter.copy_(torch.from_numpy(np.array(weight, dtype=np.float32)))
    return model


def entry(writer: GoldenWriter, model_file: str, tokens: list[int], values: torch.Tensor, **extra) -> dict:
    result = {"model": model_file, "tokens": tokens, "maxAbs": float(values.abs().max())}
    return {**result, **extra, "logits": writer.array(values)}


def main() -> None:
    torch.set_num_threads(1)
    shutil.rmtree(TINY_GGUF, ignore_errors=True)
    TINY_GGUF.mkdir(parents=True)
    tiny = {model.name: model for model in MODELS}
    golden = GoldenWriter(TINY_GGUF / "tiny-gguf")
    cases = []

    def base(name: str):
        # GGUF knows no query_pre_attn_scalar: it is head_dim there.
        overrides = {"query_pre_attn_scalar": tiny[name].config.head_dim} if name.startswith("gemma") else {}
        return load(tiny[name].folder, **overrides)

    files = {
        "llama-f16": ("llama", F16),
        "llama-q8_0": ("llama", Q8_0),
        "llama3-rope-f16": ("llama3-rope", F16),
    }
    others = {name: (name.rpartition("-")[0], F16) for name in ("llama-bias-f16", "granite-f16", "smollm3-f16")}
    others |= {name: (name.rpartition("-")[0], BF16) for name in ("olmo2-bf16", "phi3-bf16", "gemma2-bf16")}
    for file, (name, kind) in {**files, "gemma3-bf16": ("gemma3", BF16), **others}.items():
        path = write_model(file, base(name), kind)
        model = dequantised(path, base(name))
        tokens = tokens_of(name) * 2
        values = logits(model, tokens)
        if name == "llama":  # transformers reads the file itself: a second opinion on the conventions
            own = AutoModelForCausalLM.from_pretrained(
                TINY_GGUF, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager"
            ).eval()
            assert torch.equal(logits(own, tokens), values), f"transformers reads {path.name} otherwise."
        cases.append(entry(golden, path.name, tokens, values))
        if tiny[name].short_context:  # the other factors of RoPE
            length = tiny[name].short_context
            values = logits(model, tokens[:length])
            cases.append(entry(golden, path.name, tokens[:length], values, contextLength=length))

    adapters = {
        "plain-f32": ("plain", F32, "llama", "llama-q8_0"),
        "embedding-f16": ("embedding", F16, "llama", "llama-q8_0"),
        "activated-f16": ("activated", F16, "llama", "llama-q8_0"),
        "granite-f32": ("granite", F32, "granite", "granite-f16"),
        "phi3-f32": ("phi3", F32, "phi3", "phi3-bf16"),
    }
    for file, (adapter, kind, name, model_file) in adapters.items():
        path = write_adapter(file, adapter, tiny[name].config, kind)
        tokens = tokens_of(name) * 2 if name == "phi3" else tokens_of(name)
        if adapter == "activated":
            tokens[10:13] = json.loads((TINY_ADAPTERS / adapter / "adapter_config.json").read_text())[
                "alora_invocation_tokens"
            ]
        unadapted = dequantised(TINY_GGUF / f"{model_file}.gguf", base(name))
        without = logits(unadapted, tokens)
        for scale in (1.0, 0.5):
            model = attach(dequantised(TINY_GGUF / f"{model_file}.gguf", base(name)), [adapter])
            model = restore_base(model, unadapted)
            if kind == F16:
                for key, parameter in model.named_parameters():
                    if ".lora_" in key:
                        parameter.data = parameter.data.half().float()
            set_scale(model, adapter, scale)
            values = logits(model, tokens)
            effect = float((values - without).abs().max())
            if effect < 100 * TOLERANCE * float(values.abs().max()):
                raise RuntimeError(f"{path.name}: the adapter moves the logits by {effect} only.")
            extra = {"adapters": [{"file": path.name, "scale": scale}], "effect": effect}
            cases.append(entry(golden, f"{model_file}.gguf", tokens, values, **extra))
    golden.write({"gguf": version("gguf"), "cases": cases})
    print(
        "\n".join(f"{case['model']} {case.get('adapters', '')}: max {case['maxAbs']:.2f}" for case in cases)
    )


if __name__ == "__main__":
    main()
