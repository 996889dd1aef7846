"""Goldens of the pattern tests: what the engines themselves find whose regular expressions lib/patterns runs.

    python make_patterns.py

Writes data/patterns/:
    oniguruma.json.gz   Hugging Face's `tokenizers` (Oniguruma): the split patterns of model families over texts in many scripts, generated
                        patterns over short texts, the members of character classes
    python.json.gz      Python's `re`, as PEFT calls it: generated patterns over names of modules, and those of PEFT's documentation

Of matches a digest is kept: the first 8 digits of the SHA-1 of a list of UTF-16 offsets.
"""

import gzip
import hashlib
import json
import random
import re
import warnings
from pathlib import Path

from tokenizers import Regex, normalizers, pre_tokenizers

OUT = Path(__file__).parent / "data" / "patterns"

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
END = r"\s*[\r\n]+|\s+(?!\S)|\s+"
HAN = r"[\p{Han}]+"
FAMILIES = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "gpt4 (cl100k)": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    "gpt4 (newer cl100k)": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "gpt4o (o200k)": rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + END,
    "llama3": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + END,
    "llama4": rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + END,
    "qwen2": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + END,
    "qwen3.5": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + END,
    "tekken": rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|" + END,
    "deepseek v3, numbers": r"\p{N}{1,3}",
    "deepseek v3, cjk": r"[一-龥\u3040-ゟ゠-ヿ]+",
    "deepseek v3, words": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|" + END,
    "deepseek llm, newlines": r"[\r\n]",
    "deepseek llm, letters": r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕ]+",
    "deepseek llm, signs": r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    "deepseek llm, space at the end": r"\s+$",
    "deepseek llm, cjk": r"[一-龥ࠀ-一가-퟿]+",
    "deepseek coder, numbers": r"\p{N}",
    "deepseek coder, letters": r"\s?\p{L}+",
    "deepseek coder, signs": r"\s?\p{P}+",
    "falcon, digits": r"[0-9][0-9][0-9]",
    "starcoder, digits": r"\p{N}",
    "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "phi, spaces": r"\s{2,}",
    "gemma, space": " ",
    "mpt": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "glm4": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + END,
    "command-r, digits": r"\p{Nd}",
    "kimi": HAN + r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
    + CONTRACTIONS + r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
    + CONTRACTIONS + r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + END,
    "chameleon, digits": r"\p{N}{1,1}",
    "olmo": r"'s|'t|'re|'ve|'m|'ll|'d| ?[[:alpha:]]+| ?[[:digit:]]+| ?[^\s[:alpha:][:digit:]]+|\s+(?!\S)|\s+",
    "superbpe, digits from the right": r"(?=(\d{3})+(?!\d))",
    "digits in threes from the right": r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
    "smollm3": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + END,
    "exaone": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|" + END,
    "minicpm": r"\p{N}|[^\S\r\n]+|[\r\n]+|[\p{L}\p{M}]+|[^\s\p{L}\p{M}\p{N}]+",
    "viking, poro": r" ?[^(\s|.,!?…。，、।۔،)]+",
    "jais": r"(?<=\p{L})(?=\p{N})|(?<=\p{N})(?=\p{L})",
    "clip": r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    "whisper": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "nllb, spaces": r" {2,}",
    "deberta, spaces": r"\s{2,}|[\n\r\t]",
    "seamless, marks": r"^▁+$",
    "camel case": r"(?<=[a-z])(?=[A-Z])|_",
    "indentation": r"(?m:^[ \t]+)|\n+",
    "digit": r"\p{N}",
    "digits": r"\p{N}+",
    "space": r"\s",
    "spaces": r"\s+",
    "words": r"\w+|[^\w\s]+",
    "line breaks": r"\R",
    "bytes": r"<0x\h{2}>|.",
}
SAMPLES = [
    "The quick brown fox isn't lazy; it's JUMPING, they'LL see! We'VE ſaid 'ſo, I'M he'D",
    "tokenIds = max_length[0x1F] + 1_000e-9 // HTTPServer2 ?? __init__\n\n\tif (a != NULL && b >= 12345678) {\r\n\t\treturn -1;\r\n}  \n",
    "Größe naïve café cafe\u0301 Ærø İstanbul ıssız STRASSE straße ŉ ﬁne ﬆop",
    "Привет, как дела? 123 рубля — 45,6%  ЁЖИК",
    "Ελληνικά κείμενα: ΌΣΟ ὀξύς, σοφός",
    "日本語のテキスト、カタカナとひらがな。漢字１２３　全角",
    "我今天花了3.50元买苹果，他说：“好的！”",
    "안녕하세요 세계! 오늘은 2024년입니다.",
    "مرحبا بالعالم ٣٫١٤ كيف الحال؟ שלום עולם 12",
    "नमस्ते दुनिया १२३ क्षत्रिय। ไทยภาษา ๑๒๓ ສະບາຍດີ தமிழ் မြန်မာ",
    "👨‍👩‍👧‍👦 👩🏽‍💻 ❤️‍🔥 #️⃣ 🏴\U000e0067\U000e0062\U000e007f ☺︎ 𝒜𝓑 𝟙𝟚 😀😀",
    "a \u00a0b\u0085c\u2028d\u3000e\ufefff\u200bg\u180eh\u001ci\u000bj\u000ck",
    "   leading  and   trailing   \n \n  \t\n",
    "\r\n\r\n a\r b\n\rc \r\n",
    "1234567 12 1 123456 Ⅷ ½ ² ③ ₉ 0١٢٣",
    "!!!??...---___***\"'`´‘’“”«»(){}[]<>/\\|@#$%^&*+=~§±×÷€¥",
    "don't DON'T 's'S'ſ'll'LL'Ve're'RE'd'D 'tis 'K",
    "<0x0A><0xff>▁▁the▁ ▁",
    "camelCaseString and snake_case_2 and kebab-case MiXeD99case",
    "ǅ ǆ Ǆ ﬀ ʰ ª º ⅰ Ⓐ 〇 ー ゝ ﾊﾟ 々 ㊙",
]
PIECES = [*"aabcsStkxyzAZ0129 ", " ", "  ", "\n", "\r\n", "\t", "'", "'s", ".", ",", "-", "_", "é", "e\u0301", "ß", "ſ", "K", "ñ", "Ж", "λ", "ς", "日", "本", "か",
          "ナ", "한", "ع", "א", "क", "ि", "ไ", "😀", "👍🏽", "\u200d", "\ufe0f", "\u0085", "\u00a0", "\ufeff", "\u3000", "\u2028", "٣", "½", "²", "Ⅷ", "𝒜", "€", "…", "▁", "/"]

