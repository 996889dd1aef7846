"""The adapters of the goldens: one per kind in PEFT's LoRA configuration, each with weights under which it
shows."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from golden_files import DATA
from tiny_models import TINY_MODELS, load

TINY_ADAPTERS = DATA / "tiny-adapters"
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
INVOCATION = [7, 11, 7]


@dataclass
class TinyAdapter:
    name: str
    base: str
    seed: int
    options: dict = field(default_factory=dict)
    # PEFT saves in the dtype of the training; float16 and bfloat16 files are common.
    dtype: torch.dtype = torch.float32

    @property
    def folder(self) -> Path:
        return TINY_ADAPTERS / self.name


ADAPTERS = [
    TinyAdapter("plain", "llama", 201, dict(target_modules=PROJECTIONS, r=4, lora_alpha=8)),
    # Another rank and alpha per module; of two patterns that match, the first wins.
    TinyAdapter(
        "patterns",
        "llama",
        202,
        dict(
            target_modules=["q_proj", "v_proj"],
            r=4,
            lora_alpha=8,
            rank_pattern={"layers.1.self_attn.v_proj": 6, "v_proj": 2, "layers.0.self_attn.q_proj": 17},
            alpha_pattern={"layers.0.self_attn.v_proj": 5, "v_proj": 3},
        ),
    ),
    TinyAdapter(
        "rslora",
        "llama",
        203,
        dict(target_modules="all-linear", r=8, lora_alpha=4, use_rslora=True, rank_pattern={"down_proj": 3}),
    ),
    TinyAdapter("dora", "llama", 204, dict(target_modules=PROJECTIONS, r=4, lora_alpha=8, use_dora=True)),
    TinyAdapter(
        "embedding", "llama", 205, dict(target_modules=["embed_tokens", "q_proj"], r=4, lora_alpha=8)
    ),
    TinyAdapter(
        "embedding-dora",
        "llama",
        206,
        dict(target_modules=["embed_tokens"], r=4, lora_alpha=8, use_dora=True),
    ),
    TinyAdapter("head-of-tied", "llama", 207, dict(target_modules=["lm_head"], r=4, lora_alpha=8)),
    # PEFT adds the transposed pair to the other use of the table, which target_modules does not name.
    TinyAdapter(
        "head-and-embedding-tied",
        "llama",
        215,
        dict(target_modules=["lm_head"], r=4, lora_alpha=8, ensure_weight_tying=True),
    ),
    # PEFT unties: the saved table replaces one use of the shared weight and leaves the other.
    TinyAdapter(
        "saved-head-of-tied", "llama", 208, dict(target_modules=["v_proj"], modules_to_save=["lm_head"], r=2)
    ),
    TinyAdapter(
        "saved-embedding-of-tied",
        "llama",
        209,
        dict(target_modules=["v_proj"], modules_to_save=["embed_tokens"], r=2),
    ),
    TinyAdapter(
        "lora-bias",
        "llama",
        210,
        dict(target_modules=["o_proj", "up_proj"], r=4, lora_alpha=8, lora_bias=True),
    ),
    TinyAdapter(
        "second-layer",
        "llama",
        211,
        dict(target_modules=PROJECTIONS, r=4, lora_alpha=8, layers_to_transform=[1], layers_pattern="layers"),
    ),
    TinyAdapter(
        "regular-expression",
        "llama",
        212,
        dict(target_modules=r".*\.layers\.[01]\.(self_attn\.(q|o)_proj|mlp\.down_proj)", r=4, lora_alpha=8),
    ),
    TinyAdapter(
        "excluded",
        "llama",
        213,
        dict(target_modules="all-linear", exclude_modules=["k_proj", "up_proj"], r=4, lora_alpha=8),
    ),
    TinyAdapter(
        "activated",
        "llama",
        214,
        dict(target_modules=PROJECTIONS, r=4, lora_alpha=8, alora_invocation_tokens=INVOCATION),
    ),
    TinyAdapter("head", "llama-bias", 220, dict(target_modules=["lm_head", "o_proj"], r=4, lora_alpha=8)),
    TinyAdapter(
        "saved-modules",
        "llama-bias",
        221,
        # "norm" is the end of every norm's name, so that all five are saved.
        dict(
            target_modules=["q_proj"], modules_to_save=["lm_head", "embed_tokens", "norm"], r=2, lora_alpha=4
        ),
    ),
    TinyAdapter(
        "bias-all",
        "llama-bias",
        222,
        dict(target_modules=["q_proj", "down_proj"], bias="all", r=2, lora_alpha=4),
    ),
    TinyAdapter(
        "bias-lora-only",
        "llama-bias",
        223,
        dict(target_modules=["k_proj", "gate_proj"], bias="lora_only", r=2, lora_alpha=4),
    ),
    # With biases of the base, which DoRA's magnitude must not multiply.
    TinyAdapter(
        "dora-bias",
        "llama-bias",
        224,
        dict(target_modules=PROJECTIONS + ["lm_head"], r=3, lora_alpha=6, use_dora=True),
    ),
    TinyAdapter("qwen2", "qwen2", 230, dict(target_modules=PROJECTIONS, r=4, lora_alpha=8), torch.bfloat16),
    TinyAdapter("qwen3", "qwen3", 231, dict(target_modules=PROJECTIONS, r=4, lora_alpha=8), torch.float16),
    # Gemma multiplies the embedding, and with it its adapter, by sqrt(hidden_size).
    TinyAdapter(
        "gemma3", "gemma3", 232, dict(target_modules=PROJECTIONS + ["embed_tokens"], r=2, lora_alpha=8)
    ),
    TinyAdapter(
        "gemma3-dora", "gemma3", 233, dict(target_modules=PROJECTIONS, r=2, lora_alpha=8, use_dora=True)
    ),
    # Every norm is saved, those of q and k over all heads, too.
    TinyAdapter(
        "olmo2", "olmo2", 240, dict(target_modules=PROJECTIONS, modules_to_save=["norm"], r=2, lora_alpha=4)
    ),
    # The base keeps q|k|v and gate|up as one matrix each: one A for both, and a magnitude for each row of all.
    TinyAdapter("phi3", "phi3", 241, dict(target_modules=FUSED, r=2, lora_alpha=8)),
    TinyAdapter("phi3-dora", "phi3", 242, dict(target_modules=FUSED, r=2, lora_alpha=4, use_dora=True)),
    # Granite multiplies the embedding and what each sublayer adds, and with them their adapters.
    TinyAdapter(
        "granite", "granite", 243, dict(target_modules=PROJECTIONS + ["embed_tokens"], r=2, lora_alpha=4)
    ),
]


@torch.no_grad()
def initialise(model: PeftModel, adapter: TinyAdapter) -> None:
    """Random values for whatever the adapter trains: B is not zero, magnitudes, gains and biases are off the
    base's."""
    generator = torch.Generator().manual_seed(adapter.seed)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        noise = torch.randn(parameter.shape, generator=generator)
        if ".lora_A." in name or ".lora_embedding_A." in name:
            parameter.copy_(noise / parameter.shape[1] ** 0.5 if ".lora_A." in name else noise)
        elif (".lora_B." in name and name.endswith(".weight")) or ".lora_embedding_B." in name:
            parameter.copy_(noise * 0.3)
        elif ".lora_magnitude_vector." in name:
            parameter.mul_(1 + 0.3 * noise.clamp(-2, 2))
        else:  # biases, and the modules that are saved whole
            parameter.add_(noise * (0.1 if parameter.dim() == 2 else 0.4))


