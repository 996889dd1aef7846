"""Goldens of the chat template tests, by transformers and jinja2 as transformers sets it up.

    python make_templates.py --axolotl axolotl-0.19.0-py3-none-any.whl --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf

The wheel (PyPI) holds the templates of 36 model families; they are read from it, here and in the tests, and are not copied.
Writes data/templates/:
    conversations.json   chats of every kind, with tools, documents and variables
    families.json        of each template and chat: length in UTF-16 units and SHA-256 of what transformers renders, or null for an error
    snippets.json        small templates and what jinja2 renders, or null for an error
    values.json.gz       random values through tojson, repr, str's methods and slices, from a fixed seed
"""

import argparse
import gzip
import hashlib
import json
import random
import zipfile
from pathlib import Path

import gguf
from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

from template_conversations import CONVERSATIONS, NAMED, ROLES
from template_snippets import SNIPPETS, VARIABLES

OUT = Path(__file__).parent / "data" / "templates"
FOLDER = "axolotl/utils/chat_templates/templates/"


def units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def digest(text: str) -> str:
    return f"{units(text)} {hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def family_templates(wheel: str, smollm2: str) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(n for n in archive.namelist() if n.startswith(FOLDER) and n.endswith(".jinja"))
        templates = {n[len(FOLDER) : -len(".jinja")]: archive.read(n).decode("utf-8") for n in names}
    templates["smollm2"] = gguf.GGUFReader(smollm2).fields["tokenizer.chat_template"].contents()
    return {**templates, **{f"named/{name}": source for name, source in NAMED.items()}}


def render(source: str, chat: dict) -> str | None:
    try:
        [text], _ = render_jinja_template(
            conversations=[chat["messages"]],
            tools=chat.get("tools"),
            documents=chat.get("documents"),
            chat_template=source,
            add_generation_prompt=chat.get("add_generation_prompt", True),
            **{**ROLES, **chat.get("variables", {})},
        )
        return text
    except Exception:
        return None


def families(wheel: str, smollm2: str) -> dict:
    return {
        name: {chat: None if (text := render(source, given)) is None else digest(text) for chat, given in CONVERSATIONS.items()}
        for name, source in family_templates(wheel, smollm2).items()
    }


def snippets() -> list:
    cases = []
    for source in SNIPPETS:
        try:
            text = _compile_jinja_template(source).render(**VARIABLES)
        except Exception:
            text = None
        if text is not None and " at 0x" in text:
            text = None  # an address, another one each time: to be refused
        cases.append([source, text])
    return cases


# --- random values ----------------------------------------------------------------------------------------------------------------

PIECES = ["a", "B", "zz", " ", "  ", "\n", "\t", "\u00a0", "\u0085", "\u001f", "\ufeff", "\u2028", "'", '"', "\\", "é", "ß", "日本", "😀", "👨‍👩‍👧", "<|im_end|>",
          "1", "-", "0", "_", ".", ",", "\x00", "\x7f", "e\u0301", "ΑΣ", "ǆ", "\u00ad", "\ue000", "%", "{", "}"]


def random_text(rng: random.Random, most: int = 8) -> str:
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(most)))


def random_value(rng: random.Random, depth: int = 0):
    kind = rng.randrange(9 if depth < 3 else 6)
    if kind == 0:
        return random_text(rng)
    if kind == 1:
        return rng.choice([None, True, False])
    if kind == 2:
        return rng.randrange(-(10**rng.randrange(1, 15)), 10 ** rng.randrange(1, 15))
    if kind == 3:
        # Written down as JSON, a whole float would come back as an integer.
        value = rng.choice([rng.random(), rng.uniform(-1e6, 1e6), rng.random() * 10.0 ** rng.randrange(-300, 0)])
        return value if value != int(value) else 0.5
    if kind < 6:
        return random_text(rng, 4)
    if kind == 6:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {"k" + random_text(rng, 4): random_value(rng, depth + 1) for _ in range(rng.randrange(4))}


def bound(rng: random.Random) -> str:
    return rng.choice(["", "", *[str(i) for i in range(-6, 7)]])