ATOMS = [*"abcs1 ", "ß", "é", r"\n", "'", ".", r"\w", r"\d", r"\s", r"\S", r"\W", r"\h", r"\p{L}", r"\p{N}", r"\p{Lu}", r"\P{L}", r"\p{^N}", "[ab]", "[^a]",
         "[a-c]", r"[^\s\p{L}]", "[a-z&&[^b]]", "[[:alpha:]]", r"[\p{L}\p{M}]", r"\b", r"\B", "^", "$", r"\A", r"\z", r"\Z", r"\R", r"\N", r"\O", r"\G",
         r"[^\r\n\p{L}\p{N}]", r"[\r\n]", "[[a-c][xyz]1]", "[^a&&b]", r"\p{Han}", r"\x{1F600}", "😀", "ſ", "k", "[s-t]", "[ß]"]
QUANTIFIERS = ["*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,2}", "{,2}", "{2,}", "{1,3}?", "{2}?", "{2,1}"]
FLAGS = ["(?i)", "(?m:.)", "(?x: a b )"]
PYTHON_ATOMS = ["a", "b", "q_proj", "layers", r"\.", ".", r"\d", r"\d+", "[0-9]", "[a-z_]", "[^.]", r"\w", r"\W", r"\s", "^", "$", r"\A", r"\Z", r"\b", r"\B", "[abq]",
                "model", "self_attn", "(q|v)", "(?:k|o)_proj", "mlp", "-", "_", r"\x61", r"[\d_]", r"[^\w]", r"\n", "1", "2", "[a-]", "[]a]", "[[a]", r"\u0061", r"\141"]
