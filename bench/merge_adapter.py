"""Writes a GGUF model anew with a PEFT adapter merged into it, W + s B A, in float16: the baseline that pays nothing for an adapter
and can serve one alone.

    python merge_adapter.py MODEL.gguf ADAPTER_FOLDER TARGET.gguf

Plain LoRA with one rank, in bfloat16, as scripts/lib/random-adapter.mjs writes it. Needs the packages gguf and numpy.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from adapter_to_gguf import NAMES, tensors
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize
from requantize_gguf import FILE_TYPES, copy_metadata


def interleaved(delta: np.ndarray, heads: int) -> np.ndarray:
    """The rows of q or k [heads * head_dim, in] in the order that llama.cpp keeps them in for Llama: the two halves of a head in turn."""
    rows, cols = delta.shape
    return delta.reshape(heads, 2, rows // heads // 2, cols).swapaxes(1, 2).reshape(rows, cols)


def deltas(folder: Path, reader: GGUFReader) -> dict[str, np.ndarray]:
    """s B A by the name of the GGUF tensor, in float32."""
    config = json.loads((folder / "adapter_config.json").read_text())
    scale = config["lora_alpha"] / config["r"]
    architecture = reader.fields["general.architecture"].contents()
    heads = {
        "q_proj": reader.fields[f"{architecture}.attention.head_count"].contents(),
        "k_proj": reader.fields[f"{architecture}.attention.head_count_kv"].contents(),
    }
    halves: dict[str, dict[str, np.ndarray]] = {}
    for name, values in tensors(folder / "adapter_model.safetensors"):
        module, half = name.removesuffix(".weight").rsplit(".", 1)
        halves.setdefault(module, {})[half] = values
    result = {}
    for module, factors in halves.items():
        parts = module.split(".")
        layer, projection = parts[parts.index("layers") + 1], parts[-1]
        delta = scale * (factors["lora_B"] @ factors["lora_A"])
        if architecture == "llama" and projection in heads:
            delta = interleaved(delta, heads[projection])
        result[f"blk.{layer}.{NAMES[projection]}.weight"] = delta
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "adapter", "target"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    reader = GGUFReader(arguments.model)
    added = deltas(arguments.adapter, reader)
    writer = GGUFWriter(arguments.target, reader.fields["general.architecture"].contents())
    writer.add_file_type(FILE_TYPES["F16"])
    copy_metadata(reader, writer)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if tensor.name in added:
            values += added.pop(tensor.name)
        matrix = len(tensor.shape) == 2
        kind = GGMLQuantizationType.F16 if matrix else GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, values.astype(np.float16) if matrix else values, raw_dtype=kind)
    if added:
        raise ValueError(f"Expected tensors for {', '.join(added)} in {arguments.model}.")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
