"""Makes data/model-files: what transformers makes of altered config.json files, keys of GGUF headers and tensors.

Of each tiny model, in the form of transformers 5 and in that of 4, every key is left out, given another plausible value, and a
value of another type; and keys are added that other files have. The result is a few logits of the last position, "same" where
they are those of the unaltered model, or "error": an exception, or weights that were missing and made up.

Run as `python make_model_files.py [section…]` after make_tiny_models.py and make_tiny_gguf.py, with the versions of requirements.txt.
"""

import copy
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from golden_files import DATA
from make_tiny_gguf import dequantised
from make_tiny_models import TOLERANCE, logits, random_tokens
from gguf_conventions import TINY_GGUF, llama3_divisors
from tiny_models import MODELS, TINY_MODELS, load

TARGET = DATA / "model-files" / "model-files.golden.json"
LENGTH = 48
PROBES = 4  # logits kept of a result
ABSENT = "<absent>"


def tokens_of(vocabulary_size: int) -> list[int]:
    return random_tokens(vocabulary_size, LENGTH, 4242)


def probe(model) -> torch.Tensor:
    """Logits of the last position at evenly spaced ids."""
    last = logits(model, tokens_of(model.config.vocab_size))[-1]
    return last[torch.linspace(0, last.shape[0] - 1, PROBES).long()]


def run(folder: Path) -> torch.Tensor | str:
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        if report["missing_keys"] or report["mismatched_keys"]:
            return "error"
        return probe(model.eval())
    except Exception:  # whatever it is, transformers has no result
        return "error"


def outcome(values: torch.Tensor | str, base: torch.Tensor) -> list[float] | str:
    if isinstance(values, str):
        return values
    if not bool(values.isfinite().all()):
        return "error"
    if float((values - base).abs().max()) <= TOLERANCE / 10 * float(base.abs().max()):
        return "same"
    return [float(f"{value:.6g}") for value in values.tolist()]


NULLS = {
    "pad_token_id": 0,
    "bos_token_id": 3,
    "rope_scaling": {"rope_type": "linear", "factor": 4.0},
    "final_logit_softcapping": 5.0,
    "attn_logit_softcapping": 5.0,
    "head_dim": 8,
}
STRINGS = {
    "model_type": ["mistral", "llama", "qwen3"],
    "hidden_act": ["swish", "gelu"],
    "hidden_activation": ["gelu", "silu"],
    "rope_type": ["linear", "dynamic"],
    "dtype": ["float64"],
    "torch_dtype": ["float64"],
}