PYTHON_QUANTIFIERS = ["*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,2}", "{,2}", "{2,}", "{1,3}?", "{2}?", "{1,2}+", "{,}"]
PYTHON_FLAGS = ["(?i:", "(?s:", "(?-i:", "(?m:", "(?x: ", "(?a:", "(?im-s:"]
PYTHON_HEADS = ["(?i)", "(?s)", "(?x) ", "(?#c)", "(?i)(?m)"]
PARTS = ["model", "layers", "0", "1", "12", "self_attn", "mlp", "q_proj", "v_proj", "a", "b", "aa", "ab", "_", "\n", "lm_head", "A", "Q_PROJ", "k", "-"]
DOCUMENTED = [
    r".*decoder.*(SelfAttention|EncDecAttention).*(q|v)$", r".*\.(q|v)_proj", r"(.*\.)?(q_proj|v_proj)", r"model\.layers\.(0|1|12)\..*", r".*\.mlp\..*",
    r"(?!.*lm_head).*proj", r"^model.layers.\d+.self_attn.(q|k|v|o)_proj$", "q_proj", "layers.0.self_attn.q_proj", "^model.decoder.layers.0.encoder_attn.k_proj",
    r"(?i).*Q_PROJ", r".*layers\.([0-9]|1[0-2])\.(self_attn|mlp)\.\w+_proj", "a)|(b", "(", r"\d++", "(?x) q _ proj", r"(a)\1", "(?P<n>a)(?P=n)", "(a)?(?(1)b|c)", "a{2,1}",
]
NAMES = ["model.layers.0.self_attn.q_proj", "model.layers.12.mlp.down_proj", "lm_head", "model.embed_tokens", "model.decoder.layers.0.encoder_attn.k_proj", "q_proj", "a", "b", ""]
CLASSES = [*(rf"\{c}" for c in "wWsSdDhH"), *(rf"[\{c}]" for c in "wWsSdDhH"), *(f"[[:{name}:]]" for name in
           "alnum alpha ascii blank cntrl digit graph lower print punct space upper xdigit word".split()),
           *(rf"\p{{{name}}}" for name in "L Lu Ll Lt Lm Lo M N Nd Nl No P S Z C Cc Cf Han Hiragana Katakana Latin Greek Alphabetic Punct Word Alnum Graph Print XDigit PosixPunct White_Space letter".split()),
           *(f"(?i:{c})" for c in ["k", "s", "i", "σ", "µ", "ǆ", "é", "ß"]), *(f"(?i:[{c}])" for c in ["k", "s-t", "i", "ß", r"\p{Lu}", "a-z", "^a-z"]), r"[a-z&&[^aeiou]]", r"[^a-w&&\p{L}]"]
RANGES = [(0, 0x24F), (0x370, 0x3FF), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x2120, 0x2130), (0x3000, 0x30FF), (0xFB00, 0xFB06), (0xFEFF, 0xFEFF), (0xFF00, 0xFF60)]


def digest(values: list[int]) -> str:
    return hashlib.sha1(",".join(map(str, values)).encode()).hexdigest()[:8]


def units(text: str) -> list[int]:
    """UTF-16 offset of each code point, and of the end."""
    out = [0]
    for character in text:
        out.append(out[-1] + (2 if ord(character) > 0xFFFF else 1))
    return out


def pieces(regex: Regex, text: str) -> list[int]:
    at = units(text)
    return [at[offset] for _, span in pre_tokenizers.Split(regex, "isolated").pre_tokenize_str(text) for offset in span]


