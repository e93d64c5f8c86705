"""Makes adversarial.json: ids of OpenAI's SimpleTokenizer (as open_clip 3.3 has it, with ftfy 6.3.1) of texts that are
hard on regular expressions, sorting and normalisation. Python 3.11, whose str.lower() is that of Unicode 14.

    python test/golden/tokenizer/make_adversarial.py
"""

import hashlib
import html
import json
import pathlib
import random

import ftfy
import open_clip.tokenizer as oc
import regex

assert ftfy.__version__ == "6.3.1", ftfy.__version__


def clean(text):
    # openai/CLIP's simple_tokenizer.py: basic_clean, whitespace_clean, lower.
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return regex.sub(r"\s+", " ", text).strip().lower()


tokenizer = oc.SimpleTokenizer()
# As openai/CLIP has it: special tokens are not looked for, for the goldens are of plain text.
pattern = regex.compile(
    r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""", regex.IGNORECASE
)


def encode(text):
    ids = []
    for token in regex.findall(pattern, clean(text)):
        token = "".join(tokenizer.byte_encoder[b] for b in token.encode("utf-8"))
        ids.extend(tokenizer.encoder[piece] for piece in tokenizer.bpe(token).split(" "))
    return ids


def mojibake(text, levels):
    for _ in range(levels):
        text = text.encode("utf-8").decode("latin-1")
    return text


texts = [
    [["\u0295\u03a3", 1], ["\u0301", 1500]],
    [["a\u03a3", 1], ["\u0301", 1500], ["b", 1]],
    [["\u03a3\u0301", 1200]],
    [["\u03a3", 1500]],
    [["\u0295\u03a3", 800]],
    [["\uff21\uff41\uff11", 700]],
    [["\x01\x02a", 700]],
    [["abcdefgh", 300]],
    [["a", 2500]],
    [["\u00c3\u00a9\u00e2\u20ac\u2122", 500]],
    [[mojibake("\u00e9\u201c", 2), 300]],
    [["x", 1023], [mojibake("\u00e9\u201c", 1), 300]],
    [["\u00c3\u00a9\u00d0\u00a0\u4e2d", 400]],
    [["\u00c3\u00a9", 800], ["\u00c3", 1]],
    [["plain words and \u00c3\u00a9t\u00c3\u00a9 ", 100], ["\u4e2d", 3]],
    [["\u00c3 ", 700]],
    [["\u00c3 quele ", 300]],
    [["\u0080\u009f", 700]],
    [["a", 1], ["\u0301\u0323", 700]],
    [["a", 1], ["\u0301", 700], ["\u0323", 700]],
    [["a", 1], ["\u0301", 2000]],
    [["a\u0302", 1], ["\u0323\u0301\u0327", 600]],
    [["\u0915", 1], ["\u0903", 1500]],
    [["\u0dd9\u0dcf\u0dca", 500]],
    [["\u1100\u1161\u11a8", 600]],
    [["\u11a8", 1500]],
    [["\U0001f600", 800]],
    [["a", 1023], ["\U0001f600", 10]],
    [["&amp;&eacute;", 300]],
    [["&", 1], ["amp;", 600]],
    [["\u00e9&", 1], ["amp;", 600]],
    [["\u4e2d&", 1], ["amp;", 300], ["eacute;\u0301", 1]],
    [["&", 1], ["#38;", 500]],
    [["&AMP;", 1], ["amp;", 100], ["AMP;", 100], ["#x26;", 100], ["lt;", 1]],
    [["&", 1], ["amp;", 40], ["Atilde;&copy; ", 1], ["&amp;", 1], ["amp;", 30], ["Atilde;&copy; ", 1]],
    [["&", 60], ["amp", 1], ["&#112;;", 1], ["amp;", 50]],
    [["&", 40], ["ffilig;", 1], ["lig;", 39]],
    [["&", 1], ["#65286;", 100]],
    [["&#59", 200], ["&semi;", 200]],
    [["<&", 1], ["amp;", 500]],
    [["&", 1500]],
    [["&notitxyzabcdefghijklmnopqrstuvwxyz", 60]],
    [["&#", 1], ["0", 3000], ["65;", 1]],
    [["&#x", 1], ["0", 1500], ["e9", 1], [" &#x", 1], ["1", 1500], [";", 1]],
    [["\x1b[", 1], ["1;", 800], ["m after", 1]],
    [["\x1b[", 1], ["1;", 800], ["~ after", 1]],
    [["\x1b[1;2", 400]],
    [["x", 1], [" ", 2500], ["x", 1]],
    [["\u00a0\u3000", 700], ["x", 1], ["\u2003\u0085", 700]],
    [["a", 1], ["\n", 1500], ["b", 1]],
    [["\r", 1023], ["\r\n", 3], ["a", 1]],
    [["a", 1023], ["\r\n", 3], ["a&#13;&#10;b", 200]],
    [["!?", 700]],
    [["!", 700], ["'s", 400]],
    [["1\u0663\u00bd", 500]],
    [["\u4e2d\u6587", 600]],
    [["\u0436\u0449", 600]],
    [["'ll've", 300]],
    [["\ufb01\u0132\u01c6", 500]],
    [["\u2018\u201c", 700]],
    [["\u0130", 700]],
    [["\u00c0\u0080", 500]],
    [["\u00ed\u00a0\u00bd\u00ed\u00b8\u0080", 200]],
    [["\ufffd", 700]],
    [["\u0413\u045e\u0412\u0402\u0412x a", 200]],
    [["a\u02b0\u03a3\u02b0", 300]],
]
rng = random.Random(17)
pool = [part for parts in texts for part, _ in parts]
for _ in range(60):
    texts.append([[rng.choice(pool), rng.choice([1, 1, 2, 3, 40, 200])] for _ in range(rng.randint(3, 12))])



def case(parts):
    ids = encode("".join(text * times for text, times in parts))
    # Thousands of ids a text: how many, and what they come to.
    return {"parts": parts, "count": len(ids), "sha256": hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()}


cases = [case(parts) for parts in texts]
path = pathlib.Path(__file__).with_name("adversarial.json")
path.write_text(json.dumps({"cases": cases}, separators=(",", ":")) + "\n")
print(len(cases), "cases", path.stat().st_size, "bytes")
