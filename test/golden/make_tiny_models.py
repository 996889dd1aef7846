"""Makes data/tiny-models: the small random models and the logits that transformers computes with them.

Run as `python make_tiny_models.py [model…]` with the versions of requirements.txt.
"""

import json
import shutil
import sys

import torch
import transformers

from golden_files import GoldenWriter
from int8_weights import with_int8_weights
from tiny_models import MODELS, TINY_MODELS, TinyModel, build, load

LONG_LENGTH = 600  # over two spans of 256 positions
LONG_SPANS = ((250, 260), (508, 518), (590, 600))
GREEDY_TOKENS = 40
TOLERANCE = 1e-4  # of max |logit|: the bar of the tests


def random_tokens(vocabulary_size: int, length: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, vocabulary_size, (length,), generator=generator).tolist()


@torch.no_grad()
def logits(model, tokens: list[int]) -> torch.Tensor:
    """[positions, vocabulary] in the dtype of the model."""
    return model(torch.tensor([tokens])).logits[0]


@torch.no_grad()
def greedy(model, prompt: list[int], count: int) -> tuple[list[int], list[float]]:
    """The greedy continuation, and the gap between the top two logits at each step. Recomputed in full: no
    cache to trust."""
    tokens, gaps = list(prompt), []
    for _ in range(count):
        best = logits(model, tokens)[-1].topk(2)
        gaps.append(float(best.values[0] - best.values[1]))
        tokens.append(int(best.indices[0]))
    return tokens[len(prompt) :], gaps


def greedy_golden(model, precision: str, tiny: TinyModel, scale: float) -> dict:
    """A prompt whose continuation has no near-tie, so that the tests may ask for identical tokens without
    excuse."""
    for attempt in range(50):
        prompt = random_tokens(tiny.config.vocab_size, tiny.greedy_prompt, tiny.seed * 1000 + attempt)
        tokens, gaps = greedy(model, prompt, GREEDY_TOKENS)
        if min(gaps) > 20 * TOLERANCE * scale and len(set(tokens)) >= 8:
            return {"precision": precision, "prompt": prompt, "tokens": tokens, "smallestGap": min(gaps)}
    raise RuntimeError("No greedy prompt without a near-tie in 50 attempts: change the seed of the model.")


def last(tiny: TinyModel, values: torch.Tensor) -> torch.Tensor:
    """The positions that are kept of a whole sequence."""
    return values if tiny.kept is None else values[-tiny.kept :]


def kept_entry(writer: GoldenWriter, tiny: TinyModel, precision: str, sequence: int, values: torch.Tensor) -> dict:
    kept = last(tiny, values)
    return entry(writer, precision, sequence, kept, values.shape[0] - kept.shape[0])


def entry(writer: GoldenWriter, precision: str, sequence: int, values: torch.Tensor, start: int = 0) -> dict:
    return {
        "precision": precision,
        "sequence": sequence,
        "from": start,
        "to": start + values.shape[0],
        "maxAbs": float(values.abs().max()),
        "logits": writer.array(values),
    }


def without_rope(model):
    rotary = model.model.rotary_emb
    original = rotary.forward

    def flat(*arguments, **keywords):
        cosine, sine = original(*arguments, **keywords)
        return torch.ones_like(cosine), torch.zeros_like(sine)

    rotary.forward = flat
    return model


def with_theta(rope: dict, factor: float) -> dict:
    if "full_attention" in rope:
        return {kind: with_theta(inner, factor) for kind, inner in rope.items()}
    return {**rope, "rope_theta": rope["rope_theta"] * factor}


