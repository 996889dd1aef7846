"""OpenVINO GenAI as a contender: int8 weights with a scale a channel; its CPU plugin quantises activations inside of the products.

Arguments: folder of export_openvino.py, threads, PEFT adapter folder or "".
"""

import sys
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
from protocol import Stopwatch, serve


def main() -> None:
    model, threads, folder = sys.argv[1:4]
    properties = {
        "INFERENCE_NUM_THREADS": int(threads),
        "PERFORMANCE_HINT": "LATENCY",
        "ATTENTION_BACKEND": "SDPA",  # "PA" is made for many requests, and would find prompts in its prefix cache
    }
    plain = genai.LLMPipeline(model, "CPU", **properties)
    adapted = None
    if folder:
        adapters = genai.AdapterConfig(genai.Adapter(str(Path(folder) / "adapter_model.safetensors")))
        adapted = genai.LLMPipeline(model, "CPU", adapters=adapters, **properties)

    def generate(prompt: list[int], tokens: int, adapter: bool) -> Stopwatch:
        config = genai.GenerationConfig()
        config.max_new_tokens = tokens
        config.ignore_eos = True
        config.do_sample = False
        inputs = genai.TokenizedInputs(
            ov.Tensor(np.array([prompt], np.int64)), ov.Tensor(np.ones((1, len(prompt)), np.int64))
        )
        watch = Stopwatch()

        class Streamer(genai.StreamerBase):
            def write(self, token) -> genai.StreamingStatus:
                for _ in token if isinstance(token, list) else [token]:
                    watch.token()
                return genai.StreamingStatus.RUNNING

            def end(self) -> None:
                pass

        (adapted if adapter else plain).generate(inputs, config, Streamer())
        return watch

    serve({"version": genai.__version__}, generate)


if __name__ == "__main__":
    main()
