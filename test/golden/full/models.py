"""Full-size CLIP models with seeded random weights, written by the original libraries in their own formats.

The weights have the scale of trained ones: activations neither vanish nor explode in 12 to 40 layers. They come from one
generator per model, so that the same versions of the libraries write the same weights again.
"""
import json
import os
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "checkpoint"))
import openai_clip  # noqa: E402
from common import padded, pixels, seeded, texts  # noqa: E402

VOCAB, CONTEXT, START, END = 49408, 77, 49406, 49407
IDS = texts(VOCAB, CONTEXT, START, END)


def resnet_seeded(model, seed):
    """`seeded`, with He's scale for convolutions and with the running statistics of the network's own activations (a
    stand-in for training): without them the image is lost on the way through 50 to 150 layers. The last batch norm of
    a block, which OpenAI initialises to zero, is not zero. Statistics are rounded to 8 bits so that another machine's
    rounding makes the same ones."""
    model = seeded(model, seed)
    with torch.no_grad():
        for name, p in model.visual.named_parameters():
            if p.ndim == 4:
                p.mul_(np.sqrt(2) / 0.6)
            if name.endswith("bn3.weight") and name.startswith("layer"):
                p.mul_(0.5)
        norms = [m for m in model.visual.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        for m in norms:
            m.train()
            m.momentum = 1.0
        size = int(round((model.visual.attnpool.positional_embedding.shape[0] - 1) ** 0.5)) * 32
        noise = pixels(size)
        smooth = torch.nn.functional.interpolate(pixels(16), size, mode="bilinear")
        # Noise, soft shapes, and shapes on a bright background, as the images of the test have it.
        model.visual(torch.cat([noise[:1] * 0.5 + smooth[:1], smooth[1:], smooth[:1] * 0.3 + 1.8]))
        for m in norms:
            m.eval()
            for b in (m.running_mean, m.running_var):
                b.copy_(b.bfloat16().float())
            m.running_var.clamp_(min=1e-3)
    return model


def openai(path, seed, **sizes):
    """OpenAI's file: a TorchScript archive of the model in half precision."""
    resnet = isinstance(sizes["vision_layers"], tuple)
    sizes = dict(context_length=CONTEXT, vocab_size=VOCAB, transformer_layers=12, **sizes)
    model = (resnet_seeded if resnet else seeded)(openai_clip.CLIP(**sizes), seed)
    size = sizes["image_resolution"]
    for key, value in (("input_resolution", size), ("context_length", CONTEXT), ("vocab_size", VOCAB)):
        model.register_buffer(key, torch.tensor(value))
    openai_clip.convert_weights(model)
    # OpenAI's archives hold the traced methods too. Two images and one text go through the model in half precision.
    inputs = {"encode_image": (pixels(size)[:1].half(),), "encode_text": (padded(IDS[:1], CONTEXT, 0),)}
    torch.jit.save(torch.jit.trace_module(model, inputs, check_trace=False), path)


def huggingface(path, seed, embed, vision, text, dtype, shard=None):
    """A folder that transformers' save_pretrained writes."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=embed)
    model = seeded(CLIPModel(config), seed).to(dtype)
    model.save_pretrained(path, **(dict(max_shard_size=shard) if shard else {}))
    size = vision["image_size"]
    CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size}).save_pretrained(path)


def openclip(path, seed, name, dtype, weights):
    """A folder as OpenCLIP pushes it to the hub, of one of its own configurations."""
    import open_clip
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    config = open_clip.get_model_config(name)
    model = seeded(CLIP(**config), seed)
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in model.state_dict().items()}
    del model
    os.makedirs(path, exist_ok=True)
    save_file(state, f"{path}/{weights}") if weights.endswith(".safetensors") else torch.save(state, f"{path}/{weights}")
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    preprocess = dict(mean=mean, std=std, interpolation="bicubic", resize_mode="shortest")
    with open(f"{path}/open_clip_config.json", "w") as f:
        json.dump(dict(model_cfg=config, preprocess_cfg=preprocess), f, indent=2)


def rn(layers, width, embed, size, text):
    return dict(embed_dim=embed, image_resolution=size, vision_layers=layers, vision_width=width, vision_patch_size=None,
                transformer_width=text, transformer_heads=text // 64)  # fmt: skip


def vit(width, layers, patch, embed, size, text):
    return dict(embed_dim=embed, image_resolution=size, vision_layers=layers, vision_width=width, vision_patch_size=patch,
                transformer_width=text, transformer_heads=text // 64)  # fmt: skip


def hf(hidden, layers, heads, **more):
    return dict(hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers, num_attention_heads=heads) | more


#: name of the file or folder: how it is written.
MODELS = {
    "random-RN50.pt": lambda p: openai(p, 101, **rn((3, 4, 6, 3), 64, 1024, 224, 512)),
    "random-RN50x4.pt": lambda p: openai(p, 102, **rn((4, 6, 10, 6), 80, 640, 288, 640)),
    "random-ViT-B-16-hf": lambda p: huggingface(
        p, 103, 512, hf(768, 12, 12, image_size=224, patch_size=16), hf(512, 12, 8), torch.float32),
    "random-ViT-L-14-336-hf-f16": lambda p: huggingface(
        p, 104, 768, hf(1024, 24, 16, image_size=336, patch_size=14), hf(768, 12, 12), torch.float16, "300MB"),
    "random-ViT-H-14-openclip-bf16": lambda p: openclip(p, 105, "ViT-H-14", torch.bfloat16, "open_clip_model.safetensors"),
    "random-ViT-B-32.pt": lambda p: openai(p, 106, **vit(768, 12, 32, 512, 224, 512)),
    "random-RN101.pt": lambda p: openai(p, 107, **rn((3, 4, 23, 3), 64, 512, 224, 512)),
    "random-RN50x16.pt": lambda p: openai(p, 108, **rn((6, 8, 18, 8), 96, 768, 384, 768)),
    "random-ViT-g-14-openclip-f16": lambda p: openclip(p, 109, "ViT-g-14", torch.float16, "open_clip_pytorch_model.bin"),
    "random-RN50x64.pt": lambda p: openai(p, 110, **rn((3, 15, 36, 10), 128, 1024, 448, 1024)),
    "random-ViT-L-14.pt": lambda p: openai(p, 111, **vit(1024, 24, 14, 768, 224, 768)),
    "random-TinyCLIP-8M-16-Text-3M-hf": lambda p: huggingface(
        p, 113, 512, hf(256, 10, 4, image_size=224, patch_size=16), hf(256, 3, 4), torch.float32),
    "random-TinyCLIP-61M-32-Text-29M-hf-f16": lambda p: huggingface(
        p, 114, 512, hf(640, 12, 10, image_size=224, patch_size=32), hf(512, 9, 8), torch.float16),
    "random-ViT-bigG-14-openclip-f16": lambda p: openclip(
        p, 112, "ViT-bigG-14", torch.float16, "open_clip_model.safetensors"),
}  # fmt: skip
