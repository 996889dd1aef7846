"""The small random models: one per architecture and per trait that an engine can get wrong."""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from golden_files import DATA

TINY_MODELS = DATA / "tiny-models"
SPECIAL_TOKENS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=None)


@dataclass
class TinyModel:
    name: str
    config: PretrainedConfig
    dtype: torch.dtype
    seed: int
    embedding_std: float = 0.4
    # Norm gains kept in float32 beside half-precision matrices: one file of mixed dtypes.
    float32_norms: bool = False
    max_shard_size: str = "50GB"
    # The same configuration as transformers 4 wrote it, keys to drop and keys to set.
    legacy_drop: tuple[str, ...] = ()
    legacy_set: dict = field(default_factory=dict)
    # Other configurations over the same weights: {variant: keys to set in config.json}.
    variants: dict[str, dict] = field(default_factory=dict)
    # Keys that switch a part off, or to another value: {name: keys}. Each must move the logits.
    switches: dict[str, dict] = field(default_factory=dict)
    # Lengths of the sequences, and how many of the last positions of each are kept (None: all).
    lengths: tuple[int, ...] = (96, 64, 1)
    kept: int | None = None
    greedy_prompt: int = 24
    # A context that the engine is given, where a model depends on it; a sequence fits it.
    short_context: int | None = None

    @property
    def folder(self) -> Path:
        return TINY_MODELS / self.name


LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

LONGROPE_FACTORS = {
    "short_factor": [1.0, 1.02, 1.1, 1.25, 1.3, 1.5, 1.6, 1.8],
    "long_factor": [1.05, 1.4, 2.0, 3.5, 6.0, 9.0, 14.0, 20.0],
}
LONGROPE = {"rope_type": "longrope", **LONGROPE_FACTORS}

