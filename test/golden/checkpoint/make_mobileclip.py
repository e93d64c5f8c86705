"""A reduced MobileCLIP-B in OpenCLIP's layout: see make_siglip.py. timm fixes the widths of its stem, which is narrower here."""
from timm.models import vision_transformer_hybrid as hybrid

from make_siglip import openclip

stem = hybrid.ConvStem
hybrid.ConvStem = lambda channels, **arguments: stem(channels=(12, 20, 64), **arguments)

if __name__ == "__main__":
    text = dict(width=48, heads=2, layers=1, mlp_ratio=2.0)
    openclip("openclip-mobileclip-b", 43, "MobileCLIP-B", dict(embed_dim=64, depth=2, num_heads=1, mlp_ratio=1.25), text, 24, 48,
             None, tag="datacompdr")
