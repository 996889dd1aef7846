"""Writes a GGUF model as OpenVINO's IR with int8 weights, symmetric, a scale a channel: python export_openvino.py MODEL.gguf FOLDER

Offline. Needs the packages that peers.mjs names for OpenVINO.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import nncf
import openvino as ov
import torch
from optimum.exporters.openvino import main_export
from transformers import AutoModelForCausalLM


def main() -> None:
    model, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.mkdir()
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        floats, exported = Path(temporary) / "floats", Path(temporary) / "exported"
        AutoModelForCausalLM.from_pretrained(model.parent, gguf_file=model.name, dtype=torch.float32).save_pretrained(floats)
        main_export(
            str(floats), exported, task="text-generation-with-past", library_name="transformers", convert_tokenizer=False
        )
        network = ov.Core().read_model(exported / "openvino_model.xml")
        ov.save_model(nncf.compress_weights(network, mode=nncf.CompressWeightsMode.INT8_SYM), target / "openvino_model.xml")
        for file in exported.glob("*.json"):
            shutil.copy(file, target)


if __name__ == "__main__":
    main()
