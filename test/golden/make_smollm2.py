"""Makes data/smollm2: what transformers computes with SmolLM2-135M-Instruct, in float32 and on its
dequantised int8 weights.

Run as `python make_smollm2.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf` (README.md says where the file comes
from). A few minutes on one core.
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch
import transformers
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM

from golden_files import DATA, GoldenWriter
from int8_weights import quantise_weights

GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PROMPTS = Path(__file__).resolve().parent / "smollm2_prompts.json"
TOP, FIXED, GREEDY_TOKENS = 64, 256, 256


def read_tokenizer(path: Path) -> Tokenizer:
    """Byte-level BPE with single digits (`tokenizer.ggml.pre` = smollm), from the vocabulary in the GGUF."""
    fields = GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = 3
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, types, strict=True)
            if kind == control
        ]
    )
    return tokenizer


def read_prompts(tokenizer: Tokenizer) -> list[dict]:
    """Plain texts, and questions in the model's chat format with its default system prompt."""
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    prompts = []
    for prompt in json.loads(PROMPTS.read_text()):
        text = prompt.get("text")
        if text is None:
            text = (
                f"<|im_start|>system\n{system}<|im_end|>\n"
                f"<|im_start|>user\n{prompt['chat']}<|im_end|>\n<|im_start|>assistant\n"
            )
        prompts.append({"text": text, "tokens": tokenizer.encode(text).ids})
    return prompts


@torch.no_grad()
def positions(model, tokens: list[int], fixed: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of each position: the top logits with their ids, the logarithm of the sum of exp, and the logits of the
    fixed ids."""
    logits = model(torch.tensor([tokens])).logits[0]
    top = logits.topk(TOP)
    return {
        "topIds": top.indices.int(),
        "topLogits": top.values,
        "logSumExp": torch.logsumexp(logits.double(), dim=1).float(),
        "fixedLogits": logits[:, fixed],
    }


@torch.no_grad()
def greedy(model, prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """GREEDY_TOKENS ids after each prompt (an end-of-text token does not end it), and the gap of the top two
    logits of each.

    All prompts go side by side, padded on the left: a masked column weighs exactly 0, and positions count
    from the first token.
    """
    longest = max(map(len, prompts))
    step = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    places = (mask.cumsum(dim=1) - 1).clamp(min=0)
    cache, tokens, gaps = None, [], []
    for _ in range(GREEDY_TOKENS):
        output = model(
            step,
            attention_mask=mask,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = output.past_key_values
        best = output.logits[:, -1].topk(2)
        tokens.append(best.indices[:, 0])
        gaps.append(best.values[:, 0] - best.values[:, 1])
        step = best.indices[:, :1]
        mask = torch.cat([mask, torch.ones(len(prompts), 1, dtype=mask.dtype)], dim=1)
        places = places[:, -1:] + 1
    return torch.stack(tokens, dim=1), torch.stack(gaps, dim=1)


@torch.no_grad()
def check_unpadded(model, prompt: list[int], tokens: torch.Tensor, gaps: torch.Tensor) -> None:
    """The padded run against one plain forward pass over a prompt and its continuation."""
    logits = model(torch.tensor([prompt + tokens.tolist()])).logits[0, len(prompt) - 1 : -1]
    best = logits.topk(2)
    assert torch.equal(best.indices[:, 0], tokens)
    assert float((best.values[:, 0] - best.values[:, 1] - gaps).abs().max()) < 1e-3


def make_precision(
    writer: GoldenWriter, precision: str, model, prompts: list[dict], fixed: torch.Tensor
) -> dict:
    of_prompts = [positions(model, prompt["tokens"], fixed) for prompt in prompts]
    result = {"precision": precision}
    for key in of_prompts[0]:
        result[key] = writer.array(torch.cat([of_prompt[key] for of_prompt in of_prompts]))
    tokens, gaps = greedy(model, [prompt["tokens"] for prompt in prompts])
    for i in (0, len(prompts) - 1):
        check_unpadded(model, prompts[i]["tokens"], tokens[i], gaps[i])
    print(
        f"{precision}: smallest gaps {[round(gap, 4) for gap in gaps.min(dim=1).values.tolist()]}", flush=True
    )
    result["greedyTokens"] = writer.array(tokens.int())
    result["greedyGaps"] = writer.array(gaps)
    return result


@torch.no_grad()
def float32_error(load, prompts: list[dict]) -> float:
    """max |logit| difference of transformers' own float32 from its float64 on the first prompts: what the bar
    has to contain."""
    single, double = load(), load().double()
    pairs = (
        (single(ids).logits, double(ids).logits) for ids in (torch.tensor([p["tokens"]]) for p in prompts[:4])
    )
    return max(float((a - b).abs().max()) for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    digest = hashlib.sha256(options.gguf.read_bytes()).hexdigest()
    if digest != GGUF_SHA256:
        raise SystemExit(f"Expected the SHA-256 {GGUF_SHA256} for {options.gguf.name}, received {digest}.")
    torch.set_num_threads(options.threads)

    def load():
        return AutoModelForCausalLM.from_pretrained(
            options.gguf.parent, gguf_file=options.gguf.name, dtype=torch.float32, attn_implementation="eager"
        ).eval()

    prompts = read_prompts(read_tokenizer(options.gguf))
    error = float32_error(load, prompts)
    print(
        f"{len(prompts)} prompts, {sum(len(p['tokens']) for p in prompts)} tokens, float32 error {error:.1e}",
        flush=True,
    )
    model = load()
    generator = torch.Generator().manual_seed(49152)
    fixed = torch.randperm(model.config.vocab_size, generator=generator)[:FIXED].sort().values
    writer = GoldenWriter(DATA / "smollm2" / "smollm2")
    manifest = {
        "model": "smollm2-135m-instruct",
        "ggufSha256": GGUF_SHA256,
        "transformers": transformers.__version__,
        "vocabularySize": model.config.vocab_size,
        "float32Error": error,
        "fixedIds": fixed.tolist(),
        "prompts": prompts,
        "precisions": [
            make_precision(writer, "float32", model, prompts, fixed),
            make_precision(writer, "w8-float32", quantise_weights(model), prompts, fixed),
        ],
    }
    writer.write(manifest)


if __name__ == "__main__":
    main()
