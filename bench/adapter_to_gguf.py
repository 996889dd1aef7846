"""Writes a PEFT adapter of a Llama model in llama.cpp's GGUF form, for peers: python adapter_to_gguf.py FOLDER OUT.gguf

For timings: the rows of q and k are not permuted as llama.cpp's converter permutes them. Needs the packages gguf and numpy.
"""

import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFWriter

NAMES = {
    "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
    "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down",
}


def tensors(file: Path):
    """Name and float32 values of each bfloat16 tensor of a safetensors file."""
    raw = file.read_bytes()
    header_end = 8 + int.from_bytes(raw[:8], "little")
    for name, tensor in json.loads(raw[8:header_end]).items():
        if name == "__metadata__":
            continue
        if tensor["dtype"] != "BF16":
            raise ValueError(f"Expected BF16 for {name}, received {tensor['dtype']}.")
        begin, end = (header_end + offset for offset in tensor["data_offsets"])
        words = np.frombuffer(raw[begin:end], np.uint16).astype(np.uint32) << 16
        yield name, words.view(np.float32).reshape(tensor["shape"])


def main() -> None:
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    config = json.loads((folder / "adapter_config.json").read_text())
    writer = GGUFWriter(target, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(config["lora_alpha"]))
    for name, values in tensors(folder / "adapter_model.safetensors"):
        parts = name.split(".")
        layer, module, half = parts[parts.index("layers") + 1], parts[-3], parts[-2]
        suffix = {"lora_A": "lora_a", "lora_B": "lora_b"}[half]
        writer.add_tensor(f"blk.{layer}.{NAMES[module]}.weight.{suffix}", values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
