"""Tiny OpenAI and OpenCLIP checkpoints: TorchScript archives in OpenAI's layout, OpenCLIP folders, a bare state dict.

Expected embeddings are open_clip's own (3.3.0), from the files as written, in float32.
"""
import json
import os
import shutil

import open_clip
import torch
from open_clip.model import CLIP, CustomTextCLIP, build_model_from_openai_state_dict
from open_clip.openai import load_openai_model
from safetensors.torch import load_file, save_file

import openai_clip
from common import HERE, padded, pixels, seeded, texts, write_expected

VOCAB, CONTEXT = 96, 12
IDS = texts(VOCAB, CONTEXT, VOCAB - 2, VOCAB - 1)
MADE_BY = f"open_clip {open_clip.__version__}, torch {torch.__version__}"


def embed(model, size):
    with torch.no_grad():
        return model.encode_image(pixels(size)), model.encode_text(padded(IDS, CONTEXT, 0))


def archive(name, seed, **sizes):
    """OpenAI's model in half precision, traced and saved as theirs are."""
    model = seeded(openai_clip.CLIP(context_length=CONTEXT, vocab_size=VOCAB, **sizes), seed)
    size = sizes["image_resolution"]
    for key, value in (("input_resolution", size), ("context_length", CONTEXT), ("vocab_size", VOCAB)):
        delattr(model, key) if hasattr(model, key) else None
        model.register_buffer(key, torch.tensor(value))
    openai_clip.convert_weights(model)
    path = os.path.join(HERE, f"{name}.pt")
    traced = torch.jit.trace_module(
        model,
        {
            "encode_image": (pixels(size).half(),),
            "encode_text": (padded(IDS, CONTEXT, 0),),
        },
        check_trace=False,
    )
    torch.jit.save(traced, path)
    oracle = load_openai_model(path, precision="fp32", device="cpu")
    image, text = embed(oracle, size)
    write_expected(name, size, IDS, image, text, madeBy=MADE_BY)


HALVES = dict(mean=[0.5, 0.5, 0.5], std=[0.5, 0.25, 0.5], interpolation="bilinear", resize_mode="squash")


def folder(name, seed, vision, text, embed_dim=24, dtype=torch.float32, weights="open_clip_model.safetensors", preprocess=HALVES, **model_cfg):
    path = os.path.join(HERE, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    text_cfg = dict(context_length=CONTEXT, vocab_size=VOCAB) | text
    config = dict(embed_dim=embed_dim, vision_cfg=vision, text_cfg=text_cfg, **model_cfg)
    custom = config.get("custom_text", False)
    kind = CustomTextCLIP if custom else CLIP
    arguments = {k: v for k, v in config.items() if k != "custom_text"}
    model = seeded(kind(**arguments), seed)
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in model.state_dict().items()}
    if weights.endswith(".safetensors"):
        save_file(state, f"{path}/{weights}")
        back = load_file(f"{path}/{weights}")
    else:
        torch.save(state, f"{path}/{weights}")
        back = torch.load(f"{path}/{weights}", weights_only=True)
    json.dump(dict(model_cfg=config, preprocess_cfg=preprocess), open(f"{path}/open_clip_config.json", "w"), indent=2)
    oracle = kind(**arguments)
    oracle.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in back.items()})
    size = vision["image_size"]
    write_expected(name, size, IDS, *embed(oracle.eval(), size), madeBy=MADE_BY)


def training_checkpoint(name, seed):
    """What a distributed training run leaves: {'epoch', 'state_dict': {'module....'}}; views share one storage."""
    text = dict(context_length=CONTEXT, vocab_size=VOCAB, width=64, heads=1, layers=1)
    vision = dict(image_size=24, patch_size=8, width=64, layers=1, mlp_ratio=2.0)
    model = seeded(CLIP(24, vision, text, quick_gelu=False), seed)
    state = {f"module.{k}": v for k, v in model.state_dict().items()}
    # A transposed view and one that starts inside a larger storage: strides and offsets are honoured.
    w = "module.transformer.resblocks.0.mlp.c_fc.weight"
    state[w] = state[w].t().contiguous().t()
    b = "module.visual.ln_pre.bias"
    state[b] = torch.cat([torch.zeros(5), state[b]])[5:]
    torch.save(dict(epoch=3, name="tiny", state_dict=state, scaler={"scale": 65536.0}), os.path.join(HERE, f"{name}.pt"))
    write_expected(name, 24, IDS, *embed(model, 24), madeBy=MADE_BY, activation="gelu")


def clipa(name, seed):
    """open_clip's ViT-L-14-CLIPA at reduced size: its configuration's keys, and its preprocessing."""
    full = open_clip.get_model_config("ViT-L-14-CLIPA")
    vision = full["vision_cfg"] | dict(image_size=28, patch_size=7, width=64, layers=2, mlp_ratio=2.0)
    text = full["text_cfg"] | dict(context_length=CONTEXT, vocab_size=524, width=48, heads=2, layers=2, mlp_ratio=2.0)
    tag = open_clip.get_pretrained_cfg("ViT-L-14-CLIPA", "datacomp1b")
    preprocess = {key: tag[key] for key in ("mean", "std", "interpolation", "resize_mode")}
    folder(name, seed, vision, text, dtype=torch.float16, preprocess=preprocess)


if __name__ == "__main__":
    text = dict(transformer_width=64, transformer_heads=1, transformer_layers=1)
    archive("openai-vit", 11, embed_dim=24, image_resolution=24, vision_layers=2, vision_width=64, vision_patch_size=8, **text)
    archive("openai-resnet", 12, embed_dim=24, image_resolution=64, vision_layers=(1, 2, 1, 1), vision_width=4, vision_patch_size=None, **text)
    narrow = dict(width=48, heads=2, layers=1, mlp_ratio=2.0)
    folder("openclip-80", 13, dict(image_size=24, patch_size=8, width=160, layers=1, head_width=80, mlp_ratio=1.0), narrow, dtype=torch.float16)
    folder("openclip-104-bin", 14, dict(image_size=24, patch_size=8, width=104, layers=1, head_width=104, mlp_ratio=1.9231), narrow,
           dtype=torch.bfloat16, weights="open_clip_pytorch_model.bin", quick_gelu=True)
    folder("openclip-custom", 15, dict(image_size=28, patch_size=7, width=64, layers=2, mlp_ratio=2.0), narrow | dict(proj_bias=True),
           dtype=torch.float16, custom_text=True)
    folder("openclip-resnet", 16, dict(image_size=64, patch_size=None, width=4, layers=[1, 1, 1, 1]), narrow, dtype=torch.float16)
    training_checkpoint("openclip-training", 17)
    clipa("openclip-clipa", 18)
