"""Reduced SigLIP and SigLIP 2: OpenCLIP's folders with towers of timm, and transformers' SiglipModel.

Expected embeddings are those of open_clip 3.3.0 with timm 1.0.29, and of transformers 5.17.0, from the files as written, in
float32. Every tensor is random (common.py); the configurations have the keys of the real ones. Texts are filled up with the
pad token of their vocabulary, which the towers attend to. The vocabularies are those of ../tokenizer/files, of which the folders
have only tokenizer_config.json: a test unpacks the rest beside it and embeds STRINGS.
"""
import base64
import gzip
import json
import os
import shutil
import tempfile

import open_clip
import timm
import torch
import transformers
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import load_file, save_file
from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipTokenizer

from common import HERE, padded, pixels, seeded, texts, write_expected

VOCAB, CONTEXT = 96, 12
IDS = texts(VOCAB, CONTEXT, VOCAB - 2, VOCAB - 1)

STRINGS = ["a photo of a cat", "A hot_dog, on a plate!", "", "Tom &amp; Jerry", "don\u2019t", "ein Text mit mehr Zeichen, als der Kontext erlaubt"]

REDUCED = {}
create = timm.create_model


def create_reduced(name, **arguments):
    """timm.create_model with the sizes of REDUCED under the real name; None: the trunk has no such argument."""
    return create(name, **{key: value for key, value in (arguments | REDUCED).items() if value is not None})


timm.create_model = create_reduced
open_clip.timm_model.timm.create_model = create_reduced


def fresh(name, vocabulary):
    """An empty folder with the tokenizer_config.json of a vocabulary, if it has one of its own."""
    path = os.path.join(HERE, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    if vocabulary:
        with open(f"{path}/tokenizer_config.json", "wb") as file:
            file.write(files_of(vocabulary)["tokenizer_config.json"])
    return path


def files_of(vocabulary):
    with gzip.open(os.path.join(HERE, f"../tokenizer/files/{vocabulary}.json.gz")) as file:
        return {name: base64.b64decode(content) for name, content in json.load(file).items()}


def unpacked(vocabulary, use):
    """use(folder) with the files of the vocabulary."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files_of(vocabulary).items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        return use(folder)


def rows_of(embedded):
    return [[float(str(v)) for v in row] for row in embedded.float().numpy()]


# Entries of the vocabularies.
SIZES = {"t5": 352, "gemma": 1032, "siglip": 352}


def tokens_of(tokenizer):
    return tokenizer(STRINGS), tokenizer.tokenizer.pad_token_id


def openclip(name, seed, model, trunk, text, embed_dim, image_size, vocabulary, tag="webli", dtype=torch.float16, **vision):
    """One of open_clip's configurations at reduced size."""
    path = fresh(name, vocabulary)
    REDUCED.clear()
    REDUCED.update(dict(img_size=image_size) | trunk)
    config = open_clip.get_model_config(model)
    config["embed_dim"] = embed_dim
    config["vision_cfg"] |= dict(image_size=image_size) | vision
    config["text_cfg"] |= dict(context_length=CONTEXT, vocab_size=SIZES.get(vocabulary, VOCAB)) | text
    arguments = {key: value for key, value in config.items() if key != "custom_text"}
    kind = CustomTextCLIP if config.get("custom_text") else CLIP
    whole = seeded(kind(**arguments), seed)
    state = {key: value.to(dtype) for key, value in whole.state_dict().items()}
    save_file(state, f"{path}/open_clip_model.safetensors")
    facts = open_clip.get_pretrained_cfg(model, tag) if tag else {}
    preprocess = {key: facts[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in facts}
    with open(f"{path}/open_clip_config.json", "w") as file:
        json.dump(dict(model_cfg=config, preprocess_cfg=preprocess), file, indent=2)
    oracle = kind(**arguments)
    back = load_file(f"{path}/open_clip_model.safetensors")
    oracle.load_state_dict({key: value.float() for key, value in back.items()})
    oracle.eval()
    with torch.no_grad():
        image = oracle.encode_image(pixels(image_size))
        more, pad = {}, 0
        if vocabulary:
            clean = config["text_cfg"]["tokenizer_kwargs"]["clean"]
            ids, pad = unpacked(vocabulary, lambda folder: tokens_of(HFTokenizer(folder, context_length=CONTEXT, clean=clean)))
            more = dict(strings=STRINGS, vocabulary=vocabulary, stringText=rows_of(oracle.encode_text(ids)))
        embedded = oracle.encode_text(padded(IDS, CONTEXT, pad))
    write_expected(name, image_size, IDS, image, embedded, **more,
                   madeBy=f"open_clip {open_clip.__version__}, timm {timm.__version__}, torch {torch.__version__}")


def huggingface(name, seed, image_size):
    """SiglipModel without the keys that google's configurations leave out where they are defaults."""
    path = fresh(name, "siglip")
    tower = dict(hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=2)
    config = SiglipConfig(
        text_config=tower | dict(vocab_size=SIZES["siglip"], max_position_embeddings=CONTEXT),
        vision_config=tower | dict(image_size=image_size, patch_size=14),
    )
    model = seeded(SiglipModel(config), seed)
    model.half().save_pretrained(path)
    with open(f"{path}/config.json") as file:
        saved = json.load(file)
    kept = {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
            "max_position_embeddings", "image_size", "patch_size", "model_type"}
    for key in ("text_config", "vision_config"):
        saved[key] = {k: v for k, v in saved[key].items() if k in kept}
    with open(f"{path}/config.json", "w") as file:
        json.dump(saved, file, indent=2)
    SiglipImageProcessorPil(size=dict(height=image_size, width=image_size), resample=2).save_pretrained(path)
    oracle = SiglipModel.from_pretrained(path, dtype=torch.float32).eval()
    with torch.no_grad():
        image = oracle.get_image_features(pixel_values=pixels(image_size)).pooler_output
        tokenizer = unpacked("siglip", SiglipTokenizer.from_pretrained)
        ids = tokenizer(STRINGS, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt").input_ids
        strings = oracle.get_text_features(input_ids=ids).pooler_output
        embedded = oracle.get_text_features(input_ids=padded(IDS, CONTEXT, tokenizer.pad_token_id)).pooler_output
    write_expected(name, image_size, IDS, image, embedded, strings=STRINGS, vocabulary="siglip", stringText=rows_of(strings),
                   madeBy=f"transformers {transformers.__version__}, torch {torch.__version__}")


if __name__ == "__main__":
    # erf and erf; two heads of 64.
    openclip("openclip-siglip", 21, "ViT-B-16-SigLIP", dict(embed_dim=128, depth=1, num_heads=2, mlp_ratio=1.25),
             dict(width=48, heads=2, layers=2, mlp_ratio=2.0), 128, 48, "t5")
    # A head of 72, an image whose rest of 3 pixels is left out, tanh in the texts, SigLIP 2's pad token.
    openclip("openclip-siglip2", 22, "ViT-SO400M-14-SigLIP2-378", dict(embed_dim=72, depth=2, num_heads=1, mlp_ratio=1.6),
             dict(width=48, heads=2, layers=2), 72, 45, "gemma")
    huggingface("hf-siglip", 23, 45)