def plausible(key: str, value) -> list:
    """Other values that a file might have."""
    if value is None:
        return [NULLS[key]] if key in NULLS else [1]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [2 * value if value else 1, max(value // 2, 1)]
    if isinstance(value, float):
        return [4 * value if value else 0.5, value / 4]
    if isinstance(value, str):
        return STRINGS.get(key, ["other"])
    if key == "layer_types":
        swapped = {"full_attention": "sliding_attention", "sliding_attention": "full_attention"}
        return [[swapped[kind] for kind in value], [*value[:-1], "wavy_attention"], value[:-1]]
    if key == "architectures":
        return [["OtherForCausalLM"]]
    if key == "no_rope_layers":
        return [[1 - rotated for rotated in value], value[:-1], [*value[:-1], 2]]
    if key in ("short_factor", "long_factor"):
        return [[2 * factor for factor in value], value[:-1], [*value[:-1], "text"]]
    return []


def alterations(config: dict, prefix: tuple = ()) -> list[tuple]:
    """(path, value) of every alteration of a configuration; ABSENT for a key that is left out."""
    result = []
    for key, value in config.items():
        path = (*prefix, key)
        wrong_type = 5 if isinstance(value, (str, dict, list)) else "text"
        others = [ABSENT, None, *plausible(key, value), wrong_type]
        result += [(path, other) for other in others if other is not value and other != value]
        if isinstance(value, dict):
            result += alterations(value, path)
    return result


LINEAR = {"rope_type": "linear", "factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
LONG = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8, "original_max_position_embeddings": 32}


def additions(config: dict) -> list[tuple]:
    layers = config["num_hidden_layers"]
    candidates = [
        ("rope_scaling", LINEAR),
        ("rope_scaling", {"type": "linear", "factor": 4.0}),
        ("rope_scaling", {**LINEAR, "rope_theta": 5000.0}),
        ("rope_scaling", YARN),
        ("rope_scaling", LONG),
        ("rope_scaling", {"rope_type": "dynamic", "factor": 2.0}),
        ("rope_scaling", {}),
        ("rope_scaling", "linear"),
        ("rope_parameters", {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}),
        ("rope_theta", 40000.0),
        ("rope_local_base_freq", 40000.0),
        ("partial_rotary_factor", 0.5),
        ("partial_rotary_factor", 1.0),
        ("original_max_position_embeddings", 16),
        ("head_dim", None),
        ("num_key_value_heads", None),
        ("sliding_window", 8),
        ("sliding_window", None),
        ("use_sliding_window", True),
        ("max_window_layers", 1),
        ("sliding_window_pattern", 3),
        ("_sliding_window_pattern", 3),
        ("layer_types", ["full_attention"] * layers),
        ("layer_types", ["sliding_attention"] * layers),
        ("layer_types", None),
        ("attention_bias", True),
        ("attention_bias", False),
        ("mlp_bias", True),
        ("mlp_bias", False),
        ("pretraining_tp", 2),
        ("hidden_act", "silu"),
        ("hidden_act", "gelu_pytorch_tanh"),
        ("hidden_activation", "gelu_pytorch_tanh"),
        ("hidden_activation", None),
        ("query_pre_attn_scalar", 64),
        ("final_logit_softcapping", 5.0),
        ("attn_logit_softcapping", 5.0),
        ("attn_output_gate", True),
        ("attention_chunk_size", 8),
        ("no_rope_layers", [1, 0]),
        ("no_rope_layers", [0] * layers),
        ("no_rope_layers", None),
        ("no_rope_layer_interval", 2),
        ("attention_multiplier", 0.3),
        ("embedding_multiplier", 2.0),
        ("num_experts", 4),
        ("num_local_experts", 4),
        ("logits_scaling", 2.0),
        ("residual_multiplier", 0.5),
        ("use_bidirectional_attention", True),
        ("is_encoder_decoder", True),
        ("quantization_config", {"quant_method": "unknown"}),
        ("vocab_size_of_tokenizer", 7),
        ("_name_or_path", "elsewhere"),
        ("use_mrope", False),
    ]
    # Windows of Qwen need three keys at once, those of SmolLM3 two.
    together = []
    if config["model_type"] == "smollm3":
        window = {"use_sliding_window": True, "sliding_window": 8}
        types = ["sliding_attention", *["full_attention"] * (layers - 1)]
        together = [{**window, "layer_types": None}, {**window, "layer_types": types}, {**window, "sliding_window": None}]
        together.append({**window, "layer_types": None, "no_rope_layers": None, "no_rope_layer_interval": 3})
    if config["model_type"].startswith("qwen"):
        window = {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}
        types = ["sliding_attention", "full_attention"]
        together = [{**window, "layer_types": None}, {**window, "layer_types": types}, {**window, "sliding_window": None}]
    return [((key,), value) for key, value in candidates if key not in config or config[key] != value], together


def altered(config: dict, path: tuple, value) -> dict:
    result = copy.deepcopy(config)
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    if value == ABSENT:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return result


def copy_of(source: Path, scratch: Path) -> Path:
    folder = scratch / source.name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    return folder


def config_cases(scratch: Path) -> list[dict]:
    result = []
    for tiny in MODELS:
        folder = copy_of(tiny.folder, scratch)
        base = run(tiny.folder)
        forms = []
        for form in ("config.json", "config-legacy.json"):
            config = json.loads((tiny.folder / form).read_text())
            singles, together = additions(config)
            cases = []
            for path, value in alterations(config) + singles:
                (folder / "config.json").write_text(json.dumps(altered(config, path, value)))
                cases.append([".".join(path), value, outcome(run(folder), base)])
            for keys in together:
                (folder / "config.json").write_text(json.dumps({**config, **keys}))
                cases.append(["", keys, outcome(run(folder), base)])
            forms.append({"form": form, "cases": cases})
            print(f"{tiny.name} {form}: {len(cases)}")
        result.append(
            {
                "model": tiny.name,
                "tokens": tokens_of(tiny.config.vocab_size),
                "base": [float(f"{value:.6g}") for value in base.tolist()],
                "forms": forms,
            }
        )
    return result


# tensors


def edit_tensors(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors = change(tensors) or tensors
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path, {"format": "pt"})


def tensor_cases(scratch: Path) -> list[dict]:
    """The head and the prefix: what transformers makes of files that have one more or less than the configuration says."""

    def other_head(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].flip(0)

    def same_head(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]

    def head_of_other_dtype(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].float()

    def bare(tensors):
        return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}

    def bare_with_head(tensors):
        other_head(tensors)
        return bare(tensors)

    changes = (other_head, same_head, head_of_other_dtype, bare, bare_with_head)
    names = ("llama", "qwen2", "gemma3")
    runs = [(name, change.__name__, change, {}) for name in names for change in changes]
    untied = {"tie_word_embeddings": False}
    runs += [(name, "other_head", other_head, untied) for name in names]
    # Biases of a file whose configuration has them off: transformers leaves them out and says so.
    runs.append(("llama-bias", "none", lambda tensors: None, {"attention_bias": False}))
    runs.append(("llama-bias", "none", lambda tensors: None, {"mlp_bias": False}))
    result = []
    for name, change_name, change, keys in runs:
        tiny = next(model for model in MODELS if model.name == name)
        folder = copy_of(tiny.folder, scratch)
        base = run(tiny.folder)
        edit_tensors(folder, change)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **keys}))
        found = outcome(run(folder), base)
        result.append({"model": name, "change": change_name, "keys": keys, "result": found})
        print(f"{name} {change_name} {keys}: {found if isinstance(found, str) else 'other logits'}")
    return result


