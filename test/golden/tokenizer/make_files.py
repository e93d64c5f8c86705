"""Vocabularies of small size of every kind that is read from files, and what the original libraries make of odd strings.

  make_files.py [--count N --seed N --out FOLDER]

With --out, for a larger comparison than the committed one: the same folders and expected.json, with N strings per kind.
Each folder of vocabularies is packed into one <name>.json.gz, {file name: base64 of its bytes}; expected.json.gz has the
strings and, for each case, the class of transformers, the vocabulary, and the ids of every string.
Made with Python 3.11, tokenizers 0.23.2, transformers 5.17.0, sentencepiece 0.2.2, open_clip 3.3.0, ftfy 6.3.1.
"""

import argparse
import base64
import gzip
import io
import json
import logging
import pathlib
import random
import shutil
import tempfile
import warnings

import make
import sentencepiece
import tokenizers
import transformers
from open_clip.tokenizer import get_clean_fn
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

assert tokenizers.__version__ == "0.23.2" and transformers.__version__ == "5.17.0"
assert sentencepiece.__version__ == "0.2.2"
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
HERE = pathlib.Path(__file__).resolve().parent

ODD = [
    "", " ", "  ", "\n", "\t a", "a\u0085b", "\u0085", "\u2028x\u2029", "\ufeffbom", "\u200b", "a\u200db", "\u00ad", "\x00", "a\x00b",
    "ª\u0300", "a\u0300\u0301", "e\u0301", "é", "\u1100\u1161\u11a8", "각", "\u1100\u0300", "©\u200d☺", "👨‍👩‍👧‍👦", "🇩🇪🇫🇷🇯", "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "𠀀𠀁 𪜀", "\U0001f1e6", "नमस्ते क्षि", "ΟΔΥΣΣΕΥΣ Σ σς", "İıſK", "ﬁﬃ ½ ㎏ ｱﾊﾞ", "\u0344 \u1e9b\u0323", "ｶ\u3099", "لا إله شكرًا",
    "שָׁלוֹם", "ไทย ภาษา", "\u202eabc\u202c", "▁a ▁▁b", "▁", "a▁", "</s>", "a </s> b", "<s>x</s>", "<unk>", "<pad>  <unk>", "[SEP] [CLS]x[MASK]",
    "<mask> x", "<bos>a<eos>", "<0x41>", "<extra_id_0>", "don't I'LL we've 's", "''s '' 're", "  two  spaces\u00a0nbsp ", "tab\tand\nnewline  \n x",
    "123456 ７８ ٣٤ Ⅷ ²", "a" * 300, "ab" * 500, "é" * 200, "日本" * 120, "x " * 400, "\u0301" * 50, "a" + "\u0301\u0316" * 40, "\U000e0041" * 10,
    "hot_dog, on a plate!", "Tom &amp; Jerry", "don’t", "Ａ　Ｂ", "ß ẞ ŉ", "a\u0345", "ǅ ǆ", "\ud7a4\ue000", "\ufffd?", "\U0010ffff", "\u0600\u0661 \u06dd1",
    "☺\ufe0f ❤️‍🔥", "1️⃣", "a\r\nb", "\r", "ก็ กำ", "က္က", "ക്ഷ", "\u0dd9\u0dcf", "〆〇々", "\u3164\u115f", "eng_Latn hello", "\u1e0b\u0323", "\u0958",
]


def strings(count, seed):
    r = random.Random(seed)
    out = list(ODD)
    while len(out) < count:
        kind = r.random()
        if kind < 0.7:
            text = make.make_string(r)
        elif kind < 0.8:  # characters of any script, marks among them
            text = "".join(make.char(r) for _ in range(r.randint(1, 12)))
        elif kind < 0.88:  # clusters: a base and marks, joiners, flags
            text = "".join(
                make.char(r) + "".join(r.choice(["\u0300", "\u0323", "\u200d", "\ufe0f", "\u093c", "\u0e33", "\u1161", "\u3099", "\U0001f3fd"])
                                       for _ in range(r.choice([0, 1, 1, 2, 3]))) for _ in range(r.randint(1, 8)))
        elif kind < 0.94:  # any code point
            text = "".join(chr(c) for c in (r.randrange(0x110000) for _ in range(r.randint(1, 10))) if not 0xD800 <= c < 0xE000)
        else:
            text = r.choice(ODD) + r.choice([" ", ""]) + make.phrase(r, 4)
        text = text.encode("utf-8", "ignore").decode()
        out.append(text)
    return out


def corpus(folder):
    r = random.Random(5)
    lines = []
    for _ in range(6000):
        lines.append(" ".join(r.choice(make.WORDS) if r.random() < 0.985 else make.word(r) for _ in range(r.randint(2, 9))))
    lines = [line.encode("utf-8", "ignore").decode().replace("\n", " ").replace("\r", " ").replace("\0", "") for line in lines]
    path = folder / "corpus.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def sentence_piece(text, name, **options):
    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.read_text(encoding="utf-8").split("\n")), model_writer=stream,
        hard_vocab_limit=False, minloglevel=2, num_threads=1, **options)
    return stream.getvalue()


