"""Writes a model of random weights in a given shape as GGUF, in float16: for timings, which do not depend on the values.

    python random_model.py 0.5b TARGET.gguf

Weights are normal with a deviation of 0.02, drawn from one seed, tensor by tensor, so that no more than one is in memory. The tokenizer is a byte-level
BPE whose tokens beyond the bytes are words of made-up letters, as many as the shape has. Needs the packages gguf and numpy.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType

# The architecture is Qwen2: biases on q, k and v, and an embedding that is the head, too.
VOCABULARY = 151_936
EPSILON, ROPE_BASE, CONTEXT = 1e-6, 1e6, 32_768
FLOAT16_FILE_TYPE = 1


@dataclass(frozen=True)
class Shape:
    name: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int


SHAPES = {
    "0.5b": Shape("Qwen2.5-0.5B's shape", 896, 4864, 24, 14, 2, 64),
    "1.5b": Shape("Qwen2.5-1.5B's shape", 1536, 8960, 28, 12, 2, 128),
}


def tensors(shape: Shape):
    """Name, dimensions [out, in] or [out], and how it is filled."""
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    yield "token_embd.weight", (VOCABULARY, shape.hidden), "random"
    for i in range(shape.layers):
        block = f"blk.{i}"
        yield f"{block}.attn_norm.weight", (shape.hidden,), "ones"
        for name, rows in (("attn_q", q), ("attn_k", kv), ("attn_v", kv)):
            yield f"{block}.{name}.weight", (rows, shape.hidden), "random"
            yield f"{block}.{name}.bias", (rows,), "random"
        yield f"{block}.attn_output.weight", (shape.hidden, q), "random"
        yield f"{block}.ffn_norm.weight", (shape.hidden,), "ones"
        yield f"{block}.ffn_gate.weight", (shape.intermediate, shape.hidden), "random"
        yield f"{block}.ffn_up.weight", (shape.intermediate, shape.hidden), "random"
        yield f"{block}.ffn_down.weight", (shape.hidden, shape.intermediate), "random"
    yield "output_norm.weight", (shape.hidden,), "ones"


def byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level BPE, as GPT-2 has them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]


def vocabulary() -> tuple[list[str], list[int], list[str]]:
    """Tokens, their types, and the merges: pairs of lower-case letters, then pairs of those pairs, then with a third."""
    letters = [chr(ord("a") + i) for i in range(26)]
    pairs = [a + b for a in letters for b in letters]
    end = "<|endoftext|>"
    tokens, merges = byte_letters(), [f"{pair[0]} {pair[1]}" for pair in pairs]
    words = [(a, b) for a in pairs for b in letters] + [(a, b) for a in pairs for b in pairs]
    words = words[: VOCABULARY - len(tokens) - len(pairs) - 1]
    merges += [f"{a} {b}" for a, b in words]
    tokens += pairs + [a + b for a, b in words]
    fillers = [f"<|unused{i}|>" for i in range(VOCABULARY - len(tokens) - 1)]
    types = [TokenType.NORMAL] * len(tokens) + [TokenType.UNUSED] * len(fillers) + [TokenType.CONTROL]
    return [*tokens, *fillers, end], types, merges


def write_metadata(writer: GGUFWriter, shape: Shape) -> None:
    writer.add_name(f"Random weights in {shape.name}")
    writer.add_file_type(FLOAT16_FILE_TYPE)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.intermediate)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_freq_base(ROPE_BASE)
    tokens, types, merges = vocabulary()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_add_bos_token(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    shape = SHAPES[arguments.shape]
    writer = GGUFWriter(arguments.target, "qwen2")
    write_metadata(writer, shape)
    for name, dimensions, _ in tensors(shape):
        matrix = len(dimensions) == 2
        dtype = np.dtype(np.float16 if matrix else np.float32)
        kind = GGMLQuantizationType.F16 if matrix else GGMLQuantizationType.F32
        writer.add_tensor_info(name, dimensions, dtype, int(np.prod(dimensions)) * dtype.itemsize, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(0)
    for _, dimensions, filled in tensors(shape):
        dtype = np.float16 if len(dimensions) == 2 else np.float32
        if filled == "ones":
            values = np.ones(dimensions, dtype)
        else:
            values = random.standard_normal(dimensions, np.float32)
            values *= 0.02
            values = values.astype(dtype)
        writer.write_tensor_data(values)
    writer.close()


if __name__ == "__main__":
    main()
