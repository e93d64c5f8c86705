"""Reduced relatives of CLIP in OpenCLIP's layout that differ from it in names and details: see make_siglip.py.

MobileCLIP2-L-14 (a trunk of timm, texts without a mask, pooled at the largest id), EVA01-g-14 (keys without a bias),
vit_medium_patch16_gap_256 (no biases of queries, keys and values, layer scales, the mean of all patches after the last norm),
ViT-M-16-alt (layer scales).
"""
from make_siglip import openclip

if __name__ == "__main__":
    text = dict(width=48, heads=2, layers=1, mlp_ratio=2.0)
    openclip("openclip-mobileclip2-l", 31, "MobileCLIP2-L-14", dict(embed_dim=64, depth=2, num_heads=1, mlp_ratio=1.25),
             text, 24, 45, None, tag="dfndr2b")
    openclip("openclip-eva01", 32, "EVA01-g-14", dict(embed_dim=88, depth=1, num_heads=1, mlp_ratio=1.25), text, 24, 42, None,
             tag="laion400m_s11b_b41k")
    openclip("openclip-gap", 33, "vit_medium_patch16_gap_256", dict(embed_dim=64, depth=2, num_heads=1, mlp_ratio=1.25), text,
             24, 48, None, tag=None)
    openclip("openclip-layer-scale", 34, "ViT-M-16-alt", {}, text, 24, 48, None, tag=None, layers=2, width=64, mlp_ratio=1.25)