MODELS = [
    # Tied; intermediate_size (K of down_proj) is no multiple of 64.
    TinyModel(
        "llama",
        LlamaConfig(
            vocab_size=272,
            hidden_size=64,
            intermediate_size=172,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            rms_norm_eps=1e-5,
            **SPECIAL_TOKENS,
        ),
        torch.bfloat16,
        seed=101,
        legacy_drop=("head_dim", "attention_bias", "mlp_bias", "pretraining_tp"),
        variants={
            "linear-rope": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}}
        },
    ),
    # Untied; bias on every projection; three query heads to one key head; vocabulary no multiple of 16.
    TinyModel(
        "llama-bias",
        LlamaConfig(
            vocab_size=261,
            hidden_size=48,
            intermediate_size=100,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=1,
            max_position_embeddings=256,
            tie_word_embeddings=False,
            attention_bias=True,
            mlp_bias=True,
            rms_norm_eps=1e-6,
            **SPECIAL_TOKENS,
        ),
        torch.float32,
        seed=102,
    ),
    # Llama 3's RoPE scaling, used at three times the original context; a file of mixed dtypes.
    TinyModel(
        "llama3-rope",
        LlamaConfig(
            vocab_size=264,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=32,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            rms_norm_eps=1e-5,
            rope_parameters={**LLAMA3_SCALING, "rope_theta": 10000.0},
            **SPECIAL_TOKENS,
        ),
        torch.float16,
        seed=103,
        float32_norms=True,
    ),
    # Sliding window in every layer; float32 in shards under an index.
    TinyModel(
        "mistral",
        MistralConfig(
            vocab_size=264,
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=3,
            head_dim=16,
            max_position_embeddings=256,
            sliding_window=16,
            tie_word_embeddings=False,
            rms_norm_eps=1e-5,
            **SPECIAL_TOKENS,
        ),
        torch.float32,
        seed=104,
        max_shard_size="120KB",
    ),
    # Bias on q, k and v only.
    TinyModel(
        "qwen2",
        Qwen2Config(
            vocab_size=288,
            hidden_size=64,
            intermediate_size=144,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            rms_norm_eps=1e-6,
            rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
            **SPECIAL_TOKENS,
        ),
        torch.bfloat16,
        seed=105,
    ),
    # Norms of q and k; head_dim is not hidden_size / num_attention_heads.
    TinyModel(
        "qwen3",
        Qwen3Config(
            vocab_size=270,
            hidden_size=64,
            intermediate_size=120,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            rms_norm_eps=1e-6,
            rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
            **SPECIAL_TOKENS,
        ),
        torch.float16,
        seed=106,
    ),
    # Five sliding layers, a full one, a sliding one; sandwich norms; sqrt(hidden_size) is irrational, so the
    # scale of the embedding matters; query_pre_attn_scalar is not head_dim.
    TinyModel(
        "gemma3",
        Gemma3TextConfig(
            vocab_size=272,
            hidden_size=48,
            intermediate_size=64,
            num_hidden_layers=7,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=32,
            max_position_embeddings=1024,
            sliding_window=16,
            query_pre_attn_scalar=24,
            tie_word_embeddings=True,
            rms_norm_eps=1e-6,
            bos_token_id=2,
            eos_token_id=1,
            pad_token_id=0,
        ),
        torch.bfloat16,
        seed=107,
        embedding_std=0.2,
        legacy_drop=(
            "layer_types",
            "_sliding_window_pattern",
            "use_bidirectional_attention",
            "tie_word_embeddings",
        ),
        legacy_set={"sliding_window_pattern": 6},
        variants={
            "linear-rope": {
                "rope_parameters": {
                    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                }
            }
        },
    ),
    # Norms behind the sublayers alone; q and k are normalised over all heads together. Untied.
    TinyModel(
        "olmo2",
        Olmo2Config(
            vocab_size=264,
            hidden_size=48,
            intermediate_size=72,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=False,
            rms_norm_eps=1e-6,
            rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
            **SPECIAL_TOKENS,
        ),
        torch.bfloat16,
        seed=108,
        variants={
            "linear-rope": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500000.0}}
        },
        lengths=(72, 40, 1),
        kept=16,
    ),
    # Every fourth layer without RoPE.
    TinyModel(
        "smollm3",
        SmolLM3Config(
            vocab_size=264,
            hidden_size=32,
            intermediate_size=56,
            num_hidden_layers=5,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            rms_norm_eps=1e-6,
            rope_parameters={"rope_type": "default", "rope_theta": 2000000.0},
            **SPECIAL_TOKENS,
        ),
        torch.bfloat16,
        seed=109,
        legacy_drop=("no_rope_layers", "layer_types"),
        variants={
            "other-layers": {"no_rope_layers": [0, 1, 1, 0, 1]},
            "interval": {"no_rope_layers": None, "no_rope_layer_interval": 2},
            "windows": {"use_sliding_window": True, "sliding_window": 12, "layer_types": None},
            "one-window": {
                "use_sliding_window": True,
                "sliding_window": 12,
                "layer_types": ["full_attention", "sliding_attention", *["full_attention"] * 3],
            },
        },
        switches={"layers without RoPE": {"no_rope_layers": [1, 1, 1, 1, 1]}},
        lengths=(72, 40, 1),
        kept=16,
    ),
    # All four multipliers.
    TinyModel(
        "granite",
        GraniteConfig(
            vocab_size=264,
            hidden_size=32,
            intermediate_size=72,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            rms_norm_eps=1e-5,
            embedding_multiplier=6.0,
            residual_multiplier=0.7,
            attention_multiplier=0.5,
            logits_scaling=0.25,
            **SPECIAL_TOKENS,
        ),
        torch.float16,
        seed=110,
        embedding_std=0.12,
        switches={
            "embedding_multiplier": {"embedding_multiplier": 1.0},
            "residual_multiplier": {"residual_multiplier": 1.0},
            "attention_multiplier": {"attention_multiplier": 8.0**-0.5},
            "logits_scaling": {"logits_scaling": 1.0},
        },
        lengths=(72, 40, 1),
        kept=16,
    ),
    # q|k|v and gate|up as one matrix each; a window; RoPE with factors for short and for long contexts.
    TinyModel(
        "phi3",
        Phi3Config(
            vocab_size=264,
            hidden_size=48,
            intermediate_size=56,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=1,
            max_position_embeddings=256,
            original_max_position_embeddings=32,
            sliding_window=20,
            tie_word_embeddings=False,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_theta": 10000.0, **LONGROPE},
            **SPECIAL_TOKENS,
        ),
        torch.bfloat16,
        seed=111,
        legacy_drop=("partial_rotary_factor",),
        legacy_set={"rope_scaling": {"type": "longrope", **LONGROPE_FACTORS}},
        variants={
            "default-rope": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
            "attention-factor": {
                "rope_parameters": {
                    "rope_theta": 10000.0,
                    **LONGROPE,
                    "original_max_position_embeddings": 32,
                    "attention_factor": 1.6,
                }
            },
        },
        lengths=(72, 40, 1, 30),
        kept=16,
        greedy_prompt=40,
        short_context=32,
    ),
    # Caps on scores and logits that bite; a window in every other layer; query_pre_attn_scalar is not head_dim.
    TinyModel(
        "gemma2",
        Gemma2Config(
            vocab_size=264,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=4,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=24,
            max_position_embeddings=256,
            sliding_window=16,
            query_pre_attn_scalar=12,
            attn_logit_softcapping=3.0,
            final_logit_softcapping=8.0,
            tie_word_embeddings=True,
            rms_norm_eps=1e-6,
            bos_token_id=2,
            eos_token_id=1,
            pad_token_id=0,
        ),
        torch.bfloat16,
        seed=112,
        embedding_std=0.3,
        legacy_drop=("layer_types", "use_bidirectional_attention", "tie_word_embeddings"),
        variants={
            "no-caps": {"attn_logit_softcapping": None, "final_logit_softcapping": None},
            "other-layers": {
                "layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
            },
        },
        switches={
            "attn_logit_softcapping": {"attn_logit_softcapping": None},
            "final_logit_softcapping": {"final_logit_softcapping": None},
            "query_pre_attn_scalar": {"query_pre_attn_scalar": 24},
        },
        lengths=(72, 40, 1),
        kept=16,
    ),
]


