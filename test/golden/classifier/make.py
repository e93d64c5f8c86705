"""A tiny OpenCLIP checkpoint with the real vocabulary, and what open_clip's build_zero_shot_classifier makes with it.

Made with open_clip 3.3.0 and torch 2.13.0, CPU, float32 computed from the float16 weights as written.
expected.json: the ensembled class embeddings (classes, 8), and every prompt's normalised embedding
(classes * templates, 8), both base64 of little-endian float32.
"""
import base64
import json
import os

import open_clip
import torch
from open_clip.model import CLIP
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "openclip-tiny")
LABELS = ["dog", "tabby cat", "crème brûlée", "space shuttle", "t-shirt, grey", "Granny Smith", "crane (machine)"]
TEMPLATES = list(open_clip.OPENAI_IMAGENET_TEMPLATES)

cfg = dict(
    embed_dim=8,
    vision_cfg=dict(image_size=16, patch_size=8, width=8, head_width=8, layers=1, mlp_ratio=2.0),
    text_cfg=dict(context_length=77, vocab_size=49408, width=8, heads=1, layers=2),
)
torch.manual_seed(7)
model = CLIP(**cfg)
with torch.no_grad():
    for name, p in model.named_parameters():
        if name == "logit_scale":
            continue
        if name.endswith("bias"):
            p.normal_(0, 0.1)
        elif "ln_" in name:
            p.copy_(1 + 0.1 * torch.randn_like(p))
        else:
            p.normal_(0, 0.35)
os.makedirs(MODEL, exist_ok=True)
save_file({k: v.half() for k, v in model.state_dict().items() if k != "attn_mask"}, f"{MODEL}/open_clip_model.safetensors")
pre = dict(mean=[0.5] * 3, std=[0.5] * 3, interpolation="bicubic", resize_mode="shortest")
json.dump(dict(model_cfg=cfg, preprocess_cfg=pre), open(f"{MODEL}/open_clip_config.json", "w"), indent=2)

oracle = CLIP(**cfg)
oracle.load_state_dict({k: v.float() for k, v in load_file(f"{MODEL}/open_clip_model.safetensors").items()}, strict=False)
oracle.eval()
tokenizer = open_clip.SimpleTokenizer(context_length=77)


def b64(x):
    return base64.b64encode(x.contiguous().float().numpy().tobytes()).decode()


with torch.no_grad():
    weights = open_clip.build_zero_shot_classifier(oracle, tokenizer, LABELS, TEMPLATES, num_classes_per_batch=3)
    prompts = [t(label) for label in LABELS for t in TEMPLATES]
    rows = oracle.encode_text(tokenizer(prompts), normalize=True)
json.dump(
    dict(
        madeBy=f"open_clip {open_clip.__version__}, torch {torch.__version__}",
        labels=LABELS,
        prompts=[p for p in prompts[: len(TEMPLATES)]],
        dim=8,
        classes=b64(weights.T),
        promptEmbeddings=b64(rows),
    ),
    open(os.path.join(HERE, "expected.json"), "w"),
    ensure_ascii=False,
    indent=1,
)
print((weights.T[0] - weights.T[1]).norm())
