"""Makes bench/data/order-json-dora: the demo adapter order-json as a DoRA, for `npm run fidelity`.

PEFT sets each magnitude to the norm of the base's row; here it is then scaled by 1 + 0.05 * noise (seed 0), so that the gain
differs from 1 in every row. Usage: python bench/make_dora.py SmolLM2-135M-Instruct.Q4_1.gguf (see examples/adapters/train for
the packages).
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "examples" / "adapters" / "order-json"
OUT = ROOT / "bench" / "data" / "order-json-dora"


def main() -> None:
    gguf = Path(sys.argv[1])
    base = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = LoraConfig.from_pretrained(SOURCE)
    config.use_dora = True
    config.inference_mode = False
    model = get_peft_model(base, config)
    trained = load_file(SOURCE / "adapter_model.safetensors")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            saved = trained.get(name.replace(".default", ""))
            if saved is not None:
                parameter.copy_(saved.float())
            elif "lora_magnitude_vector" in name:
                parameter.mul_(1 + 0.05 * torch.randn(parameter.shape, generator=generator))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    config.base_model_name_or_path = "HuggingFaceTB/SmolLM2-135M-Instruct"
    model.save_pretrained(OUT)
    (OUT / "README.md").unlink(missing_ok=True)
    file = OUT / "adapter_config.json"
    saved = json.loads(file.read_text())
    saved["target_modules"].sort()  # PEFT keeps a set, whose order changes from run to run
    file.write_text(json.dumps(saved, indent=2) + "\n")


if __name__ == "__main__":
    main()
