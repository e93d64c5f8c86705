"""Reduced ConvNeXts in OpenCLIP's layout: see make_siglip.py.

convnext_large_d (a projection of two layers), at a side of 72 pixels: 18, 9, 4 and 2 pixels per side, so that the downsampling
leaves rows and columns out; convnext_xxlarge (a matrix, and epsilon 1e-5).
"""
from make_siglip import openclip

if __name__ == "__main__":
    text = dict(width=48, heads=2, layers=1, mlp_ratio=2.0)
    openclip("openclip-convnext", 41, "convnext_large_d", dict(img_size=None, depths=(1, 2, 1, 1), dims=(12, 20, 24, 36)), text,
             24, 72, None, tag="laion2b_s26b_b102k_augreg")
    openclip("openclip-convnext-xxlarge", 42, "convnext_xxlarge", dict(img_size=None, depths=(1, 1, 1, 1), dims=(8, 12, 16, 20)),
             text, 24, 64, None, tag="laion2b_s34b_b82k_augreg")
