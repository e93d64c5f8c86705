"""Every model configuration of open_clip, at reduced size: what test/families/run.ts opens and compares.

    python make_families.py FOLDER [NAME...]

writes FOLDER/<name>/: open_clip_config.json and open_clip_model.safetensors as open_clip's own hub upload has them,
tokenizer_config.json as far as a tower needs it (its class and pad token), and expected.json with what the library computes
in float64. Every tensor is random. A configuration that can't be built here gets not-built.txt with the reason.

Made with open_clip 3.3.0, timm 1.0.29, transformers 5.17.0, torch 2.13.
"""
import copy
import json
import math
import os
import re
import sys
import traceback

import open_clip
import open_clip.hf_model
import open_clip.timm_model
import timm
import torch
import transformers
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP
from safetensors.torch import save_file
from timm.models.vitamin import VitCfg, VitConvCfg

VOCAB, CONTEXT, EMBED = 128, 12, 48
REDUCED = {}

create = timm.create_model
open_clip.timm_model.timm.create_model = lambda name, **arguments: create(name, **(arguments | REDUCED))


def small_text_config(name, *args, **kwargs):
    """In place of AutoConfig.from_pretrained, which would ask the hub. Heads have 64 numbers, as in the real ones."""
    sizes = dict(vocab_size=VOCAB, hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=160)
    if "xlm" in name:
        return transformers.XLMRobertaConfig(**sizes, max_position_embeddings=80, type_vocab_size=1, layer_norm_eps=1e-5)
    if "roberta" in name:
        return transformers.RobertaConfig(**sizes, max_position_embeddings=80, type_vocab_size=1, layer_norm_eps=1e-5)
    if "nllb" in name:
        return transformers.M2M100Config(vocab_size=VOCAB, d_model=128, encoder_layers=2, decoder_layers=1,
                                         encoder_attention_heads=2, encoder_ffn_dim=160, max_position_embeddings=80)
    if "mt5" in name:
        return transformers.MT5Config(vocab_size=VOCAB, d_model=128, d_kv=64, num_heads=2, num_layers=2, d_ff=160)
    raise ValueError(f"no small configuration for {name}")


open_clip.hf_model.AutoConfig.from_pretrained = small_text_config