def base_model(name: str):
    """A fresh base in float32; its name in the adapter's files is that of no machine's folder."""
    model = load(TINY_MODELS / name)
    model.config._name_or_path = f"tiny-models/{name}"
    model.name_or_path = model.config._name_or_path
    return model


def build(adapter: TinyAdapter) -> None:
    """Writes the adapter folder as PEFT saves it."""
    torch.manual_seed(adapter.seed)
    model = get_peft_model(
        base_model(adapter.base), LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.05, **adapter.options)
    )
    initialise(model, adapter)
    model.save_pretrained(adapter.folder)
    tokens = torch.arange(3, 40)[None]
    reloaded = PeftModel.from_pretrained(base_model(adapter.base), str(adapter.folder))
    if not torch.equal(model.eval()(tokens).logits, reloaded.eval()(tokens).logits):
        raise RuntimeError(f"{adapter.name}: PEFT reads back another adapter than it saved.")
    (adapter.folder / "README.md").unlink()
    weights = adapter.folder / "adapter_model.safetensors"
    if adapter.dtype != torch.float32:
        tensors = {name: tensor.to(adapter.dtype) for name, tensor in load_file(weights).items()}
        save_file(tensors, weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    # PEFT keeps target_modules in a set: give the list one order, so that the files are the same on every
    # run.
    config_path = adapter.folder / "adapter_config.json"
    config = json.loads(config_path.read_text())
    for key in ("target_modules", "exclude_modules"):
        if isinstance(config[key], list):
            config[key].sort()
    config_path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def attach(base, names: list[str]) -> PeftModel:
    """The base with the saved adapters on it, all of them active, in this order."""
    model = None
    for name in names:
        folder = str(TINY_ADAPTERS / name)
        if model is None:
            model = PeftModel.from_pretrained(base, folder, adapter_name=name)
        else:
            model.load_adapter(folder, adapter_name=name)
    model.base_model.set_adapter(names)
    return model.eval()


def set_scale(model: PeftModel, adapter: str, scale: float) -> None:
    for module in model.modules():
        if hasattr(module, "set_scale"):
            module.set_scale(adapter, scale)


def build_fused() -> None:
    """The adapter `fused`: q|k|v and gate|up trained as one matrix each, as for bases that store them so.

    PEFT runs it as the adapter `fused-parts`, whose q, k and v share one A and whose B's are the row blocks
    of the fused B.
    """
    parts = TinyAdapter("fused-parts", "llama", 240, dict(target_modules=PROJECTIONS, r=4, lora_alpha=8))
    build(parts)
    path = parts.folder / "adapter_model.safetensors"
    tensors = load_file(path)
    fused: dict[str, torch.Tensor] = {}
    groups = {"qkv_proj": ["q_proj", "k_proj", "v_proj"], "gate_up_proj": ["gate_proj", "up_proj"]}
    for name in sorted(tensors):
        group = next((key for key, members in groups.items() if any(f".{m}." in name for m in members)), None)
        if group is None:
            fused[name] = tensors[name]
        elif f".{groups[group][0]}." in name:
            members = [name.replace(f".{groups[group][0]}.", f".{member}.") for member in groups[group]]
            joined = name.replace(f".{groups[group][0]}.", f".{group}.")
            if ".lora_A." in name:
                for member in members:
                    tensors[member] = tensors[name].clone()
                fused[joined] = tensors[name].clone()
            else:
                fused[joined] = torch.cat([tensors[member] for member in members])
    save_file(tensors, path, metadata={"format": "pt"})
    folder = TINY_ADAPTERS / "fused"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    save_file(fused, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = json.loads((parts.folder / "adapter_config.json").read_text())
    config["target_modules"] = ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"]
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