@torch.no_grad()
def initialise(model: torch.nn.Module, tiny: TinyModel) -> None:
    """Weights under which each part shows: sharp attention, blocks that outweigh the embedding, gains and
    biases off their defaults."""
    generator = torch.Generator().manual_seed(tiny.seed)

    def normal(parameter, std):
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)

    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            normal(parameter, 0.3)
            if not tiny.config.model_type.startswith("gemma") or ".post_" in name:
                parameter.add_(1)  # Gemma's norms multiply by 1 + weight: 2 on the way out of a block, else 1
        elif name.endswith(".bias"):
            normal(parameter, 0.4)
        elif "embed_tokens" in name or "lm_head" in name:
            normal(parameter, tiny.embedding_std)
        else:
            gain = 1.7 if "q_proj" in name or "k_proj" in name else 1.3
            normal(parameter, gain / parameter.shape[1] ** 0.5)


def build(tiny: TinyModel) -> None:
    """Writes the model folder: config.json and safetensors as transformers saves them, config-*.json beside
    them."""
    model = AutoModelForCausalLM.from_config(tiny.config, dtype=torch.float32)
    initialise(model, tiny)
    model.to(tiny.dtype)
    if tiny.float32_norms:
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.data = parameter.data.float()
    tiny.folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(tiny.folder, max_shard_size=tiny.max_shard_size)
    (tiny.folder / "generation_config.json").unlink(missing_ok=True)
    for shard in tiny.folder.glob("*.safetensors"):
        shard.chmod(0o644)
    config = json.loads((tiny.folder / "config.json").read_text())
    write_config(tiny, "legacy", legacy_config(config, tiny))
    for variant, keys in tiny.variants.items():
        write_config(tiny, variant, {**config, **keys})


def write_config(tiny: TinyModel, variant: str, config: dict) -> None:
    (tiny.folder / f"config-{variant}.json").write_text(json.dumps(config, indent=2) + "\n")


def legacy_config(config: dict, tiny: TinyModel) -> dict:
    """What transformers 4 wrote: rope_theta, rope_scaling and torch_dtype at the top level. Most files on the
    hub look so."""
    legacy = {key: value for key, value in config.items() if key not in tiny.legacy_drop}
    rope = legacy.pop("rope_parameters")
    legacy["torch_dtype"] = legacy.pop("dtype")
    legacy["transformers_version"] = "4.46.3"
    if "full_attention" in rope:
        legacy["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    legacy["rope_theta"] = rope["rope_theta"]
    scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
    legacy["rope_scaling"] = scaling if scaling["rope_type"] != "default" else None
    return {**legacy, **tiny.legacy_set}


def load(folder: Path, variant: str | None = None, **overrides):
    """The model as transformers runs it for a golden: float32, eager attention. `overrides` replace
    configuration keys."""
    text = (folder / (f"config-{variant}.json" if variant else "config.json")).read_text()
    keys = {**json.loads(text), **copy.deepcopy(overrides)}
    config = type(next(t.config for t in MODELS if t.config.model_type == keys["model_type"])).from_dict(keys)
    return AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=torch.float32, attn_implementation="eager"
    ).eval()