def reduce_trunk(name, vision):
    """Sizes for timm.create_model under the real name; changes image_size, which only preprocessing reads."""
    image = vision.get("image_size", 224)

    def square(patch, side=3):
        size = patch * side + image % patch
        vision["image_size"] = size
        return size

    patch = int(match[1]) if (match := re.search(r"patch(\d+)", name)) else None
    if "siglip" in name:
        head = 72 if "so400m" in name else 96 if "giantopt" in name else 64
        return dict(embed_dim=2 * head, depth=2, num_heads=2, img_size=square(patch))
    if name.startswith("vit_pe_core"):
        head = 96 if "gigantic" in name else 64
        size = square(patch)
        return dict(embed_dim=2 * head, depth=2, num_heads=2, img_size=size, ref_feat_shape=(size // patch, size // patch))
    if name.startswith("eva"):
        head = 88 if "giant" in name else 112 if "enormous" in name else 64
        return dict(embed_dim=2 * head, depth=2, num_heads=2, img_size=square(patch))
    if "mci" in name and name.startswith("vit"):
        return dict(depth=1)
    if "clip" in name or "gap" in name or "relpos" in name:
        return dict(embed_dim=128, depth=2, num_heads=2, img_size=square(patch))
    if name.startswith("fastvit"):
        vision["image_size"] = 128
        stages = 5 if re.search("mci[34]", name) else 4
        return dict(layers=(1,) * stages, embed_dims=(32, 64, 128, 256, 512)[:stages])
    if name.startswith("convnext"):
        vision["image_size"] = 64
        return dict(depths=(1, 1, 1, 1), dims=(16, 32, 48, 64))
    if name.startswith("vitamin"):
        head = 72 if "xlarge" in name else 64
        vision["image_size"] = 64
        stem = VitCfg(embed_dim=(16, 24, 2 * head), depths=(2, 2, 1), stem_width=16,
                      conv_cfg=VitConvCfg(norm_layer="layernorm2d", norm_eps=1e-6), head_type="1d")
        return dict(embed_dim=2 * head, depth=2, num_heads=2, img_size=64, embed_cfg=stem)
    return {}


def reduced(name):
    config = copy.deepcopy(open_clip.get_model_config(name))
    vision, text = config["vision_cfg"], config["text_cfg"]
    config["embed_dim"] = EMBED
    REDUCED.clear()
    if "timm_model_name" in vision:
        REDUCED.update(reduce_trunk(vision["timm_model_name"], vision))
        if vision.get("timm_proj") == "none":
            config["embed_dim"] = REDUCED["embed_dim"]
    elif isinstance(vision["layers"], list):
        vision.update(layers=[1, 2, 1, 1], width=8, image_size=64)
    else:
        patch = vision["patch_size"]
        vision.update(layers=2, width=2 * vision.get("head_width", 64), image_size=3 * patch)
    if "hf_model_name" not in text:
        head = text["width"] // text["heads"]
        text.update(layers=2, heads=2, width=2 * head, vocab_size=VOCAB, context_length=CONTEXT)
        if text.get("proj_type") == "none":
            text.update(width=config["embed_dim"])
    if "multimodal_cfg" in config:
        many = config["multimodal_cfg"]
        many.update(layers=1, width=64, heads=2, vocab_size=VOCAB, context_length=CONTEXT)
        if "attn_pooler_heads" in many:
            many["attn_pooler_heads"] = 2
    return config


def randomise(model):
    generator = torch.Generator().manual_seed(11)
    normal = lambda shape: torch.randn(shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            last = name.split(".")[-1]
            if name == "logit_scale":
                value = torch.tensor(2.75)
            elif name == "logit_bias":
                value = torch.tensor(-10.5)
            elif re.search(r"gamma|ls_[12]|layer_scale", last) or "layer_scale" in name:
                value = 0.5 + 0.2 * normal(p.shape)
            elif p.ndim == 1 and last == "weight":
                value = 1 + 0.3 * normal(p.shape)
            elif p.ndim < 2:
                value = 0.2 * normal(p.shape)
            elif re.search(r"embed|latent|class|position|query$", last) and p.ndim <= 3:
                value = 0.4 * normal(p.shape)
            else:
                value = normal(p.shape) / math.sqrt(max(1, p[0].numel()))
            p.copy_(value)
        for name, b in sorted(model.named_buffers()):
            if name.endswith("running_mean"):
                b.copy_(0.5 * normal(b.shape))
            elif name.endswith("running_var"):
                b.copy_(0.5 + torch.rand(b.shape, generator=generator))
    return model.eval()


def build(config):
    arguments = copy.deepcopy(config)
    custom = arguments.pop("custom_text", False)
    if "hf_model_name" in arguments["text_cfg"]:
        arguments["text_cfg"]["hf_model_pretrained"] = False
    if "multimodal_cfg" in arguments:
        return CoCa(**arguments)
    if custom or "hf_model_name" in arguments["text_cfg"]:
        return CustomTextCLIP(**arguments)
    return CLIP(**arguments)


TOKENIZERS = [
    ("SigLIP2", ("GemmaTokenizer", "<pad>", 0)),
    ("SigLIP", ("T5Tokenizer", "</s>", 1)),
    ("bert-base", ("BertTokenizer", "[PAD]", 0)),
    ("nllb", ("NllbTokenizer", "<pad>", 1)),
    ("xlm", ("XLMRobertaTokenizer", "<pad>", 1)),
    ("roberta", ("RobertaTokenizer", "<pad>", 1)),
    ("mt5", ("T5Tokenizer", "<pad>", 0)),
]


def texts(text):
    """Ids from 3 on, the last one being the end: the largest id, or the configuration's eos_id."""
    generator = torch.Generator().manual_seed(7)
    end = text.get("eos_id", 2) if text.get("pool_type") == "eos" else VOCAB - 1
    return [
        [VOCAB - 2, *torch.randint(3, VOCAB - 2, (n - 2,), generator=generator).tolist(), end] for n in (3, 6, CONTEXT - 1)
    ]


def make(folder, name):
    config = reduced(name)
    model = randomise(build(config))
    os.makedirs(folder, exist_ok=True)
    state = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
    save_file(state, f"{folder}/open_clip_model.safetensors")
    tags = [tag for config_name, tag in open_clip.list_pretrained() if config_name == name]
    tag = open_clip.get_pretrained_cfg(name, tags[0]) if tags else {}
    preprocess = {key: tag[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in tag}
    json.dump(dict(model_cfg=config, preprocess_cfg=preprocess), open(f"{folder}/open_clip_config.json", "w"), indent=1)
    pad = 0
    for part, (kind, token, pad_id) in TOKENIZERS:
        if part in config["text_cfg"].get("hf_tokenizer_name", ""):
            json.dump(dict(tokenizer_class=kind, pad_token=token), open(f"{folder}/tokenizer_config.json", "w"))
            pad = pad_id
            break
    ids = texts(config["text_cfg"])
    context = config["text_cfg"].get("context_length", CONTEXT)
    context = min(context, 76) if "multimodal_cfg" in config else context
    rows = torch.tensor([row + [pad] * (context - len(row)) for row in ids])
    size = config["vision_cfg"].get("image_size", 224)
    images = torch.rand((2, 3, size, size), generator=torch.Generator().manual_seed(5)) * 4 - 2
    images = images.to(torch.float16).double()
    model = model.double()
    with torch.no_grad():
        image, text = model.encode_image(images), model.encode_text(rows)
    json.dump(
        dict(imageSize=size, pixels=images.flatten().tolist(), texts=ids, image=image.tolist(), text=text.tolist()),
        open(f"{folder}/expected.json", "w"),
    )


if __name__ == "__main__":
    target, names = sys.argv[1], sys.argv[2:] or open_clip.list_models()
    for name in names:
        folder = os.path.join(target, name)
        os.makedirs(folder, exist_ok=True)
        try:
            make(folder, name)
            print(name, flush=True)
        except Exception as error:
            with open(f"{folder}/not-built.txt", "w") as file:
                file.write(f"{type(error).__name__}: {error}")
            print(f"{name}: not built: {type(error).__name__}: {error}", flush=True)
            if os.environ.get("TRACE"):
                traceback.print_exc()
