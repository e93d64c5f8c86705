"""Golden values of the kernels, from the original implementations, for test/kernels/golden.test.ts.

    python test/golden/kernels/make.py

Made with torch 2.13.0 (CPU, float64 then rounded to float32 where it says so) and numpy.
"""
import json
import os

import torch
import torch.nn.functional as F

torch.manual_seed(20261)
torch.set_num_threads(1)
here = os.path.dirname(os.path.abspath(__file__))


def flat(t):
    return [float(f"{v:.9g}") for v in t.detach().to(torch.float32).flatten().tolist()]


def single(*shape, scale=1.0):
    """float32 values, held in float64: the function is computed exactly enough to be rounded once."""
    return (torch.randn(*shape) * scale).to(torch.float32).to(torch.float64)


out = {"torch": torch.__version__, "cases": {}}

x, w, b, r = single(5, 24), single(7, 24, scale=0.3), single(7), single(5, 7)
y = F.linear(x, w, b)
out["cases"]["linear"] = {
    "x": flat(x), "weight": flat(w), "bias": flat(b), "residual": flat(r),
    "none": flat(y),
    "gelu": flat(F.gelu(y)),
    "quickGelu": flat(y * torch.sigmoid(1.702 * y)),  # clip/model.py, class QuickGELU
    "geluResidual": flat(F.gelu(y) + r),
}

x, w, b = single(4, 30) + 0.5, single(30), single(30)
x = x.to(torch.float32).to(torch.float64)
out["cases"]["layerNorm"] = {"x": flat(x), "weight": flat(w), "bias": flat(b),
                             "y": flat(F.layer_norm(x, (30,), w, b, 1e-5))}

# [sequence, token, head, headDim] here, [sequence, head, token, headDim] in torch
q, k, v = (single(2, 9, 2, 8) for _ in range(3))
heads_first = [t.transpose(1, 2) for t in (q, k, v)]
out["cases"]["attention"] = {
    "q": flat(q), "k": flat(k), "v": flat(v),
    "full": flat(F.scaled_dot_product_attention(*heads_first).transpose(1, 2)),
    "causal": flat(F.scaled_dot_product_attention(*heads_first, is_causal=True).transpose(1, 2)),
}

i, c = single(3, 16, scale=5), single(11, 16)
cosine = F.normalize(i, dim=-1) @ F.normalize(c, dim=-1).T
top = (100 * cosine).softmax(-1).topk(4)
out["cases"]["cosine"] = {
    "queries": flat(i), "classes": flat(c),
    "cosine": flat(cosine), "logit": flat(100 * cosine), "probability": flat((100 * cosine).softmax(-1)),
    "topIndex": top.indices.flatten().tolist(), "topValue": flat(top.values),
}

# Channels last here, first in torch; the weight's columns are (y, x, channel).
x, b, r = single(2, 6, 7, 5), single(4), single(2 * 3 * 4, 4)
w = single(4, 3, 3, 5, scale=0.3)
first = x.permute(0, 3, 1, 2)
y = F.conv2d(first, w.permute(0, 3, 1, 2), b, stride=2, padding=1)
one = F.conv2d(first, w[:, 1:2, 1:2].permute(0, 3, 1, 2), b)
out["cases"]["conv"] = {
    "x": flat(x), "weight": flat(w), "bias": flat(b), "residual": flat(r),
    "stride2": flat(y.relu().permute(0, 2, 3, 1)),
    "kernel1": flat(one.relu().permute(0, 2, 3, 1)),
    # The end of a bottleneck: relu(conv3(x) + identity), here of pixels as rows.
    "bottleneck": flat((F.linear(x.reshape(-1, 5)[:24], w[:, 1, 1], b) + r).relu()),
    "pool": flat(F.avg_pool2d(first, 2).permute(0, 2, 3, 1)),
    "poolAll": flat(F.avg_pool2d(first, (6, 7)).permute(0, 2, 3, 1)),
}

with open(os.path.join(here, "kernels.json"), "w") as f:
    json.dump(out, f)
    f.write("\n")
