"""Golden results of Tip-Adapter-F and of contrastive adaptation, for test/learn/training.test.ts.

    python test/golden/learn/make_training.py

PyTorch 2.13.0 in float64: torch.optim.AdamW, CosineAnnealingLR stepped per batch, the loss of the published Tip-Adapter
code and open_clip's ClipLoss. Inputs by the formula of the test (mulberry32); batches in its order.
"""
import json
import os

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss

from make_logistic import generator

here = os.path.dirname(os.path.abspath(__file__))
torch.set_default_dtype(torch.float64)


def uniform(seed, *shape):
    u = generator(seed)
    return np.array([2 * next(u) - 1 for _ in range(int(np.prod(shape)))]).reshape(shape)


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def orders(n, seed, epochs):
    """Fisher and Yates, as native/learn/adamw.h."""
    u, order = generator(seed), list(range(n))
    for _ in range(epochs):
        for i in range(n - 1, 0, -1):
            j = int(next(u) * (i + 1))
            order[i], order[j] = order[j], order[i]
        yield list(order)


def tip(rows, dim, classes, alpha, beta, scale, epochs, batch, rate, decay, seed):
    labels = np.arange(rows) % classes
    x = torch.tensor(unit(uniform(1, rows, dim) + 2 * uniform(2, classes, dim)[labels])).double()
    w = torch.tensor(unit(uniform(3, classes, dim))).double()
    y = torch.tensor(labels)
    adapter = torch.nn.Linear(dim, rows, bias=False)
    adapter.weight = torch.nn.Parameter(x.clone())
    values = F.one_hot(y, classes).double()
    batches = -(-rows // batch)
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=rate, eps=1e-4, weight_decay=decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    for order in orders(rows, seed, epochs):
        losses = 0.0
        for b in range(batches):
            i = order[b * batch:(b + 1) * batch]
            affinity = adapter(x[i])
            logits = scale * x[i] @ w.T + (-(beta - beta * affinity)).exp() @ values * alpha
            loss = F.cross_entropy(logits, y[i])
            losses += loss.item() * len(i)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    return losses / rows, adapter.weight.detach().numpy()


def contrastive(pairs, wi, wt, dim, scale, epochs, batch, rate, decay, seed, bias):
    fi, ft = (torch.tensor(uniform(s, pairs, w).astype(np.float32)).double() for s, w in ((4, wi), (5, wt)))
    pi, pt = (torch.nn.Parameter(torch.tensor((0.3 * uniform(s, dim, w)).astype(np.float32)).double())
              for s, w in ((6, wi), (7, wt)))
    b = torch.tensor(uniform(8, dim).astype(np.float32)).double() if bias else torch.zeros(dim)
    s = torch.nn.Parameter(torch.tensor(np.log(scale)))
    batches = pairs // batch + (pairs % batch > 1)
    optimizer = torch.optim.AdamW([{"params": [pi, pt], "weight_decay": decay}, {"params": [s], "weight_decay": 0}],
                                  lr=rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    for order in orders(pairs, seed, epochs):
        losses = 0.0
        for k in range(batches):
            i = order[k * batch:(k + 1) * batch]
            loss = ClipLoss()(F.normalize(fi[i] @ pi.T + b, dim=-1), F.normalize(ft[i] @ pt.T, dim=-1), s.exp())
            losses += loss.item() / batches
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            with torch.no_grad():
                s.clamp_(max=np.log(100))
    return losses, s.exp().item(), pi.detach().numpy(), pt.detach().numpy()


def some(a):
    a = a.ravel()
    at = np.linspace(0, a.size - 1, min(a.size, 150)).astype(int)
    return {"at": at.tolist(), "values": [float(f"{v:.9g}") for v in a[at]]}


if __name__ == "__main__":
    out = {"torch": torch.__version__, "tip": [], "contrastive": []}
    for c in [
        dict(rows=24, dim=9, classes=3, alpha=1.0, beta=5.5, scale=10.0, epochs=1, batch=24, rate=1e-3, decay=0.01, seed=1),
        dict(rows=50, dim=17, classes=5, alpha=2.0, beta=1.0, scale=30.0, epochs=4, batch=16, rate=1e-2, decay=0.0, seed=7),
    ]:
        loss, keys = tip(**c)
        out["tip"].append({**c, "loss": loss, "keys": some(keys)})
        print(loss)
    for c in [
        dict(pairs=12, wi=7, wt=5, dim=6, scale=10.0, epochs=2, batch=12, rate=1e-3, decay=0.01, seed=1, bias=False),
        dict(pairs=41, wi=20, wt=11, dim=8, scale=99.5, epochs=5, batch=10, rate=1e-2, decay=0.1, seed=3, bias=True),
    ]:
        loss, scale, image, text = contrastive(**c)
        out["contrastive"].append({**c, "loss": loss, "logitScale": scale, "image": some(image), "text": some(text)})
        print(loss, scale)
    with open(os.path.join(here, "training.json"), "w") as f:
        json.dump(out, f, separators=(",", ":"))
