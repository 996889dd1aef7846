"""The base model of the demo adapters, and the prompt format which they are trained on and scored with.

The weights are those that the quickstart runs: SmolLM2-135M-Instruct as a Q4_1 GGUF file, dequantised to float32 by
transformers. The prompt is the model's own chat template with one user message and no system message, so that the
template supplies its default one:

    <|im_start|>system\\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\\n
    <|im_start|>user\\n{message}<|im_end|>\\n
    <|im_start|>assistant\\n{completion}<|im_end|>
"""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

BASE_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
END_OF_TURN = "<|im_end|>"


def load_base(gguf: Path):
    """(model in float32 on the CPU, tokenizer)."""
    folder, file = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file, clean_up_tokenization_spaces=False)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    return model.eval(), tokenizer


def prompt_ids(tokenizer, message: str) -> list[int]:
    """Token ids of the prompt up to and including "<|im_start|>assistant\\n"."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True
    )
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def completion_ids(tokenizer, completion: str) -> list[int]:
    """Token ids of the completion and the end-of-turn token, all of which are training targets."""
    ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
    return [*ids, tokenizer.convert_tokens_to_ids(END_OF_TURN)]


@torch.no_grad()
def answer(model, tokenizer, messages: list[str], max_new_tokens: int = 80, batch_size: int = 25) -> list[str]:
    """Greedy answers to single user messages, without the end-of-turn token. Batches are padded on the left."""
    end = tokenizer.convert_tokens_to_ids(END_OF_TURN)
    prompts = [prompt_ids(tokenizer, message) for message in messages]
    # Similar lengths share a batch, so little is padded.
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    answers = [""] * len(prompts)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        width = max(len(prompts[index]) for index in chosen)
        ids = torch.full((len(chosen), width), end)  # [batch, width]
        mask = torch.zeros_like(ids)  # [batch, width]
        for row, index in enumerate(chosen):
            ids[row, width - len(prompts[index]) :] = torch.tensor(prompts[index])
            mask[row, width - len(prompts[index]) :] = 1
        output = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False,
            eos_token_id=end, pad_token_id=end,
        )
        for row, index in enumerate(chosen):
            new = output[row, width:].tolist()
            answers[index] = tokenizer.decode(new[: new.index(end)] if end in new else new)
    return answers