def config(folder, **keys):
    (folder / "tokenizer_config.json").write_text(json.dumps(keys, indent=1))


def make_vocabularies(root):
    text = corpus(root)
    folders = {}

    def folder(name):
        folders[name] = root / name
        folders[name].mkdir()
        return folders[name]

    t5 = sentence_piece(text, "t5", vocab_size=1500, model_type="unigram", character_coverage=0.98,
                        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, user_defined_symbols=["<sep>", "hello"])
    # As google/siglip: the model alone.
    siglip = folder("siglip")
    (siglip / "spiece.model").write_bytes(t5)
    config(siglip, tokenizer_class="SiglipTokenizer", do_lower_case=True, model_max_length=64, pad_token="</s>", eos_token="</s>",
           unk_token="<unk>")
    # As timm's SigLIP: tokenizer.json alone.
    fast = transformers.T5Tokenizer.from_pretrained(str(siglip), extra_ids=0, pad_token="</s>")
    made = folder("t5")
    fast.save_pretrained(str(made))
    for name in [p.name for p in made.iterdir()]:
        if name not in ("tokenizer.json", "tokenizer_config.json"):
            (made / name).unlink()
    config(made, tokenizer_class="T5Tokenizer", extra_ids=0, pad_token="</s>", eos_token="</s>", unk_token="<unk>")

    xlmr = folder("xlmr")
    (xlmr / "sentencepiece.bpe.model").write_bytes(
        sentence_piece(text, "xlmr", vocab_size=1500, model_type="unigram", character_coverage=0.98,
                       normalization_rule_name="nmt_nfkc"))
    config(xlmr, tokenizer_class="XLMRobertaTokenizer")

    gemma_model = sentence_piece(
        text, "gemma", vocab_size=1900, model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
        add_dummy_prefix=False, remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True,
        pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", character_coverage=0.98,
        user_defined_symbols=["<mask>", "\n\n", "▁▁", "▁▁▁", "<h1>"])
    source = root / "gemma-source"
    source.mkdir()
    (source / "tokenizer.model").write_bytes(gemma_model)
    config(source, tokenizer_class="GemmaTokenizer", add_bos_token=False, add_eos_token=True, padding_side="right")
    fast = transformers.GemmaTokenizer.from_pretrained(str(source))
    gemma = folder("gemma")
    fast.save_pretrained(str(gemma))
    config(gemma, tokenizer_class="GemmaTokenizer", add_bos_token=False, add_eos_token=True, padding_side="right")
    folders["gemma-model"] = source

    nllb = folder("nllb")
    (nllb / "sentencepiece.bpe.model").write_bytes(
        sentence_piece(text, "nllb", vocab_size=1700, model_type="bpe", character_coverage=0.98, normalization_rule_name="nmt_nfkc"))
    config(nllb, tokenizer_class="NllbTokenizer")
    # transformers 5.17 reads the model alone without its language codes: they are listed here.
    codes = transformers.models.nllb.tokenization_nllb.FAIRSEQ_LANGUAGE_CODES
    fast = transformers.NllbTokenizer.from_pretrained(str(nllb))
    assert fast.convert_tokens_to_ids(codes[0]) == fast.unk_token_id
    fast.add_special_tokens({"extra_special_tokens": codes})
    listed = folder("nllb-json")
    fast.save_pretrained(str(listed))
    for name in [p.name for p in listed.iterdir()]:
        if name not in ("tokenizer.json", "tokenizer_config.json"):
            (listed / name).unlink()
    config(listed, tokenizer_class="NllbTokenizer")

    bert = folder("bert")
    train = tokenizers.BertWordPieceTokenizer(lowercase=True)
    train.train([str(text)], vocab_size=1500, limit_alphabet=500, show_progress=False)
    train.save_model(str(bert))
    config(bert, tokenizer_class="BertTokenizer", do_lower_case=True)
    fast = transformers.BertTokenizer.from_pretrained(str(bert), do_lower_case=False)
    cased = folder("bert-cased")
    fast.save_pretrained(str(cased))
    config(cased, tokenizer_class="BertTokenizer", do_lower_case=False)

    roberta = folder("roberta")
    train = tokenizers.ByteLevelBPETokenizer()
    train.train([str(text)], vocab_size=900, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False)
    train.save_model(str(roberta))
    fast = transformers.RobertaTokenizer.from_pretrained(str(roberta))
    fast.save_pretrained(str(roberta))
    for name in ("vocab.json", "merges.txt"):
        (roberta / name).unlink()
    config(roberta, tokenizer_class="RobertaTokenizer")
    pair = folder("roberta-pair")
    train.save_model(str(pair))
    config(pair, tokenizer_class="RobertaTokenizer")

    # tokenizer.json alone, read as written.
    proto = json.loads((made / "tokenizer.json").read_text())
    generic = folder("generic-unigram")
    proto["normalizer"] = {"type": "Sequence", "normalizers": [proto["normalizer"], {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}]}
    proto["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}
    (generic / "tokenizer.json").write_text(json.dumps(proto))
    t = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=False, continuing_subword_prefix="##", end_of_word_suffix="</w>"))
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip(), normalizers.Prepend("x ")])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("e", "isolated")])
    t.train([str(text)], trainers.BpeTrainer(vocab_size=700, limit_alphabet=300, special_tokens=["[UNK]", "[CLS]", "[SEP]"],
                                             continuing_subword_prefix="##", end_of_word_suffix="</w>", show_progress=False))
    t.add_tokens([tokenizers.AddedToken("hello", single_word=True, lstrip=True), tokenizers.AddedToken("CAT", normalized=True, rstrip=True),
                  tokenizers.AddedToken("Dog dog", normalized=False)])
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    generic = folder("generic-bpe")
    t.save(str(generic / "tokenizer.json"))
    t.normalizer = normalizers.Sequence([normalizers.NFD()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split("a", "merged_with_previous"), pre_tokenizers.Split("o", "merged_with_next"),
                                               pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split("l", "contiguous")])
    t.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    generic = folder("generic-nfd")
    t.save(str(generic / "tokenizer.json"))
    return folders


