"""PyTorch as a contender: transformers with torch's dynamic int8 quantisation of every linear layer, and PEFT's adapter over it.

Arguments: GGUF model, threads, PEFT adapter folder or "".
"""

import copy
import sys
import warnings
from pathlib import Path

import torch
from protocol import Stopwatch, serve
from transformers import AutoModelForCausalLM

warnings.filterwarnings("ignore")  # torch.ao says that it will move


def quantized(model: torch.nn.Module) -> torch.nn.Module:
    """The model with its linear layers in int8, but for the adapter's factors, which stay as they are."""
    names = {
        name: torch.ao.quantization.default_dynamic_qconfig
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "lora_" not in name
    }
    return torch.ao.quantization.quantize_dynamic(model, names, dtype=torch.qint8, inplace=True)


@torch.inference_mode()
def main() -> None:
    file, threads, folder = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(threads)
    base = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
    base.generation_config.eos_token_id = None
    adapted = None
    if folder:
        from peft import PeftModel

        adapted = quantized(PeftModel.from_pretrained(copy.deepcopy(base), folder).eval())
    plain = quantized(base)

    def generate(prompt: list[int], tokens: int, adapter: bool) -> Stopwatch:
        model = adapted if adapter else plain
        watch = Stopwatch()
        cache, ids = None, torch.tensor([prompt])
        for _ in range(tokens):
            output = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache, ids = output.past_key_values, output.logits[:, -1:].argmax(-1)
            ids.item()
            watch.token()
        return watch

    serve({"version": torch.__version__, "engine": torch.backends.quantized.engine}, generate)


if __name__ == "__main__":
    main()
