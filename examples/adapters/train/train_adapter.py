"""Trains one demo adapter with PEFT on data made by its task, and writes the PEFT folder.

    python train_adapter.py order-json --gguf SmolLM2-135M-Instruct.Q4_1.gguf

Cross-entropy on the completion only (its end-of-turn token included), AdamW, linear warm-up and decay. The seed fixes
data and initialisation. Weights, gradients and optimiser are float32; with --bfloat16 the matrix products are in
bfloat16, which is about 1.5 times as fast on a CPU that has AVX-512 BF16. The adapter is saved in bfloat16, to stay below
2 MB.
"""

import argparse
import json
import random
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from base_model import BASE_NAME, completion_ids, load_base, prompt_ids
from tasks import TASKS

ADAPTERS = Path(__file__).parent.parent
MAX_TOKENS = 176
WARMUP_STEPS = 10
MAX_GRADIENT_NORM = 1.0

# The two adapters differ in rank and targets on purpose: a server has to take them as they come. The lower third of the
# layers is left as it is, since no gradient has to pass through it then.
UPPER_LAYERS = {"layers_to_transform": list(range(10, 30)), "layers_pattern": "layers"}
RECIPES = {
    "order-json": {
        "lora": {
            "r": 8, "lora_alpha": 16, **UPPER_LAYERS,
            "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
        },
        "steps": 220, "batch_size": 4, "learning_rate": 1.5e-3, "seed": 1,
    },
    "maintenance-report": {
        "lora": {
            "r": 4, "lora_alpha": 8, **UPPER_LAYERS,
            "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        },
        "steps": 260, "batch_size": 4, "learning_rate": 2e-3, "seed": 2,
    },
}


def training_batches(task, tokenizer, steps: int, batch_size: int, seed: int) -> list[list[tuple[list[int], int]]]:
    """`steps` batches of (prompt and completion ids, number of prompt ids); no example is used twice.

    Examples above MAX_TOKENS are dropped. Similar lengths share a batch, and the batches are shuffled.
    """
    rng = random.Random(seed)
    samples: dict[str, tuple[list[int], int]] = {}
    while len(samples) < steps * batch_size:
        message, record = task.example(rng, "train")
        prompt = prompt_ids(tokenizer, message)
        ids = prompt + completion_ids(tokenizer, task.render(record))
        if len(ids) <= MAX_TOKENS:
            samples[message] = (ids, len(prompt))
    ordered = sorted(samples.values(), key=lambda sample: len(sample[0]))
    batches = [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]
    rng.shuffle(batches)
    return batches


def completion_loss(model, batch: list[tuple[list[int], int]]) -> torch.Tensor:
    """Mean cross-entropy over the completion tokens of a batch.

    Samples are padded on the right: causal attention keeps padding out of what is scored. The head runs on the scored
    positions only.
    """
    width = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch])  # [batch, width]
    targets = torch.full_like(ids, -1)  # [batch, width]
    for row, (sample, prompt_length) in enumerate(batch):
        # The position before a token predicts it.
        targets[row, prompt_length - 1 : len(sample) - 1] = torch.tensor(sample[prompt_length:])
    causal_lm = model.get_base_model()
    hidden = causal_lm.model(input_ids=ids, use_cache=False).last_hidden_state  # [batch, width, hidden_size]
    scored = targets >= 0
    return torch.nn.functional.cross_entropy(causal_lm.lm_head(hidden[scored]), targets[scored])


def train(name: str, gguf: Path, steps: int | None, bfloat16: bool) -> torch.nn.Module:
    recipe = RECIPES[name]
    steps = steps or recipe["steps"]
    torch.manual_seed(recipe["seed"])
    base, tokenizer = load_base(gguf)
    batches = training_batches(TASKS[name], tokenizer, steps, recipe["batch_size"], recipe["seed"])
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, bias="none", **recipe["lora"]))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe["learning_rate"], weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARMUP_STEPS, (steps - step) / (steps - WARMUP_STEPS))
    )
    started = time.monotonic()
    for step, batch in enumerate(batches):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = completion_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 10 == 0 or step == steps - 1:
            print(f"step {step + 1}/{steps}  loss {loss.item():.4f}  {time.monotonic() - started:.0f} s", flush=True)
    return model


def save(model, folder: Path) -> None:
    """Writes the PEFT folder: adapter_config.json without machine paths, tensors in bfloat16."""
    model.peft_config["default"].base_model_name_or_path = BASE_NAME
    card = (folder / "README.md").read_text() if (folder / "README.md").exists() else None
    model.save_pretrained(folder, save_embedding_layers=False)
    if card is None:
        (folder / "README.md").unlink()  # PEFT's template of a model card, all of it to be filled in
    else:
        (folder / "README.md").write_text(card)
    config_file = folder / "adapter_config.json"
    config = json.loads(config_file.read_text())
    config["target_modules"].sort()  # PEFT keeps a set, whose order changes from run to run
    config_file.write_text(json.dumps(config, indent=2) + "\n")
    file = folder / "adapter_model.safetensors"
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    file.chmod(0o644)
    print(f"{file}: {file.stat().st_size:,} bytes")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("adapter", choices=RECIPES)
    arguments.add_argument("--gguf", type=Path, required=True, help="SmolLM2-135M-Instruct.Q4_1.gguf")
    arguments.add_argument("--output", type=Path, default=ADAPTERS, help="parent of the adapter's folder")
    arguments.add_argument("--steps", type=int, help="default: the recipe's")
    arguments.add_argument("--bfloat16", action="store_true", help="matrix products in bfloat16")
    arguments.add_argument("--threads", type=int, default=2)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    model = train(options.adapter, options.gguf, options.steps, options.bfloat16)
    save(model, options.output / options.adapter)


if __name__ == "__main__":
    main()
