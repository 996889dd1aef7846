"""What transformers makes of small tokenizers in whose files one key was changed: the golden of test/tokenizer/mutated-files.test.ts.

    python make_tokenizer_mutations.py

Reads data/tokenizer/tiny.json.gz (make_tokenizer.py) and writes data/tokenizer/mutations.json.gz. The oracle is PreTrainedTokenizerFast,
the class that takes tokenizer.json as it stands; transformers' own classes for a model family build their pipeline from the vocabulary
instead. Each case is (file, tokenizer, path of the key, value or nothing where it is left out) and the ids and texts that come out, or
"error" where the library refuses the file.
"""

import copy
import gzip
import json
import logging
import os
import tempfile
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from transformers import PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

DATA = Path(__file__).parent / "data" / "tokenizer"
ABSENT = "<absent>"
TEXTS = [
    "Hello World, it's 12 o'clock!  New York</s>",
    " leading, trailing \n\n<|im_start|>user word sword<mid> x <end>  y",
    "日本語 é e\u0301 ﬁ İ 👩🏽‍💻 \u0001",
    "<s>a b<unk>c<|im_end|>",
    "",
]
CONFIG = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def outcome(folder: Path, tokenizer_json: dict, config: dict) -> str:
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json, ensure_ascii=False))
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False))
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder))
        # split_special_tokens is what the caller of Tokenizer.encode says, whatever the file has.
        ids = [tokenizer(text, split_special_tokens=False).input_ids for text in TEXTS]
        # BPE and byte-level tokenizers alike: spaces stay as they are.
        texts = [tokenizer.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False) for row in ids]
    except BaseException as error:  # the Rust library panics, too
        if isinstance(error, KeyboardInterrupt):
            raise
        return json.dumps({"error": type(error).__name__})
    return json.dumps({"ids": ids, "texts": texts}, ensure_ascii=False)