def replaced(regex: Regex, text: str) -> list[int]:
    """The text with each match replaced by U+0001, as UTF-16 units: empty matches show, too."""
    return list(memoryview(normalizers.Replace(regex, "\x01").normalize_str(text).encode("utf-16-le")).cast("H"))


def generate(rng: random.Random, depth: int, python: bool) -> str:
    atoms, quantifiers = (PYTHON_ATOMS, PYTHON_QUANTIFIERS) if python else (ATOMS, QUANTIFIERS)
    inner = lambda less=1: generate(rng, depth - less, python)  # noqa: E731
    r = rng.random()
    if depth <= 0 or r < 0.35:
        return rng.choice(atoms)
    if r < 0.58:
        return inner() + inner()
    if r < 0.69:
        return "(" + rng.choice(["", "?:", "?:", "?>", *(["?P<n>"] if python else [])]) + inner() + ")"
    if r < 0.79:
        return "(?:" + inner() + "|" + inner() + rng.choice(["", "|"]) + ")"
    if r < 0.93:
        return (f"(?:{inner()})" if rng.random() < 0.5 else rng.choice(atoms)) + rng.choice(quantifiers)
    if r < 0.97:
        return rng.choice(["(?=", "(?!", "(?<=", "(?<!"]) + inner(2) + ")"
    if r < 0.99:
        return (rng.choice(PYTHON_FLAGS) if python else "(?i:") + inner() + ")"
    return rng.choice(PYTHON_HEADS if python else FLAGS) + inner()


def oniguruma() -> dict:
    rng = random.Random(20250101)
    texts = SAMPLES + ["".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 80))) for _ in range(80)]
    families = []
    for name, pattern in FAMILIES.items():
        regex = Regex(pattern)
        families.append([name, pattern, "".join(digest(pieces(regex, text))[:6] for text in texts)])
    cases = []
    while len(cases) < 2500:
        pattern, text = generate(rng, 4, False), "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 14)))
        try:
            regex = Regex(pattern)
        except Exception:
            continue
        cases.append([pattern, text, digest(replaced(regex, text) + pieces(regex, text))])
    characters = [chr(code) for low, high in RANGES for code in range(low, high + 1)]
    classes = []
    for name in CLASSES:
        left = set(normalizers.Replace(Regex(rf"\A{name}\z"), "").normalize_str(character) and character for character in characters)
        classes.append([name, digest([ord(character) for character in characters if character not in left])])
    return {"texts": texts, "families": families, "cases": cases, "ranges": RANGES, "classes": classes}


def outcome(run) -> int:
    """1 for a match, 0 for none, -1 for no pattern."""
    try:
        return int(run() is not None)
    except (re.error, OverflowError):
        return -1


def python() -> dict:
    rng = random.Random(20250102)
    cases = []

    def add(pattern: str, name: str) -> None:
        full = outcome(lambda: re.fullmatch(pattern, name))
        suffix = outcome(lambda: re.match(rf"(.*\.)?({pattern})$", name))
        cases.append([pattern, name, full, suffix])

    for pattern in DOCUMENTED:
        for name in NAMES:
            add(pattern, name)
    while len(cases) < 5000:
        pattern = generate(rng, 4, True)
        if rng.random() < 0.15 and pattern:
            at, character = rng.randrange(len(pattern)), rng.choice("()[]{}*+?|\\.^$-,:<>=!#P1 ")
            pattern = rng.choice([pattern[:at] + pattern[at + 1 :], pattern[:at] + character + pattern[at:], pattern[:at] + character + pattern[at + 1 :]])
        add(pattern, rng.choice([".", ".", " "]).join(rng.choice(PARTS) for _ in range(rng.randrange(0, 6))))
    return {"cases": cases}


def write(name: str, content: dict) -> None:
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    path = OUT / f"{name}.json.gz"
    path.write_bytes(gzip.compress(data, mtime=0))
    print(path, len(data), "bytes,", path.stat().st_size, "compressed")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    OUT.mkdir(parents=True, exist_ok=True)
    write("oniguruma", oniguruma())
    write("python", python())
