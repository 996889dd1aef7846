#!/usr/bin/env python3
"""Writes data/<dtype>.bin: encoded blocks and the float32 values that the `gguf` package decodes them to.

Layout, little-endian: uint32 elements, uint32 bytes, the encoded bytes, float32 values[elements].
The blocks are random bytes whose scales are finite: every bit pattern of the quantised part occurs, which
encoded real weights would not give. Needs: pip install gguf==0.19.0 (brings numpy).
"""

import pathlib
import struct

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

ELEMENTS = 1024
# Where the float16 scales lie in a block: they must not be NaN or infinite.
SCALE_OFFSETS = {
    "Q8_0": [0],
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "BF16": [],
}


def encoded_blocks(name: str, random: np.random.Generator) -> np.ndarray:
    block_elements, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    blocks = random.integers(0, 256, (ELEMENTS // block_elements, block_bytes), dtype=np.uint8)
    for offset in SCALE_OFFSETS[name]:
        # Both signs, sizes from subnormal (below 2^-14) to large.
        exponents = random.uniform(-20, 10, len(blocks))
        scales = (random.choice([-1.0, 1.0], len(blocks)) * np.exp2(exponents)).astype(np.float16)
        blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(1, -1)


def main() -> None:
    folder = pathlib.Path(__file__).parent / "data"
    folder.mkdir(exist_ok=True)
    for seed, name in enumerate(SCALE_OFFSETS):
        random = np.random.default_rng(seed)
        if name == "BF16":
            bits = random.standard_normal(ELEMENTS).astype(np.float32).view(np.uint32)
            encoded = (bits >> 16).astype(np.uint16).view(np.uint8).reshape(1, -1)
        else:
            encoded = encoded_blocks(name, random)
        values = dequantize(encoded, GGMLQuantizationType[name]).astype("<f4").reshape(-1)
        assert values.size == ELEMENTS and np.isfinite(values).all()
        header = struct.pack("<II", values.size, encoded.size)
        (folder / f"{name.lower()}.bin").write_bytes(header + encoded.tobytes() + values.tobytes())


if __name__ == "__main__":
    main()