@torch.no_grad()
def controls(tiny: TinyModel, tokens: list[int], golden: torch.Tensor) -> dict:
    """How far the logits move when a part is switched off: the tests prove with these that the golden can
    fail."""
    rope = json.loads((tiny.folder / "config.json").read_text())["rope_parameters"]

    def moved(model) -> float:
        return float(last(tiny, logits(model, tokens) - golden).abs().max())

    result = {
        "ropeThetaTimes4": moved(load(tiny.folder, rope_parameters=with_theta(rope, 4.0))),
        "withoutRope": moved(without_rope(load(tiny.folder))),
    }
    unbiased = load(tiny.folder)
    biases = [parameter for name, parameter in unbiased.named_parameters() if name.endswith(".bias")]
    if biases:
        for bias in biases:
            bias.zero_()
        result["withoutBias"] = moved(unbiased)
    if getattr(tiny.config, "sliding_window", None):
        result["withoutWindow"] = moved(load(tiny.folder, sliding_window=4096))
    switches = {name: moved(load(tiny.folder, **keys)) for name, keys in tiny.switches.items()}
    for name, difference in [*result.items(), *switches.items()]:
        if difference < 100 * TOLERANCE * float(golden.abs().max()):
            raise RuntimeError(f"{tiny.name}: switching off {name} moves the logits by {difference} only.")
    if switches:
        result["switches"] = [
            {"name": name, "keys": keys, "moved": switches[name]} for name, keys in tiny.switches.items()
        ]
    return result


def make(tiny: TinyModel) -> None:
    build(tiny)
    model = load(tiny.folder)
    sequences = [random_tokens(tiny.config.vocab_size, n, tiny.seed + n) for n in tiny.lengths]
    writer = GoldenWriter(TINY_MODELS / tiny.name)
    all_logits = [logits(model, tokens) for tokens in sequences]
    scale = float(all_logits[0].abs().max())
    deviation = float(all_logits[0].std(dim=1).mean())
    exact = logits(load(tiny.folder).double(), sequences[0])
    rounding = float((exact - all_logits[0]).abs().max()) / scale
    if deviation < 1 or rounding > TOLERANCE / 10:
        raise RuntimeError(f"{tiny.name}: standard deviation {deviation}, error of float32 {rounding}.")
    if not torch.equal(logits(load(tiny.folder, "legacy"), sequences[0]), all_logits[0]):
        raise RuntimeError(f"{tiny.name}: transformers reads config-legacy.json as another model.")

    int8_model = with_int8_weights(model)
    short = {i for i, n in enumerate(tiny.lengths) if tiny.short_context and 1 < n <= tiny.short_context}
    entries = [
        kept_entry(writer, tiny, "float32", i, values) for i, values in enumerate(all_logits) if i not in short
    ]
    entries.append(kept_entry(writer, tiny, "w8-float32", 1, logits(int8_model, sequences[1])))
    if tiny.config.max_position_embeddings >= LONG_LENGTH:
        sequences.append(random_tokens(tiny.config.vocab_size, LONG_LENGTH, tiny.seed + LONG_LENGTH))
        long_logits = logits(model, sequences[-1])
        entries += [entry(writer, "float32", len(sequences) - 1, long_logits[a:b], a) for a, b in LONG_SPANS]

    variants = []
    for variant in tiny.variants:
        values = logits(load(tiny.folder, variant), sequences[1])
        if float(last(tiny, values - all_logits[1]).abs().max()) < 100 * TOLERANCE * scale:
            raise RuntimeError(f"{tiny.name}: the variant {variant} changes nothing.")
        variants.append({"config": f"config-{variant}.json", **kept_entry(writer, tiny, "float32", 1, values)})
    variants += [
        {
            "config": "config.json",
            "contextLength": tiny.short_context,
            **kept_entry(writer, tiny, "float32", i, all_logits[i]),
        }
        for i in sorted(short)
    ]

    writer.write(
        {
            "model": tiny.name,
            "transformers": transformers.__version__,
            "vocabularySize": tiny.config.vocab_size,
            "standardDeviation": deviation,
            "float32Error": rounding,
            "sequences": sequences,
            "logits": entries,
            "variants": variants,
            "greedy": [
                greedy_golden(model, "float32", tiny, scale),
                greedy_golden(int8_model, "w8-float32", tiny, scale),
            ],
            "controls": controls(tiny, sequences[0], all_logits[0]),
        }
    )
    print(f"{tiny.name}: std {deviation:.2f}, max {scale:.2f}, float32 error {rounding:.1e}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    wanted = sys.argv[1:]
    if not wanted:
        shutil.rmtree(TINY_MODELS, ignore_errors=True)
    for tiny_model in MODELS:
        if not wanted or tiny_model.name in wanted:
            make(tiny_model)