# GGUF: llama.cpp's keys as what they are in config.json, which transformers computes.


def granite_cases(with_keys, base, config: dict) -> list[tuple]:
    plain = with_keys(attention_multiplier=(config["hidden_size"] // config["num_attention_heads"]) ** -0.5)
    return [
        ({"attention.scale": ("float32", 0.9)}, with_keys(attention_multiplier=0.9)),
        ({"attention.scale": ("float32", 0.0)}, plain),
        ({"attention.scale": ABSENT}, plain),
        ({"embedding_scale": ("float32", 2.0)}, with_keys(embedding_multiplier=2.0)),
        ({"embedding_scale": ABSENT}, with_keys(embedding_multiplier=1.0)),
        ({"residual_scale": ("float32", 0.3)}, with_keys(residual_multiplier=0.3)),
        ({"residual_scale": ABSENT}, with_keys(residual_multiplier=1.0)),
        ({"logit_scale": ("float32", 2.0)}, with_keys(logits_scaling=2.0)),
        ({"logit_scale": ("float32", 0.0)}, "error"),
        ({"logit_scale": ABSENT}, "error"),
        ({"rope.scaling.finetuned": ("bool", True)}, base),
        ({"rope.scaling.finetuned": ("bool", False)}, "error"),  # without RoPE
        ({"attn_logit_softcapping": ("float32", 5.0)}, "error"),
        ({"expert_count": ("uint32", 8)}, "error"),
    ]


def phi3_cases(with_keys, base, config: dict) -> list[tuple]:
    rope = config["rope_parameters"]
    short = {"rope_parameters": {**rope, "long_factor": rope["short_factor"]}}
    slower = {"rope_parameters": {**rope, "long_factor": [4 * factor for factor in rope["long_factor"]]}}
    one = {"rope_parameters": {**rope, "attention_factor": 1.0}}
    factor = {"rope_parameters": {**rope, "attention_factor": 1.6}}
    return [
        ({"attention.sliding_window": ("uint32", 8)}, with_keys(sliding_window=8)),
        ({"attention.sliding_window": ("uint32", 0)}, with_keys(sliding_window=None)),
        ({"attention.sliding_window": ABSENT}, with_keys(sliding_window=None)),
        ({"rope.scaling.attn_factor": ("float32", 1.6)}, with_keys(**factor)),
        ({"rope.scaling.attn_factor": ABSENT}, with_keys(**one)),
        ({"rope.scaling.type": ("string", "longrope")}, "error"),  # no converter writes it
        ({"rope.scaling.type": ("string", "yarn")}, "error"),
        ({"rope.scaling.original_context_length": ("uint32", 64)}, base),
        ({"rope.scaling.original_context_length": ("uint32", 512)}, with_keys(**short)),
        ({"rope.scaling.original_context_length": ABSENT}, with_keys(**short)),
        ({"rope.scaling.factor": ("float32", 4.0)}, with_keys(**slower)),
        ({"rope.dimension_count": ("uint32", 8)}, "error"),
    ]


def gemma2_cases(with_keys, base, config: dict) -> list[tuple]:
    layers = config["num_hidden_layers"]
    types = ["full_attention" if (i + 1) % 4 == 0 else "sliding_attention" for i in range(layers)]
    return [
        ({"attn_logit_softcapping": ("float32", 5.0)}, with_keys(attn_logit_softcapping=5.0)),
        ({"attn_logit_softcapping": ABSENT}, with_keys(attn_logit_softcapping=50.0)),
        ({"attn_logit_softcapping": ("float32", 0.0)}, "error"),
        ({"final_logit_softcapping": ("float32", 5.0)}, with_keys(final_logit_softcapping=5.0)),
        ({"final_logit_softcapping": ABSENT}, with_keys(final_logit_softcapping=30.0)),
        ({"final_logit_softcapping": ("float32", -5.0)}, "error"),
        ({"attention.sliding_window": ("uint32", 8)}, with_keys(sliding_window=8)),
        ({"attention.sliding_window": ABSENT}, with_keys(sliding_window=4096)),
        ({"attention.sliding_window_pattern": ("uint32", 4)}, with_keys(layer_types=types)),
        (
            {"rope.freq_base": ("float32", 40000.0)},
            with_keys(rope_parameters={"rope_type": "default", "rope_theta": 40000.0}),
        ),
        ({"attention.scale": ("float32", 0.5)}, "error"),
    ]


def smollm3_cases(with_keys, base, config: dict) -> list[tuple]:
    def theta(value):
        return with_keys(rope_parameters={"rope_type": "default", "rope_theta": value})

    return [
        ({"rope.freq_base": ("float32", 40000.0)}, theta(40000.0)),
        ({"rope.freq_base": ABSENT}, theta(10000.0)),
        ({"attention.scale": ("float32", 0.5)}, "error"),
        ({"attention.sliding_window": ("uint32", 8)}, "error"),
        ({"attention.head_count_kv": ABSENT}, "error"),
    ]


def olmo2_cases(with_keys, base, config: dict) -> list[tuple]:
    rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": config["rope_parameters"]["rope_theta"]}
    return [
        ({"attention.layer_norm_rms_epsilon": ("float32", 0.05)}, with_keys(rms_norm_eps=0.05)),
        ({"rope.scaling.factor": ("float32", 4.0)}, with_keys(rope_parameters=rope)),
        ({"rope.scaling.type": ("string", "yarn")}, "error"),
        ({"attention.sliding_window": ("uint32", 8)}, "error"),  # OLMo 3
        ({"attention.sliding_window_pattern": ("uint32", 4)}, "error"),
    ]


# Files whose keys are their own.
OWN_GGUF_KEYS = {
    "granite-f16": granite_cases,
    "phi3-bf16": phi3_cases,
    "gemma2-bf16": gemma2_cases,
    "smollm3-f16": smollm3_cases,
    "olmo2-bf16": olmo2_cases,
}


def gguf_entry(file: str, prefix: str, vocabulary_size: int, base: torch.Tensor, cases: list[tuple]) -> dict:
    print(f"{file}: {len(cases)}")
    return {
        "file": file,
        "tokens": tokens_of(vocabulary_size),
        "base": [float(f"{value:.6g}") for value in base.tolist()],
        "cases": [
            {"keys": {f"{prefix}.{key}": value for key, value in keys.items()}, "result": outcome(values, base)}
            for keys, values in cases
        ],
    }


def gguf_cases() -> list[dict]:
    tiny = {model.name: model for model in MODELS}
    result = []
    for file, name in (
        ("llama-f16", "llama"),
        ("llama3-rope-f16", "llama3-rope"),
        ("gemma3-bf16", "gemma3"),
        *((path, path.rpartition("-")[0]) for path in OWN_GGUF_KEYS),
    ):
        path = TINY_GGUF / f"{file}.gguf"
        gemma = name == "gemma3"
        own = file in OWN_GGUF_KEYS
        prefix = name if gemma or own else "llama"
        overrides = {"query_pre_attn_scalar": tiny[name].config.head_dim} if name.startswith("gemma") else {}
        rope = tiny[name].config.to_dict()["rope_parameters"]

        def with_keys(**keys):
            return probe(dequantised(path, load(tiny[name].folder, **{**overrides, **keys})))

        def with_rope(settings):
            if gemma:  # of the layers that see everything
                return with_keys(rope_parameters={**rope, "full_attention": {**rope["full_attention"], **settings}})
            if name == "llama":
                return with_keys(rope_parameters={**rope, **settings})
            # The divisors are a tensor of the file, whatever base and factor are.
            config = tiny[name].config
            model = dequantised(path, load(tiny[name].folder))
            exponents = torch.arange(0, config.head_dim, 2).float() / config.head_dim
            plain = 1 / settings.get("rope_theta", rope["rope_theta"]) ** exponents / settings.get("factor", 1)
            model.model.rotary_emb.inv_freq = plain / torch.from_numpy(llama3_divisors(config))
            return probe(model)

        base = with_keys()
        if own:
            cases = OWN_GGUF_KEYS[file](with_keys, base, tiny[name].config.to_dict())
            result.append(gguf_entry(path.name, prefix, tiny[name].config.vocab_size, base, cases))
            continue
        scaled = with_rope({"factor": 4.0, "rope_type": "linear"})
        layers = tiny[name].config.num_hidden_layers
        theta = with_rope({"rope_theta": 40000.0})
        default_theta = with_rope({"rope_theta": 10000.0})
        cases = [
            # (keys with their types and values, result)
            ({"rope.freq_base": ("float32", 40000.0)}, theta),
            ({"rope.freq_base": ABSENT}, default_theta),
            ({"rope.scaling.type": ("string", "none"), "rope.scaling.factor": ("float32", 4.0)}, base),
            ({"rope.scaling.type": ("string", "yarn"), "rope.scaling.factor": ("float32", 4.0)}, "error"),
            ({"rope.scaling.type": ("string", "longrope")}, "error"),
            ({"rope.scaling.type": ("string", "wavy")}, "error"),
            ({"rope.scaling.attn_factor": ("float32", 1.5)}, "error"),
            ({"rope.scaling.attn_factor": ("float32", 1.0)}, base),
            ({"rope.scaling.yarn_beta_fast": ("float32", 16.0)}, "error"),
            ({"rope.scaling.original_context_length": ("uint32", 32)}, base),
            ({"rope.scaling.finetuned": ("bool", True)}, base),
            ({"rope.scale_linear": ("float32", 0.0)}, base),
            ({"rope.dimension_count": ("uint32", 8)}, "error"),
            ({"rope.dimension_count_swa": ("uint32", 8)}, "error"),
            ({"rope.dimension_sections": ("uint32", 8)}, "error"),
            ({"attention.layer_norm_rms_epsilon": ("float32", 0.05)}, with_keys(rms_norm_eps=0.05)),
            ({"attention.layer_norm_rms_epsilon": ABSENT}, "error"),
            ({"attention.layer_norm_epsilon": ("float32", 0.05)}, base),
            ({"attention.causal": ("bool", False)}, "error"),
            ({"attention.causal": ("bool", True)}, base),
            ({"attention.scale": ("float32", 0.5)}, "error"),
            ({"attention.clamp_kqv": ("float32", 8.0)}, "error"),
            ({"attention.clamp_kqv": ("float32", 0.0)}, base),
            ({"attention.max_alibi_bias": ("float32", 8.0)}, "error"),
            ({"attention.head_count": ("uint32", 1)}, "error"),
            ({"attention.head_count_kv": ("uint32", 8)}, "error"),
            ({"attention.key_length": ("uint32", 8)}, "error"),
            ({"attention.value_length": ("uint32", 8)}, "error"),
            ({"attention.logit_softcapping": ("float32", 5.0)}, "error"),
            ({"attn_logit_softcapping": ("float32", 5.0)}, "error"),
            ({"final_logit_softcapping": ("float32", 5.0)}, "error"),
            ({"final_logit_softcapping": ("float32", 0.0)}, base),
            ({"block_count": ("uint32", layers - 1)}, "error"),
            ({"block_count": ("uint32", layers + 1)}, "error"),
            ({"block_count": ABSENT}, "error"),
            ({"embedding_length": ("uint32", 32)}, "error"),
            ({"embedding_length": ABSENT}, "error"),
            ({"feed_forward_length": ("uint32", 32)}, "error"),
            ({"feed_forward_length": ABSENT}, "error"),
            ({"context_length": ("uint32", 512)}, base),
            ({"context_length": ABSENT}, "error"),
            ({"vocab_size": ("uint32", 200)}, "error"),
            ({"vocab_size": ABSENT}, base),
            ({"expert_count": ("uint32", 8)}, "error"),
            ({"expert_count": ("uint32", 0)}, base),
            ({"expert_used_count": ("uint32", 2)}, "error"),
            ({"logit_scale": ("float32", 2.0)}, "error"),
            ({"embedding_scale": ("float32", 2.0)}, "error"),
            ({"residual_scale": ("float32", 2.0)}, "error"),
            ({"residual_scale": ("float32", 1.0)}, base),
            ({"use_parallel_residual": ("bool", True)}, "error"),
            ({"use_parallel_residual": ("bool", False)}, base),
            ({"pooling_type": ("uint32", 1)}, base),
            ({"tensor_data_layout": ("string", "Meta AI original pth")}, base),
            ({"a_key_of_the_future": ("uint32", 1)}, "error"),
        ]
        one = {"rope.scale_linear": ("float32", 4.0)}
        other = {"rope.scaling.factor": ("float32", 4.0)}
        named = {"rope.scaling.type": ("string", "linear")}
        both = {"rope.scale_linear": ("float32", 2.0), **other}
        cases += [(keys, scaled) for keys in (one, other, {**named, **other}, {**named, **one}, both)]
        if gemma:
            window, pattern = "attention.sliding_window", "attention.sliding_window_pattern"
            types = ["full_attention" if (i + 1) % 3 == 0 else "sliding_attention" for i in range(layers)]
            local = {**rope, "sliding_attention": {**rope["sliding_attention"], "rope_theta": 40000.0}}
            cases += [
                ({window: ("uint32", 8)}, with_keys(sliding_window=8)),
                ({window: ("uint32", 0)}, "error"),
                ({window: ABSENT}, "error"),
                ({pattern: ("uint32", 3)}, with_keys(layer_types=types)),
                ({"rope.freq_base_swa": ("float32", 40000.0)}, with_keys(rope_parameters=local)),
            ]
        else:
            cases += [
                ({"attention.sliding_window": ("uint32", 16)}, "error"),
                ({"attention.sliding_window": ("uint32", 1 << 20)}, base),
                ({"attention.sliding_window_pattern": ("uint32", 3)}, "error"),
                ({"rope.freq_base_swa": ("float32", 40000.0)}, "error"),
                ({"attention.head_count_kv": ABSENT}, "error"),
                ({"rope.dimension_count": ABSENT}, base),
            ]
        written = gguf_entry(path.name, prefix, tiny[name].config.vocab_size, base, cases)
        general = [
            ({"general.type": ("string", "adapter")}, "error"),
            ({"general.type": ABSENT}, "same"),
            ({"general.name": ("string", "other")}, "same"),
            ({"general.file_type": ("uint32", 7)}, "same"),
            ({"general.quantization_version": ("uint32", 2)}, "same"),
            ({"general.quantization_version": ("uint32", 3)}, "error"),
            ({"general.architecture": ("string", "mistral")}, "error"),
            ({"general.architecture": ("string", "qwen2")}, "error"),
            ({"general.architecture": ABSENT}, "error"),
            ({"quantize.imatrix.chunks_count": ("uint32", 7)}, "same"),
            ({"split.count": ("uint16", 2)}, "error"),
        ]
        written["cases"] += [{"keys": keys, "result": found} for keys, found in general]
        result.append(written)
    return result


def one_case_a_line(value, indent: str = "") -> str:
    """JSON with a case on each line."""
    deeper = indent + " "
    if isinstance(value, dict) and any(key in value for key in ("cases", "forms", "config")):
        body = ",\n".join(f"{deeper}{json.dumps(k)}: {one_case_a_line(v, deeper)}" for k, v in value.items())
        return "{\n" + body + "\n" + indent + "}"
    if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        return "[\n" + ",\n".join(deeper + one_case_a_line(item, deeper) for item in value) + "\n" + indent + "]"
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def main(sections: list[str]) -> None:
    """`sections`: those to be made anew, of "gguf", "tensors" and "config"; all where there are none."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity(logging.CRITICAL)
    made = json.loads(TARGET.read_text()) if sections else {}
    golden = {"transformers": transformers.__version__}
    with tempfile.TemporaryDirectory() as scratch:
        makers = {
            "gguf": gguf_cases,
            "tensors": lambda: tensor_cases(Path(scratch)),
            "config": lambda: config_cases(Path(scratch)),
        }
        for section, make in makers.items():
            golden[section] = made[section] if sections and section not in sections else make()
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(one_case_a_line(golden) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
