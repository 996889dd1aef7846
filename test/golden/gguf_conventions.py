"""Small models and adapters as GGUF, written by the conventions of llama.cpp's converters.

What a converter does to the weights:
  - Llama, Granite and SmolLM3: the rows of q_proj and k_proj go from rotate-half order to interleaved pairs
    (`permute`), their biases and B of an adapter too;
  - Llama 3 RoPE: the scaling becomes a tensor of divisors of the frequencies, `rope_freqs.weight`, and no
    metadata;
  - Gemma: the norms are stored with 1 added, the RoPE base of the sliding layers is implied (10,000), and so
    is the pattern (every sixth layer is full, of Gemma 2 every second one); query_pre_attn_scalar is implied
    to be head_dim; Gemma 2 has no RoPE base at all, it is 10,000;
  - SmolLM3: every fourth layer is implied to be without RoPE;
  - Phi-3: q|k|v and gate|up stay one matrix each; longrope becomes two tensors of divisors and its attention
    factor; a window of 0 is none;
  - a tensor whose rows do not divide into blocks of 32 falls back from Q8_0 to F16; vectors are F32.
"""

import json
import math
from pathlib import Path

import gguf
import numpy as np
from safetensors.torch import load_file

from golden_files import DATA
from tiny_adapters import TINY_ADAPTERS

TINY_GGUF = DATA / "tiny-gguf"
Q8_0, F16, BF16, F32 = (getattr(gguf.GGMLQuantizationType, name) for name in ("Q8_0", "F16", "BF16", "F32"))
BLOCK = 32
MERGE = "t h"
PERMUTED = ("llama", "granite", "smollm3")


def permute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head from [first halves, second halves] to pairs: llama.cpp rotates neighbours,
    transformers halves."""
    return (
        weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
        .swapaxes(1, 2)
        .reshape(weight.shape)
    )


def byte_level_vocabulary(size: int, bos: int, eos: int) -> list[tuple[str, gguf.TokenType]]:
    """The least vocabulary of byte-level BPE: control tokens, the 256 bytes, one merge, unused tokens up to
    `size`."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(rest))]
    names = {bos: "<s>", eos: "</s>"}
    control = [(names.get(i, f"<control-{i}>"), gguf.TokenType.CONTROL) for i in range(3)]
    normal = [(token, gguf.TokenType.NORMAL) for token in [*letters, MERGE.replace(" ", "")]]
    unused = range(size - len(control) - len(normal))
    return control + normal + [(f"<unused-{i}>", gguf.TokenType.UNUSED) for i in unused]


def add_metadata(writer: gguf.GGUFWriter, config) -> None:
    rope = config.rope_parameters.get("full_attention", config.rope_parameters)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if config.model_type != "gemma2":
        writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    if config.model_type.startswith("gemma"):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
        writer.add_sliding_window(config.sliding_window)
    else:
        writer.add_rope_dimension_count(head_dim_of(config))
    if config.model_type == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if config.model_type == "granite":
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)
    if config.model_type == "phi3":
        writer.add_sliding_window(config.sliding_window or 0)
        original = config.original_max_position_embeddings
        writer.add_rope_scaling_orig_ctx_len(original)
        scale = config.max_position_embeddings / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)))
    tokens = byte_level_vocabulary(config.vocab_size, config.bos_token_id, config.eos_token_id)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_token_merges([MERGE])
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)


def head_dim_of(config) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def llama3_divisors(config) -> np.ndarray:
    """What divides each frequency under Llama 3's scaling, float32 [head_dim / 2]; after llama.cpp's
    converter."""
    rope = config.rope_parameters
    low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    divisors = []
    for i in range(0, config.head_dim, 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (i / config.head_dim)
        if wavelength < high:
            divisors.append(1.0)
        elif wavelength > low:
            divisors.append(rope["factor"])
        else:
            smooth = rope["original_max_position_embeddings"] / wavelength - rope["low_freq_factor"]
            smooth /= rope["high_freq_factor"] - rope["low_freq_factor"]
            divisors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(divisors, dtype=np.float32)


def as_type(
    weight: np.ndarray, kind: gguf.GGMLQuantizationType
) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
    if weight.ndim == 1:
        kind = F32
    elif kind == Q8_0 and weight.shape[-1] % BLOCK:
        kind = F16
    return gguf.quants.quantize(weight, kind), kind


def architecture_of(config) -> str:
    return {"gemma3_text": "gemma3"}.get(config.model_type, config.model_type)


def names_of(config) -> gguf.TensorNameMap:
    architecture = architecture_of(config)
    key = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture)
    return gguf.get_tensor_name_map(key, config.num_hidden_layers)


def write_model(name: str, model, kind: gguf.GGMLQuantizationType) -> Path:
    config = model.config
    architecture = architecture_of(config)
    names = names_of(config)
    path = TINY_GGUF / f"{name}.gguf"
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("model")
    writer.add_name(f"tiny-{name}")
    add_metadata(writer, config)
    if architecture == "llama" and config.rope_parameters["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_divisors(config))
    if architecture == "phi3":
        for which in ("long", "short"):
            factors = np.array(config.rope_parameters[f"{which}_factor"], dtype=np.float32)
            writer.add_tensor(f"rope_factors_{which}.weight", factors)
    for key, parameter in model.named_parameters():  # a tied head is not among them
        weight = parameter.detach().numpy()
        if architecture in PERMUTED and "q_proj" in key:
            weight = permute(weight, config.num_attention_heads)
        if architecture in PERMUTED and "k_proj" in key:
            weight = permute(weight, config.num_key_value_heads)
        if architecture.startswith("gemma") and key.endswith("norm.weight"):
            weight = weight + np.float32(1)
        data, stored = as_type(weight, kind)
        writer.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), data, raw_dtype=stored)
    close(writer)
    return path


def close(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_adapter(name: str, adapter: str, config, kind: gguf.GGMLQuantizationType) -> Path:
    """Of a permuted base, as convert_lora_to_gguf.py: B of q and k permuted, A of the embedding transposed, alpha as a float32,
    the rank in the shapes."""
    folder = TINY_ADAPTERS / adapter
    adapter_config = json.loads((folder / "adapter_config.json").read_text())
    names = names_of(config)
    path = TINY_GGUF / f"{name}.gguf"
    writer = gguf.GGUFWriter(path, architecture_of(config))
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(adapter_config["lora_alpha"]))
    if adapter_config["alora_invocation_tokens"]:
        writer.add_array("adapter.alora.invocation_tokens", adapter_config["alora_invocation_tokens"])
    for key, tensor in load_file(folder / "adapter_model.safetensors").items():
        if ".base_layer." in key:
            continue
        module, _, half = key.removeprefix("base_model.model.").partition(".lora_")
        weight = tensor.numpy()
        half = "lora_a" if half in ("A.weight", "embedding_A") else "lora_b"
        if half == "lora_b" and "q_proj" in module:
            weight = permute(weight, config.num_attention_heads)
        if half == "lora_b" and "k_proj" in module:
            weight = permute(weight, config.num_key_value_heads)
        if half == "lora_a" and "embed_tokens" in module:
            weight = np.ascontiguousarray(weight.T)
        data, stored = as_type(weight, kind)
        writer.add_tensor(f"{names.get_name(module)}.weight.{half}", data, raw_dtype=stored)
    close(writer)
    return path
