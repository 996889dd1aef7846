#!/usr/bin/env python3
"""Writes data/golden.gguf, data/golden.safetensors and data/golden_sharded/ with the usual Python libraries.

golden_file_test.cpp knows what they hold. Every tensor value is exact in its type.
Needs: pip install gguf==0.19.0 safetensors==0.8.0 numpy
"""

import json
import pathlib

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parent / "data"


def ramp(*shape: int) -> np.ndarray:
    """0, 1/8, 2/8 … in row order, starting again after 8."""
    return ((np.arange(np.prod(shape)) % 64) / 8).astype(np.float32).reshape(shape)


def write_gguf() -> None:
    writer = GGUFWriter(FOLDER / "golden.gguf", "llama")
    writer.add_custom_alignment(64)
    writer.add_uint8("test.uint8", 200)
    writer.add_int8("test.int8", -100)
    writer.add_uint16("test.uint16", 60000)
    writer.add_int16("test.int16", -30000)
    writer.add_uint32("test.uint32", 4_000_000_000)
    writer.add_int32("test.int32", -2_000_000_000)
    writer.add_uint64("test.uint64", 2**63 + 1)
    writer.add_int64("test.int64", -(2**62) - 1)
    writer.add_float32("test.float32", 1.5)
    writer.add_float64("test.float64", 0.1)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "größe")
    writer.add_token_list(["<s>", "", "▁the", "\U0001f600"])
    writer.add_token_types([3, 1, 1, 6])
    writer.add_array("test.floats", [0.5, -1.25])
    writer.add_tensor("f32", ramp(3, 5))
    writer.add_tensor("f16", ramp(7).astype(np.float16))
    for name in ("BF16", "Q8_0", "Q4_1"):
        dtype = GGMLQuantizationType[name]
        values = {
            "BF16": ramp(2, 64),
            # Blocks whose scale comes out as 1, so that every value is exact.
            "Q8_0": np.tile(np.r_[127, np.arange(31)], 4).astype(np.float32).reshape(2, 64),
            "Q4_1": np.tile(np.arange(16), 16).astype(np.float32).reshape(4, 64),
        }[name]
        writer.add_tensor(name.lower(), quantize(values, dtype), raw_dtype=dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_safetensors() -> None:
    tensors = {
        "f32": ramp(3, 5),
        "f16": ramp(2, 3, 4).astype(np.float16),
        "f64": ramp(4).astype(np.float64),
        "i64": np.arange(3, dtype=np.int64),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 5), np.float32),
    }
    save_file(tensors, FOLDER / "golden.safetensors", metadata={"format": "np"})
    sharded = FOLDER / "golden_sharded"
    sharded.mkdir(exist_ok=True)
    shards = {
        "model-00001-of-00002.safetensors": ["f32"],
        "model-00002-of-00002.safetensors": ["f16", "scalar"],
    }
    for shard, names in shards.items():
        save_file({name: tensors[name] for name in names}, sharded / shard, metadata={"format": "np"})
    weight_map = {name: shard for shard, names in shards.items() for name in names}
    index = {"metadata": {"total_size": 112}, "weight_map": weight_map}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    write_gguf()
    write_safetensors()