def isolated(folder: Path, tokenizer_json: dict, config: dict) -> str:
    """The outcome from a process of its own: some damage makes the Rust library abort."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with os.fdopen(writer, "w", encoding="utf-8") as pipe:
            pipe.write(outcome(folder, tokenizer_json, config))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text or json.dumps({"error": "abort"})


def others(key, value) -> list:
    """Values for a key in place of its own."""
    out = [ABSENT, None]
    if isinstance(value, bool):
        out += [not value, "x"]
    elif isinstance(value, (int, float)):
        out += [value + 1, 0.5 if isinstance(value, float) else 0, "x", -1]
    elif isinstance(value, str):
        out += ["x", "", 5, "</s>"]
    elif isinstance(value, list):
        out += [[], {}, "x"]
    elif isinstance(value, dict):
        out += [{}, [], "x"]
    else:
        out += [True, "x", 0.5, {}]
    return [other for other in out if other != value or type(other) is not type(value)]


EXTRA = {
    ("truncation",): [{"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}],
    ("padding",): [{"strategy": {"Fixed": 30}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>"}],
    ("model", "dropout"): [0.0, 0.5, 1.0],
    ("model", "unk_token"): ["<unk>"],
    ("model", "continuing_subword_prefix"): ["##", ""],
    ("model", "end_of_word_suffix"): ["</w>", ""],
    ("model", "fuse_unk"): [True],
    ("model", "byte_fallback"): [True],
    ("model", "ignore_merges"): [True, False],
    ("normalizer",): [{"type": "Lowercase"}, {"type": "Prepend", "prepend": "x"}, {"type": "Strip", "strip_left": True, "strip_right": False},
                      {"type": "Replace", "pattern": {"Regex": "l*"}, "content": "-"}, {"type": "Replace", "pattern": {"String": ""}, "content": "-"}, {"type": "StripAccents"}],
    ("pre_tokenizer",): [{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}, {"type": "Metaspace", "replacement": "▁", "add_prefix_space": False},
                         {"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated", "invert": False}, {"type": "Digits", "individual_digits": False}, {"type": "UnicodeScripts"}],
    ("post_processor",): [{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}],
    ("decoder",): [{"type": "Fuse"}, {"type": "WordPiece", "prefix": "##", "cleanup": True}, {"type": "Sequence", "decoders": []}, {"type": "ByteFallback"}],
    ("unused",): [{"a": [1]}, 5],
    ("model", "unused"): [{"a": [1]}, 5],
}
CONFIG_KEYS = {
    "bos_token": ["x", "<mid>", None, {"content": "</s>", "lstrip": False, "rstrip": False, "single_word": False, "normalized": False}, ABSENT, "new token"],
    "eos_token": ["x", None, ABSENT, "new token"],
    "unk_token": ["x", None, ABSENT],
    "pad_token": ["<unk>", "x", "new token"],
    "sep_token": ["x"], "cls_token": ["x"], "mask_token": ["x", {"content": "x", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False, "__type": "AddedToken"}],
    "additional_special_tokens": [["x"], ["<|im_start|>"], ["New York"], [], ["brand new"]],
    "extra_special_tokens": [["x"], {"image_token": "x"}, ["brand new"]],
    "added_tokens_decoder": [{"9": {"content": "x", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}},
                             {"5000": {"content": "New", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": False}}],
    "add_bos_token": [True, False], "add_eos_token": [True, False], "add_prefix_space": [True, False],
    "clean_up_tokenization_spaces": [True, False], "split_special_tokens": [True, False], "do_lower_case": [True], "legacy": [True, False],
    "model_max_length": [4], "max_length": [4], "padding_side": ["left", "right"], "truncation_side": ["left"], "stride": [1], "truncation": [True],
    "model_input_names": [["input_ids"]], "tokenizer_class": ["LlamaTokenizerFast", None, 5], "sp_model_kwargs": [{"a": 1}], "use_default_system_prompt": [True],
    "spaces_between_special_tokens": [True, False], "errors": ["replace", "ignore"], "trust_remote_code": [True], "unused": [{"a": 1}],
    "fix_mistral_regex": [True], "strip_accents": [True], "lowercase": [True], "remove_space": [True], "keep_accents": [True],
}


def paths(value, at=(), depth=0):
    """Paths of all keys but the entries of vocabularies, merges and most of the added tokens."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*at, key), inner
            if at == ("model",) and key in ("vocab", "merges"):
                continue
            yield from paths(inner, (*at, key), depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            if at == ("added_tokens",) and index not in (1, 5, 6, 7):
                continue
            yield from paths(inner, (*at, index), depth + 1)


def changed(data: dict, path: tuple, value) -> dict:
    data = copy.deepcopy(data)
    place = data
    for key in path[:-1]:
        place = place[key]
    if isinstance(value, str) and value == ABSENT:
        place.pop(path[-1], None)
    else:
        place[path[-1]] = value
    return data


def main() -> None:
    logging.disable(logging.CRITICAL)
    transformers_logging.set_verbosity_error()
    tiny = json.loads(gzip.decompress((DATA / "tiny.json.gz").read_bytes()))["tokenizers"]
    outcomes: dict[str, int] = {}
    cases = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def record(file: str, tokenizer: str, path, value, result: str) -> None:
            case = {"file": file, "tokenizer": tokenizer, "path": list(path), "outcome": outcomes.setdefault(result, len(outcomes))}
            if not (isinstance(value, str) and value == ABSENT):
                case["value"] = value
            cases.append(case)

        for tokenizer in ("gpt2", "llama3", "punctuation", "llama2", "metaspace", "unigram_bytes", "word_level"):
            data = tiny[tokenizer]["json"]
            record("none", tokenizer, [], ABSENT, isolated(folder, data, CONFIG))
            done = set()
            for path, value in paths(data):
                for other in [*others(path[-1], value), *EXTRA.get(path, [])]:
                    record("tokenizer.json", tokenizer, path, other, isolated(folder, changed(data, path, other), CONFIG))
                done.add(path)
            for path in EXTRA.keys() - done:
                for other in EXTRA[path]:
                    record("tokenizer.json", tokenizer, path, other, isolated(folder, changed(data, path, other), CONFIG))
            if tokenizer not in ("gpt2", "llama2", "llama3", "unigram_bytes"):
                continue
            for key, values in CONFIG_KEYS.items():
                for other in values:
                    record("tokenizer_config.json", tokenizer, [key], other, isolated(folder, data, changed(CONFIG, (key,), other)))
    result = {"texts": TEXTS, "config": CONFIG, "outcomes": [json.loads(text) for text in outcomes], "cases": cases}
    (DATA / "mutations.json.gz").write_bytes(gzip.compress(json.dumps(result, ensure_ascii=False).encode(), 9, mtime=0))
    print(len(cases), "cases,", len(outcomes), "outcomes,", (DATA / "mutations.json.gz").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
