"""Tiny Hugging Face folders, saved by transformers itself.

python make_huggingface.py new   # transformers 5.17.0
PYTHONPATH=<its folder> python make_huggingface.py old   # transformers 4.57.6
"""
import json
import os
import shutil
import sys

import torch

if sys.argv[1] == "old":
    # transformers 4.57.6 asks for requests and huggingface_hub < 1, which nothing here uses: pip's copy of the first
    # and a newer one of the second do, once its check of versions is told so.
    import importlib.metadata as metadata

    import pip._vendor.requests as requests

    sys.modules["requests"] = requests
    sys.modules["requests.exceptions"] = requests.exceptions
    version = metadata.version
    told = {"huggingface-hub": "0.36.0", "tokenizers": "0.22.1", "requests": "2.32"}
    metadata.version = lambda name: told.get(name.replace("_", "-")) or version(name)

import transformers
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer, CLIPTokenizerFast

from common import HERE, padded, pixels, seeded, texts, write_expected

MERGES = ["a n", "c a", "ca t</w>", "d o", "do g</w>", "p h", "t h", "th e</w>", "i n", "in g</w>"]


def byte_symbols():
    keep = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [b for b in range(256) if b not in keep]
    return [chr(b) for b in keep] + [chr(256 + i) for i in range(len(rest))]


def vocabulary(folder):
    symbols = byte_symbols()
    tokens = symbols + [s + "</w>" for s in symbols] + [m.replace(" ", "") for m in MERGES]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    json.dump({t: i for i, t in enumerate(tokens)}, open(f"{folder}/vocab.json", "w"), ensure_ascii=False)
    with open(f"{folder}/merges.txt", "w") as f:
        f.write("#version: 0.2\n" + "\n".join(MERGES) + "\n")
    return len(tokens)


def make(name, seed, dtype, act, eos, size=24, patch=8, shard=None, old=False, width=64, heads=2):
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    vocab = vocabulary(folder)
    start, end = vocab - 2, vocab - 1
    text = dict(hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=3, vocab_size=vocab)
    text |= dict(max_position_embeddings=12, hidden_act=act, bos_token_id=start, pad_token_id=end, eos_token_id=eos or end)
    vision = dict(hidden_size=width, intermediate_size=width + 8, num_hidden_layers=2, num_attention_heads=heads)
    vision |= dict(image_size=size, patch_size=patch, hidden_act=act)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    config._attn_implementation = "eager"
    model = seeded(CLIPModel(config), seed).to(dtype)
    model.save_pretrained(folder, **(dict(max_shard_size=shard) if shard else {}))
    tokenizer_class = CLIPTokenizer if old else CLIPTokenizerFast
    tokenizer = tokenizer_class(vocab=f"{folder}/vocab.json", merges=f"{folder}/merges.txt") if not old else tokenizer_class(
        vocab_file=f"{folder}/vocab.json", merges_file=f"{folder}/merges.txt"
    )
    images = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    if old:
        images.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    else:
        os.remove(f"{folder}/vocab.json")
        os.remove(f"{folder}/merges.txt")
        CLIPProcessor(images, tokenizer).save_pretrained(folder)
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids = texts(vocab, 12, start, end)
    with torch.no_grad():
        out = model(input_ids=padded(ids, 12, end), pixel_values=pixels(size), output_hidden_states=False)
        image = model.visual_projection(model.vision_model(pixel_values=pixels(size)).pooler_output)
        text = model.text_projection(model.text_model(input_ids=padded(ids, 12, end)).pooler_output)
        assert torch.allclose(torch.nn.functional.normalize(image, dim=-1), out.image_embeds, atol=1e-6)
        assert torch.allclose(torch.nn.functional.normalize(text, dim=-1), out.text_embeds, atol=1e-6)
    write_expected(name, size, ids, image, text, madeBy=f"transformers {transformers.__version__}, torch {torch.__version__}")


if __name__ == "__main__":
    if sys.argv[1] == "new":
        make("hf-5", 1, torch.float32, "quick_gelu", None, width=40)
        make("hf-5-gelu-bf16", 2, torch.bfloat16, "gelu", 2, size=27, patch=9, width=88, heads=1)
    else:
        assert transformers.__version__.startswith("4.57"), transformers.__version__
        make("hf-4", 3, torch.float16, "quick_gelu", None, old=True)
        make("hf-4-sharded", 4, torch.float16, "gelu", 2, shard="100KB", old=True)
