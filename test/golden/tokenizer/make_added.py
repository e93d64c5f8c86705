"""Added tokens of every kind in a tiny vocabulary, and what transformers makes of thousands of texts with them.

Made with transformers 5.17.0, tokenizers as it came with it: python make_added.py
"""
import gzip
import json
import os
import random
import shutil
import tempfile

import transformers
from transformers import AddedToken, CLIPTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
TINY = os.path.join(HERE, "..", "checkpoint", "hf-4")
OUT = os.path.join(HERE, "added")
os.makedirs(OUT, exist_ok=True)

# Flags of each kind: plain, single words, spaces taken along, as it came, special; some spelt alike or within each other.
TOKENS = [
    "<cat-toy>",
    "<cat-toy>_1",
    AddedToken("Foo", single_word=True),
    AddedToken("<raw>", normalized=False),
    AddedToken("Raw Word", normalized=False, single_word=True),
    AddedToken("bar baz", lstrip=True, rstrip=True),
    AddedToken("<l>", lstrip=True),
    AddedToken("<R>", rstrip=True, normalized=False),
    "Straße",
    "e\u0301t\u00e9",
    "<CAT>",
    "<cat>",
    "\U0001f600!",
    AddedToken("_w_", single_word=True, lstrip=True),
    "aa",
    "aaa",
]
SPECIAL = ["<S>", AddedToken("[M]", lstrip=True, special=True), AddedToken("[n]", normalized=True, special=True)]
FRAGMENTS = [
    *(str(t) for t in TOKENS),
    *(str(t) for t in SPECIAL),
    *(str(t).lower() for t in TOKENS),
    *(str(t).upper() for t in TOKENS),
    *["a", "b", "photo of", "of a", "cat", "foo", "food", "_", "1", "é", "e\u0301", "ß", "\u0301", "\u200d", "İ", "Σ", "中", "\U0001f600", "!", "'s", "<", ">", "<|", "|>"],
    *[" ", "  ", "\t", "\n", "\u00a0", "\u3000", "\u0085", "."],
    *["<|startoftext|>", "<|endoftext|>", "<|STARTOFTEXT|>"],
]


def texts(seed, count):
    rng = random.Random(seed)
    return ["".join(rng.choice(FRAGMENTS) + rng.choice(["", "", " "]) for _ in range(rng.randint(1, 12))) for _ in range(count)]


def write(name, value):
    with gzip.GzipFile(os.path.join(OUT, name), "wb", mtime=0) as out:
        out.write(json.dumps(value, ensure_ascii=True).encode())


tokenizer = CLIPTokenizer(vocab=f"{TINY}/vocab.json", merges=f"{TINY}/merges.txt")
tokenizer.add_tokens(TOKENS)
tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
with tempfile.TemporaryDirectory() as folder:
    tokenizer.save_pretrained(folder)
    with gzip.GzipFile(os.path.join(OUT, "tokenizer.json.gz"), "wb", mtime=0) as out:
        out.write(open(f"{folder}/tokenizer.json", "rb").read())
    tokenizer = CLIPTokenizer.from_pretrained(folder)
cases = [[text, tokenizer(text).input_ids] for text in texts(1, 3000)]
write("expected.json.gz", {"madeBy": f"transformers {transformers.__version__}", "cases": cases})

# What older versions saved beside vocab.json and merges.txt: no flags.
plain = {"<cat-toy>": 524, "<cat-toy>_1": 525, "Foo": 526, "bar baz": 527}
with tempfile.TemporaryDirectory() as folder:
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(f"{TINY}/{name}", folder)
    json.dump(plain, open(f"{folder}/added_tokens.json", "w"))
    json.dump({"tokenizer_class": "CLIPTokenizer"}, open(f"{folder}/tokenizer_config.json", "w"))
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    assert tokenizer.convert_tokens_to_ids("<cat-toy>") == 524, tokenizer.added_tokens_decoder
    print(tokenizer.added_tokens_decoder)
    cases = [[text, tokenizer(text).input_ids] for text in texts(2, 1000)]
write("expected-plain.json.gz", {"added": plain, "cases": cases})
