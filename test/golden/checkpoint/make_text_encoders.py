"""Reduced models whose texts go through an encoder of transformers: OpenCLIP's folders with XLM-R, RoBERTa and NLLB
(text.transformer.*, text.proj*), and transformers' ChineseCLIPModel and AltCLIPModel.

Expected embeddings are those of open_clip 3.3.0 and transformers 5.17.0 from the files as written, in float32. Every tensor is
random (common.py). Texts are filled up with the pad token, which is masked. The vocabularies are those of ../tokenizer/files,
as in make_siglip.py.
"""
import json
import os

import open_clip
import open_clip.hf_model
import torch
import transformers
from open_clip.model import CustomTextCLIP
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import load_file, save_file

from common import padded, pixels, seeded, texts, write_expected
from make_siglip import fresh, rows_of, unpacked

CONTEXT = 12
STRINGS = ["a photo of a cat", "A hot_dog, on a plate!", "", "Tom &amp; Jerry", "\u4e00\u53ea\u732b",
           "ein Text mit mehr Zeichen, als der Kontext erlaubt"]
ENCODER = {}
configuration = open_clip.hf_model.AutoConfig.from_pretrained


def small_config(name, *args, **kwargs):
    """In place of AutoConfig.from_pretrained, which asks the hub for the configuration of the real encoder."""
    if os.path.isdir(name):
        return configuration(name, *args, **kwargs)
    sizes = dict(vocab_size=ENCODER["vocab"], num_hidden_layers=2, intermediate_size=96)
    width = ENCODER["width"]
    heads = width // 64
    if "nllb" in name:
        return transformers.M2M100Config(vocab_size=ENCODER["vocab"], d_model=width, encoder_layers=1, decoder_layers=1,
                                         encoder_attention_heads=heads, encoder_ffn_dim=96, max_position_embeddings=80)
    kind = transformers.XLMRobertaConfig if "xlm" in name else transformers.RobertaConfig
    return kind(**sizes, hidden_size=width, num_attention_heads=heads, max_position_embeddings=CONTEXT + 4,
                type_vocab_size=1, layer_norm_eps=1e-5)


open_clip.hf_model.AutoConfig.from_pretrained = small_config


def vocabulary_size(vocabulary):
    return unpacked(vocabulary, lambda folder: len(transformers.AutoTokenizer.from_pretrained(folder)))


def openclip(name, seed, model, vocabulary, width, embed_dim, image_size=28, dtype=torch.float16):
    path = fresh(name, vocabulary)
    ENCODER.update(vocab=vocabulary_size(vocabulary), width=width)
    config = open_clip.get_model_config(model)
    config["embed_dim"] = embed_dim
    config["vision_cfg"] |= dict(image_size=image_size, layers=1, width=64, patch_size=14, head_width=64, mlp_ratio=1.25)
    config["text_cfg"] |= dict(context_length=CONTEXT)
    arguments = {key: value for key, value in config.items() if key != "custom_text"}
    arguments["text_cfg"] = arguments["text_cfg"] | dict(hf_model_pretrained=False)
    whole = seeded(CustomTextCLIP(**arguments), seed)
    save_file({key: value.to(dtype) for key, value in whole.state_dict().items()}, f"{path}/open_clip_model.safetensors")
    with open(f"{path}/open_clip_config.json", "w") as file:
        json.dump(dict(model_cfg=config, preprocess_cfg={}), file, indent=2)
    oracle = CustomTextCLIP(**arguments)
    oracle.load_state_dict({key: value.float() for key, value in load_file(f"{path}/open_clip_model.safetensors").items()})
    oracle.eval()
    clean = config["text_cfg"].get("tokenizer_kwargs", {}).get("clean", "whitespace")
    ids, pad = unpacked(vocabulary, lambda folder: tokens_of(HFTokenizer(folder, context_length=CONTEXT, clean=clean)))
    first = int(ids[0][0])
    rows = texts(ENCODER["vocab"], CONTEXT, ENCODER["vocab"] - 2, ENCODER["vocab"] - 1)
    rows = [[first, *(i if i > 3 else 4 for i in row[1:-1]), 2] for row in rows]
    with torch.no_grad():
        image = oracle.encode_image(pixels(image_size))
        more = dict(strings=STRINGS, vocabulary=vocabulary, stringText=rows_of(oracle.encode_text(ids)))
        embedded = oracle.encode_text(padded(rows, CONTEXT, pad))
    write_expected(name, image_size, rows, image, embedded, **more,
                   madeBy=f"open_clip {open_clip.__version__}, transformers {transformers.__version__}, torch {torch.__version__}")


def tokens_of(tokenizer):
    return tokenizer(STRINGS), tokenizer.tokenizer.pad_token_id


def huggingface(name, seed, kind, vocabulary, tokenizer_class, positions, end, text, image_size=28):
    path = fresh(name, vocabulary)
    config_class = getattr(transformers, f"{kind}Config")
    model_class = getattr(transformers, f"{kind}Model")
    vocab = vocabulary_size(vocabulary)
    config = config_class(
        text_config=dict(hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=2, vocab_size=vocab,
                         max_position_embeddings=positions) | text,
        vision_config=dict(hidden_size=64, intermediate_size=72, num_hidden_layers=1, num_attention_heads=2,
                           image_size=image_size, patch_size=14),
        projection_dim=40,
    )
    model = seeded(model_class(config), seed)
    model.half().save_pretrained(path)
    transformers.CLIPImageProcessor(size={"shortest_edge": image_size},
                                    crop_size={"height": image_size, "width": image_size}).save_pretrained(path)
    oracle = model_class.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = unpacked(vocabulary, getattr(transformers, tokenizer_class).from_pretrained)
    pad = tokenizer.pad_token_id
    first = tokenizer("").input_ids[0]
    rows = texts(vocab, CONTEXT, vocab - 2, vocab - 1)
    rows = [[first, *(i if i > 4 else 5 for i in row[1:-1]), end] for row in rows]
    with torch.no_grad():
        image = oracle.get_image_features(pixel_values=pixels(image_size)).pooler_output
        words = tokenizer(STRINGS, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt")
        strings = oracle.get_text_features(input_ids=words.input_ids, attention_mask=words.attention_mask).pooler_output
        ids = padded(rows, CONTEXT, pad)
        embedded = oracle.get_text_features(input_ids=ids, attention_mask=(ids != pad).long()).pooler_output
    write_expected(name, image_size, rows, image, embedded, strings=STRINGS, vocabulary=vocabulary, stringText=rows_of(strings),
                   madeBy=f"transformers {transformers.__version__}, torch {torch.__version__}")


if __name__ == "__main__":
    openclip("openclip-xlm-roberta", 41, "xlm-roberta-base-ViT-B-32", "xlmr", 64, 40)
    openclip("openclip-roberta", 42, "roberta-ViT-B-32", "roberta", 64, 40)
    # A scale of sqrt(128), which is no power of two.
    openclip("openclip-nllb", 43, "nllb-clip-base", "nllb-json", 128, 40)
    huggingface("hf-chinese-clip", 44, "ChineseCLIP", "bert", "BertTokenizer", CONTEXT, 3, {})
    huggingface("hf-altclip", 45, "AltCLIP", "xlmr", "XLMRobertaTokenizer", CONTEXT + 2, 2, dict(project_dim=56))
