"""The int8 weight format of the engine, in numpy, and models that hold the dequantised weights ("W8").

One scale per output row: scale = absmax(row) / 127 in float32, q = round_half_even(w / scale) clamped to
+-127, w' = q * scale in float32. A row of zeros has scale 0. The embedding table and the head are quantised
too; a tied table is one int8 table with a scale per vocabulary row. Norm gains and biases stay float32.
"""

import copy

import numpy as np
import torch
from torch import nn


def dequantised_int8(weight: np.ndarray) -> np.ndarray:
    """w' of a float32 matrix [rows, columns], through int8 with a scale per row."""
    weight = np.asarray(weight, dtype=np.float32)
    scale = np.abs(weight).max(axis=1, keepdims=True) / np.float32(127)
    quotient = np.divide(weight, scale, out=np.zeros_like(weight), where=scale != 0)
    quantised = np.clip(np.rint(quotient), -127, 127).astype(np.int8)
    return quantised.astype(np.float32) * scale


@torch.no_grad()
def quantise_weights(model: nn.Module) -> nn.Module:
    """Replaces the weight of every linear and embedding layer by w', once where two layers share it."""
    done: set[int] = set()
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)) and module.weight.data_ptr() not in done:
            done.add(module.weight.data_ptr())
            module.weight.copy_(torch.from_numpy(dequantised_int8(module.weight.numpy())))
    return model


def with_int8_weights(model: nn.Module) -> nn.Module:
    """A copy of the model on its dequantised int8 weights; ties are kept by deepcopy."""
    return quantise_weights(copy.deepcopy(model))
