"""Golden token ids. Usage: make.py [--seed N --count N --out FILE --hf MODEL_FOLDER]

openai: the semantics of OpenAI's clip/simple_tokenizer.py (basic_clean with ftfy, whitespace_clean with `regex`,
lower, the pattern, byte-level BPE), written out here over the merges of models/openai-bpe.
huggingface: transformers' CLIPTokenizer (the fast one) on models/icon-clip.
Made with Python 3.11 (Unicode 14), ftfy 6.3.1, regex 2026.9.29, transformers 5.17.0, tokenizers 0.23.2.
"""

import argparse
import functools
import gzip
import html
import html.entities
import json
import pathlib
import random
import sys
import unicodedata

import ftfy
import regex as re

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
assert ftfy.__version__ == "6.3.1"


def bytes_to_unicode():
    bs = [*range(33, 127), *range(161, 173), *range(174, 256)]
    cs = bs[:]
    for b in range(256):
        if b not in bs:
            bs.append(b)
            cs.append(256 + len(cs) - 188)
    return dict(zip(bs, map(chr, cs)))


class OpenAI:
    def __init__(self):
        self.byte_encoder = bytes_to_unicode()
        lines = gzip.decompress((ROOT / "models/openai-bpe/merges.txt.gz").read_bytes()).decode().split("\n")
        merges = [tuple(line.split()) for line in lines if line]
        vocab = list(self.byte_encoder.values())
        vocab = vocab + [v + "</w>" for v in vocab] + ["".join(m) for m in merges]
        vocab += ["<|startoftext|>", "<|endoftext|>"]
        self.encoder = dict(zip(vocab, range(len(vocab))))
        assert len(self.encoder) == 49408
        self.ranks = dict(zip(merges, range(len(merges))))
        self.pat = re.compile(
            r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""",
            re.IGNORECASE,
        )

    @functools.lru_cache(100_000)
    def bpe(self, token):
        if token in ("<|startoftext|>", "<|endoftext|>"):
            return [token]
        word = [*token[:-1], token[-1] + "</w>"]
        while len(word) > 1:
            best = min(zip(word, word[1:]), key=lambda pair: self.ranks.get(pair, 1e9))
            if best not in self.ranks:
                break
            new, i = [], 0
            while i < len(word):
                if i + 1 < len(word) and (word[i], word[i + 1]) == best:
                    new.append(word[i] + word[i + 1])
                    i += 2
                else:
                    new.append(word[i])
                    i += 1
            word = new
        return word

    def clean(self, text):
        text = ftfy.fix_text(text)
        text = html.unescape(html.unescape(text)).strip()
        return re.sub(r"\s+", " ", text).strip().lower()

    def encode(self, text):
        ids = []
        for token in re.findall(self.pat, self.clean(text)):
            token = "".join(self.byte_encoder[b] for b in token.encode("utf-8"))
            ids.extend(self.encoder[piece] for piece in self.bpe(token))
        return ids


# ---------------------------------------------------------------------------------------------- the strings
SCRIPTS = [
    (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x17F), (0x180, 0x24F), (0x250, 0x2FF), (0x300, 0x36F),
    (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x58F), (0x590, 0x5FF), (0x600, 0x6FF), (0x700, 0x7FF), (0x800, 0x8FF),
    (0x900, 0x97F), (0x980, 0xDFF), (0xE00, 0xEFF), (0xF00, 0xFFF), (0x1000, 0x109F), (0x10A0, 0x10FF),
    (0x1100, 0x11FF), (0x1200, 0x137F), (0x13A0, 0x13FF), (0x1400, 0x167F), (0x1680, 0x16FF), (0x1780, 0x18AF),
    (0x1AB0, 0x1AFF), (0x1C80, 0x1CBF), (0x1D00, 0x1DFF), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F),
    (0x2070, 0x209F), (0x20A0, 0x20CF), (0x20D0, 0x20FF), (0x2100, 0x218F), (0x2190, 0x22FF), (0x2300, 0x23FF),
    (0x2460, 0x24FF), (0x2500, 0x25FF), (0x2600, 0x27BF), (0x2C00, 0x2DFF), (0x2E80, 0x2FDF), (0x3000, 0x303F),
    (0x3040, 0x30FF), (0x3100, 0x33FF), (0x4E00, 0x9FFF), (0xA000, 0xA4CF), (0xA640, 0xA7FF), (0xAC00, 0xD7A3),
    (0xE000, 0xE010), (0xF900, 0xFAFF), (0xFB00, 0xFB4F), (0xFB50, 0xFDFF), (0xFE00, 0xFE6F), (0xFF00, 0xFFEF),
    (0xFFF0, 0xFFFD), (0x10000, 0x1007F), (0x10280, 0x103DF), (0x10400, 0x104FF), (0x10C80, 0x10CFF),
    (0x11000, 0x110FF), (0x118A0, 0x118FF), (0x12000, 0x12080), (0x16E40, 0x16E9F), (0x1D100, 0x1D1FF),
    (0x1D400, 0x1D7FF), (0x1E900, 0x1E95F), (0x1F1E6, 0x1F1FF), (0x1F300, 0x1F6FF), (0x1F900, 0x1F9FF),
    (0x20000, 0x20100), (0xE0020, 0xE007F), (0xE0100, 0xE01EF),
]
WORDS = (
    "a photo of the cat dog it's they're we've I'm don't she'll he'd THE Naïve café Straße ΑΣ ΟΔΥΣΣΕΥΣ Σ İstanbul "
    "ŉ ĳ Ǆ naïveté схема Москва привет 東京 日本語 한국어 مرحبا שלום हिन्दी ไทย ñandú Łódź čeština ğ ş ß ſ ﬁ ﬂ ﬃ ﬅ "
    "¿qué? “quoted” ‘single’ „low“ «guillemets» — – … • ™ © ® € £ ¥ ½ ² ³ ° µ × ÷ ＦＵＬＬ　width ﾊﾝｶｸ ｶﾞ "
    "à l'école voilà là-bas São Tomé ÅÄÖ O'Neill it’s 'ſ 'S 'LL 'Ve 12345 3.14 1,000 #tag @user user@example.com "
    "http://x.y/z?a=b&c=d &c &copy2020 100% C++ <b>bold</b> <br/> :-) ¯\\_(ツ)_/¯ ಠ_ಠ <|endoftext|> <|startoftext|> "
    "<|ENDOFTEXT|> <|ſtartoftext|> <|endoftext <start_of_text> 👍🏽 👨‍👩‍👧 🇩🇪 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️ ✔ ★ a\u0345 \u0345 e\u0301 A\u030a \u1e9b\u0323"
).split(" ")
CODECS = [
    "latin-1", "cp1252", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250", "sloppy-windows-1253",
    "sloppy-windows-1254", "sloppy-windows-1257", "iso-8859-2", "macroman", "cp437", "cp1252", "latin-1",
]
NAMES = sorted(html.entities.html5)
NAMES14 = [chr(c) for lo, hi in SCRIPTS for c in range(lo, hi + 1) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]


def char(r):
    lo, hi = r.choice(SCRIPTS)
    for _ in range(20):
        c = chr(r.randint(lo, hi))
        if unicodedata.category(c) not in ("Cn", "Cs"):
            return c
    return "x"


def word(r):
    kind = r.random()
    if kind < 0.6:
        return r.choice(WORDS)
    if kind < 0.85:
        lo, hi = r.choice(SCRIPTS)
        return "".join(c for c in (chr(r.randint(lo, hi)) for _ in range(r.randint(1, 8))) if unicodedata.category(c) not in ("Cn", "Cs"))
    return "".join(char(r) for _ in range(r.randint(1, 6)))


def phrase(r, most=7):
    return r.choice([" ", " ", " ", "", "  ", "\u00a0"]).join(word(r) for _ in range(r.randint(1, most)))


def mojibake(r, text):
    codec = r.choice(CODECS)
    data = text.encode("utf-8")
    kind = r.random()
    if kind < 0.1:
        data = data.replace(b"\xa0", b" ")
    elif kind < 0.15:
        data = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass").encode("utf-8")
        data = b"".join(cesu(c) for c in text)
    elif kind < 0.25 and len(data) > 2:
        i = r.randrange(len(data))
        data = data[:i] + r.choice([b"\x1a", b"?", b"\xc0\x80", b"\xed", b"\xa0", b""]) + data[i + 1 :]
    out = data.decode(codec, r.choice(["replace", "replace", "ignore"]))
    if r.random() < 0.1:
        out = out.replace("\x1a", "\ufffd")
    if r.random() < 0.1:
        out = out.replace("\u00a0", " ")
    if r.random() < 0.07:
        out = out.lower() if r.random() < 0.5 else out.upper()
    return out


def cesu(c):
    n = ord(c)
    if n == 0:
        return b"\xc0\x80"
    if n < 0x10000:
        return c.encode("utf-8", "surrogatepass")
    n -= 0x10000
    return b"".join(chr(s).encode("utf-8", "surrogatepass") for s in (0xD800 + (n >> 10), 0xDC00 + (n & 0x3FF)))


def entity(r):
    kind = r.random()
    if kind < 0.3:
        out = "&" + r.choice(NAMES)
    elif kind < 0.4:
        out = "&" + r.choice(NAMES).upper()
    elif kind < 0.5:
        out = "&" + r.choice(NAMES).rstrip(";") + r.choice(["", "x", "é", " ", ";;", "𝒳", "=1"])
    elif kind < 0.65:
        out = "&#%d%s" % (r.choice([r.randrange(0x250), r.randrange(0x80, 0xA0), r.randrange(0x110000), 10**r.randint(4, 20)]), r.choice([";", "", "a;"]))
    elif kind < 0.8:
        out = "&#%s%x%s" % (r.choice("xX"), r.choice([r.randrange(0x250), r.randrange(0xD700, 0xE000), r.randrange(0x120000)]), r.choice([";", "", "g;"]))
    else:
        out = r.choice(["&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&nbsp;", "&amp", "&lt", "&NTILDE;", "&SZLIG;", "&hellip;", "&#;", "&#x;", "&;", "& ", "&NotEqualTilde;"])
    for _ in range(r.choice([0, 0, 0, 0, 1, 1, 2, 3])):
        out = out.replace("&", "&amp;")
    return out


def assigned14(text):
    return all(unicodedata.category(c) not in ("Cn", "Cs") for c in text)


def make_string(r):
    kind = r.random()
    if kind < 0.18:
        out = phrase(r)
    elif kind < 0.42:
        out = mojibake(r, phrase(r, 4))
        if r.random() < 0.35:
            out = mojibake(r, out)
        if r.random() < 0.3:
            out = phrase(r, 2) + r.choice(["", " "]) + out
        if r.random() < 0.3:
            out = out + r.choice(["", " "]) + phrase(r, 2)
    elif kind < 0.58:
        out = r.choice(["", " "]).join(r.choice([entity, word])(r) for _ in range(r.randint(1, 7)))
        if r.random() < 0.25:
            out = mojibake(r, out)
    elif kind < 0.66:
        out = "".join(r.choice([char(r), chr(r.randrange(0xA0)), r.choice("\x1b\x85\ufeff\u2028\u2029\r\n\t\x0b\x0c\u200b\u200d\u00ad\x1c\x1f\u180e\ufffc")]) for _ in range(r.randint(1, 20)))
    elif kind < 0.72:
        out = "".join(r.choice([word(r), "\x1b[%d;%dm" % (r.randrange(9), r.randrange(99)), "\x1b[m", "\x1b[\u0663m", "\x1b[K", "\x1b"]) for _ in range(r.randint(1, 6)))
    elif kind < 0.78:
        out = r.choice(["\n", "\r\n", "\r", "\u2028", "\u0085", "\n\n"]).join(r.choice([phrase, entity, lambda q: "a<b " + entity(q), lambda q: mojibake(q, phrase(q, 3))])(r) for _ in range(r.randint(2, 5)))
    elif kind < 0.84:
        out = "".join(c + "".join(chr(r.randint(0x300, 0x36F)) for _ in range(r.randrange(4))) for c in phrase(r, 3))
    elif kind < 0.86:
        piece = word(r) or "x"
        out = (piece * r.randint(20, 200))[: r.choice([100, 400, 1500])]
    elif kind < 0.93:
        # Random characters of the mojibake alphabet: the badness rules from all sides.
        table = bytes(range(0x80, 0x100)).decode(r.choice(CODECS[2:11])) + "aeZ \u00a0\ufffd?1"
        out = "".join(r.choice(table) for _ in range(r.randint(1, 12)))
        if r.random() < 0.4:
            out = phrase(r, 2) + " " + out
    else:
        out = "".join(r.choice(NAMES14) for _ in range(r.randint(1, 15)))
    return out


def strings(seed, count):
    r = random.Random(seed)
    seen = set()
    while len(seen) < count:
        text = make_string(r)
        # Python refuses numbers of more than 4300 digits; code points are those of Unicode 14.
        if text in seen or not assigned14(text) or not assigned14(ftfy.fix_text(html.unescape(html.unescape(ftfy.fix_text(text))))):
            continue
        seen.add(text)
        yield text


def write(path, rows, meta):
    data = json.dumps({"meta": meta, "cases": rows}, ensure_ascii=True, separators=(",", ":")).encode()
    path.write_bytes(gzip.compress(data, 9, mtime=0))
    print(path, path.stat().st_size, "bytes,", len(rows), "cases")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seed", type=int, default=20261123)
    p.add_argument("--count", type=int, default=5200)
    p.add_argument("--out", type=pathlib.Path, default=HERE)
    p.add_argument("--what", default="openai,huggingface")
    a = p.parse_args()
    texts = list(strings(a.seed, a.count))
    meta = {"python": sys.version.split()[0], "unicode": unicodedata.unidata_version, "ftfy": ftfy.__version__, "regex": re.__version__, "seed": a.seed}
    if "openai" in a.what:
        tokenizer = OpenAI()
        assert tokenizer.encode("Hello World!") == [3306, 1002, 256]
        write(a.out / "openai.json.gz", [[t, tokenizer.encode(t)] for t in texts], meta)
    if "huggingface" in a.what:
        import tokenizers
        import transformers

        hf = transformers.CLIPTokenizer.from_pretrained(ROOT / "models/icon-clip")
        meta = {**meta, "transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
        # The tokenizers library composes by an older Unicode than 14: left out where its NFC is not Python's.
        nfc = tokenizers.normalizers.NFC()
        some = texts[: max(1500, a.count // 3)]
        usual = [t for t in some if nfc.normalize_str(t) == unicodedata.normalize("NFC", t)]
        print(len(some) - len(usual), "left out for the older NFC")
        some = usual
        write(a.out / "huggingface.json.gz", [[t, hf(t, add_special_tokens=True)["input_ids"]] for t in some], meta)


if __name__ == "__main__":
    main()
