"""Reduced towers with rotary position embedding in OpenCLIP's layout: see make_siglip.py.

PE-Core-T-16-384 (angles from 1 on, columns first, an attention pool of 8 heads over all rows, an image whose rest of 3 pixels
is left out) and EVA02-L-14 (angles of 16 patches per side for a grid of 3, rows first, a gated MLP with an odd hidden width,
norms inside the blocks, keys without a bias).
"""
from make_siglip import openclip

if __name__ == "__main__":
    text = dict(width=48, heads=2, layers=1, mlp_ratio=2.0)
    openclip("openclip-pe", 41, "PE-Core-T-16-384",
             dict(embed_dim=64, depth=2, num_heads=1, mlp_ratio=1.25, attn_pool_mlp_ratio=1.5, ref_feat_shape=(3, 3)),
             text, 24, 51, None, tag="meta")
    openclip("openclip-eva02", 42, "EVA02-L-14", dict(embed_dim=64, depth=2, num_heads=1, mlp_ratio=1.34), text, 24, 42, None,
             tag="merged2b_s4b_b131k")