def random_program(rng: random.Random) -> str:
    quoted = lambda: json.dumps(random_text(rng, 3), ensure_ascii=True).replace("\\u", "\\u") if rng.random() < 0.7 else '"' + rng.choice(["a", " ", "\\n", ""]) + '"'
    count = rng.randrange(-1, 4)
    return rng.choice([
        "x | tojson", f"x | tojson(indent={rng.randrange(5)})", "x | tojson(sort_keys=true)", "x | tojson(ensure_ascii=true)", "x | tojson(separators=(',', ':'))",
        "x", "x | string", "[x, x]", "'%s|%r' % (x, x)", "'{}|{!r}'.format(x, x)", "x | length", "x | list", "x | upper", "x | lower", "x | trim", "x | title",
        "x == y", "x < y", "x in y", "x ~ y", "x + y", "x * 2", "x and y", "not x",
        f"s.strip({quoted()})", "s.strip()", f"s.lstrip({quoted()})", f"s.rstrip({quoted()})", "s.split()", f"s.split({quoted()})", f"s.split({quoted()}, {count})", f"s.split(none, {count})",
        f"s.rsplit({quoted()}, {count})", f"s.rsplit(none, {count})", "s.splitlines()", "s.splitlines(true)", f"s.replace({quoted()}, {quoted()})", f"s.replace({quoted()}, 'X', {count})",
        f"s.partition({quoted()})", f"s.rpartition({quoted()})", f"s.find({quoted()})", f"s.rfind({quoted()})", f"s.count({quoted()})", f"s.startswith({quoted()})", f"s.endswith(({quoted()}, 'a'))",
        f"s.center({rng.randrange(20)}, '*')", f"s.ljust({rng.randrange(20)})", f"s.rjust({rng.randrange(20)}, '.')", f"s.zfill({rng.randrange(12)})", "s.capitalize()", "s.title()", "s.swapcase()",
        "s.isalpha()", "s.isalnum()", "s.isdigit()", "s.isspace()", "s.islower()", "s.isupper()", "s.istitle()", "s.isnumeric()", "s.isprintable()", "s.isidentifier()", "s | reverse", "s | first", "s | last",
        f"s[{bound(rng)}:{bound(rng)}:{rng.choice(['', '1', '2', '-1', '-2', '3'])}]", f"s[{rng.randrange(-6, 6)}]", f"(s | list)[{bound(rng)}:{bound(rng)}:{rng.choice(['', '-1', '2'])}]",
        "s.expandtabs(4)", "s | indent(2)", "s | indent(3, true, true)", f"s | truncate({rng.randrange(4, 12)}, leeway=0)", f"s | truncate({rng.randrange(4, 12)}, true)", "s | wordcount", "s | int", "s | float",
        "s | replace('a', 'bb')", "s | urlencode", "s | escape", "s.join(['1', s, '2'])", "s.removeprefix('a')", "s.removesuffix('a')", "'%5.2s|%-4s|' % (s, s)", "'{:>6.3}|{:*^9}'.format(s, s)",
        f"n | round({rng.randrange(5)})", "n", "n | int", "n // 3", "n % 7", "n / 7", "-n", "n ** 2", "'%.3f|%g|%e|%d' % (n, n, n, n)", "'{:.2f}|{:e}|{:g}|{:,}'.format(n, n, n, n)", "'%05d|%+d|%x' % (i, i, i)",
        "'{:05d}|{:+}|{:x}|{:,}'.format(i, i, i, i)", "i // 7", "i % -7", "i / 8", "i * 3 - 1", "n | abs", "n > i", "n | string",
    ])


def values() -> list:
    rng = random.Random(20250615)
    cases = []
    while len(cases) < 4000:
        given = {"x": random_value(rng), "y": random_value(rng), "s": random_text(rng, 10), "n": rng.uniform(-100, 100) * 10.0 ** rng.randrange(-6, 12) + 0.1, "i": rng.randrange(-10000, 10000)}
        if given["n"] == int(given["n"]):
            continue
        program = "{{ " + random_program(rng) + " }}"
        try:
            text = _compile_jinja_template(program).render(**given)
        except Exception:
            text = None
        if text is not None and (" at 0x" in text or len(text) > 400):
            continue
        used = {name: value for name, value in given.items() if name in program}
        cases.append([program, used, text])
    return cases


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--axolotl", required=True)
    parser.add_argument("--smollm2", required=True)
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    write = lambda name, value: (OUT / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    write("conversations.json", {"roles": ROLES, "named": NAMED, "conversations": CONVERSATIONS})
    write("families.json", families(args.axolotl, args.smollm2))
    write("snippets.json", {"variables": VARIABLES, "snippets": snippets()})
    packed = json.dumps(values(), ensure_ascii=True, separators=(",", ":")).encode("utf-8")
    (OUT / "values.json.gz").write_bytes(gzip.compress(packed, 9, mtime=0))


main()
