"""Files that the tests read: a JSON manifest beside a binary file of float32 / int32 values (little endian).

The manifest names each array by its offset (in values of four bytes) and its shape, so that a reader needs no
more than `new Float32Array(buffer, 4 * offset, size)`.
"""

import json
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).resolve().parent / "data"


class GoldenWriter:
    """Collects arrays and writes `<stem>.golden.json` and `<stem>.golden.bin` in one go."""

    def __init__(self, stem: Path):
        self.stem = stem
        self.chunks: list[bytes] = []
        self.values = 0

    def array(self, data) -> dict:
        """Appends float32 or int32 values; returns {"offset", "shape"} for the manifest."""
        if isinstance(data, torch.Tensor):
            data = data.detach().cpu().numpy()
        data = np.ascontiguousarray(data)
        if data.dtype not in (np.float32, np.int32):
            raise TypeError(f"Expected float32 or int32 values for {self.stem.name}, received {data.dtype}.")
        place = {"offset": self.values, "shape": list(data.shape)}
        self.chunks.append(data.astype(data.dtype.newbyteorder("<")).tobytes())
        self.values += data.size
        return place

    def write(self, manifest: dict) -> None:
        self.stem.parent.mkdir(parents=True, exist_ok=True)
        self.stem.with_name(self.stem.name + ".golden.bin").write_bytes(b"".join(self.chunks))
        self.stem.with_name(self.stem.name + ".golden.json").write_text(format_json(manifest))


def format_json(value, indent: str = "") -> str:
    """JSON with one key a line, but lists of numbers on one line, so that a change can be read in a diff."""
    deeper = indent + "  "
    end = "\n" if indent == "" else ""
    if isinstance(value, dict) and value:
        body = ",\n".join(f"{deeper}{json.dumps(k)}: {format_json(v, deeper)}" for k, v in value.items())
        return "{\n" + body + "\n" + indent + "}" + end
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        body = ",\n".join(deeper + format_json(item, deeper) for item in value)
        return "[\n" + body + "\n" + indent + "]" + end
    return json.dumps(value, allow_nan=False) + end
