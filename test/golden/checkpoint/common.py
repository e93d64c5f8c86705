"""Shared by the generators: seeded weights, and inputs that a test can make again from a formula."""
import json
import os

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
IMAGES = 2


def seeded(model, seed):
    """Random weights large enough that activations, norms and biases all show in the output; norm-like vectors near 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if name.endswith("logit_scale"):
                p.fill_(2.75)
                continue
            if name.endswith("logit_bias"):
                p.fill_(-1.5)
                continue
            if name.endswith("gamma"):  # layer scales
                p.copy_(0.5 + 0.2 * torch.randn(p.shape, generator=generator))
                continue
            noise = torch.randn(p.shape, generator=generator)
            near_one = p.ndim == 1 and name.endswith("weight")
            scale = 0.2 if p.ndim < 2 else 0.6 / np.sqrt(p[0].numel())
            if "embedding" in name or name.endswith(("pos_embed", "latent", "probe")):
                scale = 0.3
            p.copy_(noise * scale + (1.0 if near_one else 0.0))
        for name, b in sorted(model.named_buffers()):
            if name.endswith("running_mean"):
                b.copy_(torch.randn(b.shape, generator=generator) * 0.1)
            if name.endswith("running_var"):
                b.copy_(0.5 + torch.rand(b.shape, generator=generator))
    return model.eval()


def pixels(size):
    """(IMAGES, 3, size, size): a Weyl sequence over the index, in [-2, 2)."""
    n = IMAGES * 3 * size * size
    i = np.arange(n, dtype=np.uint64)
    u = (i * np.uint64(2654435761) + np.uint64(12345)) % np.uint64(1 << 32)
    u = (u ^ (u >> np.uint64(15))).astype(np.float64)
    x = u / 4294967296.0 * 4 - 2
    return torch.from_numpy(x.astype(np.float32).reshape(IMAGES, 3, size, size))


def texts(vocab, context, start, end):
    """Three texts: short, middling, and as long as the context."""
    rng = np.random.default_rng(7)
    lengths = [3, context // 2, context]
    return [[start, *(int(v) for v in rng.integers(0, start, n - 2)), end] for n in lengths]


def padded(ids, context, pad):
    return torch.tensor([row + [pad] * (context - len(row)) for row in ids])


def write_expected(name, image_size, ids, image, text, **facts):
    path = os.path.join(HERE, "expected.json")
    expected = json.load(open(path)) if os.path.exists(path) else {}
    expected[name] = {
        "imageSize": image_size,
        "texts": ids,
        # shortest decimal form that reads back as the same float32
        "image": [[float(str(v)) for v in row] for row in image.float().numpy()],
        "text": [[float(str(v)) for v in row] for row in text.float().numpy()],
        **facts,
    }
    with open(path, "w") as f:
        json.dump(dict(sorted(expected.items())), f, separators=(",", ":"))
        f.write("\n")
