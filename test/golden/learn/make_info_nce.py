"""Golden loss and gradients of the contrastive objective, for test/kernels/info-nce.test.ts.

    python test/golden/learn/make_info_nce.py

open_clip 3.3.0's ClipLoss and PyTorch 2.13.0's autograd, in float64; inputs by the formula of the test (mulberry32).
"""
import json
import os

import numpy as np
import torch
from open_clip.loss import ClipLoss

from make_logistic import generator

here = os.path.dirname(os.path.abspath(__file__))


def inputs(seed, rows, dim, alike):
    """Rows of length 1; a text is its image's row mixed with noise."""
    u = generator(seed)
    values = np.array([2 * next(u) - 1 for _ in range(2 * rows * dim)]).reshape(2, rows, dim)
    images = values[0]
    texts = alike * images + (1 - alike) * values[1]
    unit = lambda x: (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return unit(images), unit(texts)


if __name__ == "__main__":
    cases = []
    for seed, rows, dim, alike, scale in [
        (1, 1, 8, 0.5, 10.0),
        (2, 2, 5, 0.5, 1.0),
        (3, 37, 33, 0.4, 14.285714),
        (4, 200, 16, 0.3, 100.0),  # more rows than one block
        (5, 130, 192, 0.0, 50.0),
    ]:
        i, t = inputs(seed, rows, dim, alike)
        i, t = (torch.tensor(v.astype(np.float64), requires_grad=True) for v in (i, t))
        s = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
        loss = ClipLoss()(i, t, s)
        loss.backward()
        pick = np.linspace(0, rows * dim - 1, min(rows * dim, 200)).astype(int)  # enough of them to compare
        case = {
            "seed": seed, "rows": rows, "dim": dim, "alike": alike, "scale": scale, "loss": loss.item(),
            "scaleGradient": s.grad.item(), "pick": pick.tolist(),
        }
        for name, x in (("images", i), ("texts", t)):
            g = x.grad.numpy().ravel()
            case[name] = [float(f"{v:.10g}") for v in g[pick]]
            case[name + "Norm"] = float(np.linalg.norm(g))
        cases.append(case)
        print(rows, dim, case["loss"], case["scaleGradient"], case["imagesNorm"])
    with open(os.path.join(here, "info-nce.json"), "w") as f:
        json.dump({"torch": torch.__version__, "cases": cases}, f, separators=(",", ":"))