# name, folder, class, cleaning, more
CASES = [
    ("siglip", "siglip", "SiglipTokenizer", "none", {}),
    ("siglip, canonicalize", "t5", "T5Tokenizer", "canonicalize", {}),
    ("t5", "t5", "T5Tokenizer", "none", {}),
    ("t5, whitespace", "t5", "T5Tokenizer", "whitespace", {}),
    ("t5 of a model", "siglip", "T5Tokenizer", "none", {}),
    ("xlm-r", "xlmr", "XLMRobertaTokenizer", "none", {}),
    ("gemma", "gemma", "GemmaTokenizer", "none", {}),
    ("gemma, canonicalize", "gemma", "GemmaTokenizer", "canonicalize", {}),
    ("siglip2", "gemma", "Siglip2Tokenizer", "none", {}),
    ("gemma of a model", "gemma-model", "GemmaTokenizer", "none", {}),
    ("nllb", "nllb-json", "NllbTokenizer", "none", {}),
    ("nllb, French", "nllb-json", "NllbTokenizer", "none", {"language": "fra_Latn"}),
    ("bert", "bert", "BertTokenizer", "none", {}),
    ("bert, lower", "bert", "BertTokenizer", "lower", {}),
    ("bert, cased", "bert-cased", "BertTokenizer", "none", {}),
    ("roberta", "roberta", "RobertaTokenizer", "none", {}),
    ("roberta, vocab.json", "roberta-pair", "RobertaTokenizer", "none", {}),
    ("generic unigram", "generic-unigram", "PreTrainedTokenizerFast", "none", {}),
    ("generic bpe", "generic-bpe", "PreTrainedTokenizerFast", "none", {}),
    ("generic nfd", "generic-nfd", "PreTrainedTokenizerFast", "none", {}),
]


def reference(folder, name, more):
    cls = getattr(transformers, name)
    keys = {"src_lang": more["language"]} if "language" in more else {}
    return cls.from_pretrained(str(folder), **keys)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--count", type=int, default=500)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--out", type=pathlib.Path)
    args = args.parse_args()
    root = pathlib.Path(tempfile.mkdtemp())
    folders = make_vocabularies(root)
    texts = strings(args.count, args.seed)
    expected = {"strings": texts, "cases": []}
    for name, folder, cls, cleaning, more in CASES:
        tok = reference(folders[folder], cls, more)
        clean = (lambda t: t) if cleaning == "none" else get_clean_fn(cleaning)
        files = {p.name for p in folders[folder].iterdir()}
        order = ["tokenizer.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "vocab.txt", "vocab.json"]
        file = next(f for f in order if f in files)
        cleaned = [clean(t) for t in texts]
        ids = [tok(t)["input_ids"] for t in cleaned]
        expected["cases"].append({
            "name": name, "folder": folder, "file": file, "class": cls, "cleaning": cleaning, **more, "ids": ids,
            "pad": tok.pad_token_id,
            "decoded": [tok.backend_tokenizer.decode(i, skip_special_tokens=False) if cls not in ("SiglipTokenizer",) else None for i in ids[:150]],
        })
        print(name, len(ids), tok.pad_token_id, ids[60][:8])
    out = args.out or HERE / "files"
    out.mkdir(exist_ok=True, parents=True)
    if args.out:
        for name, folder in folders.items():
            shutil.copytree(folder, out / name, dirs_exist_ok=True)
        (out / "expected.json").write_text(json.dumps(expected))
    else:
        def pack(name, value):
            data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
            (out / f"{name}.json.gz").write_bytes(gzip.compress(data, 9, mtime=0))
        for name in dict.fromkeys(folder for _, folder, *_ in CASES):
            folder = folders[name]
            pack(name, {p.name: base64.b64encode(p.read_bytes()).decode() for p in sorted(folder.iterdir())})
        pack("expected", expected)


if __name__ == "__main__":
    main()
