"""Golden losses and gradients of softmaxCrossEntropy, for test/kernels/softmax-cross-entropy.test.ts.

    python test/golden/kernels/make_softmax_cross_entropy.py

PyTorch 2.13.0's torch.nn.functional.cross_entropy and its autograd, in float64. Ordinary logits come from the formula of
the test (mulberry32), extreme ones stand in the file. Numbers that JSON does not have are strings.
"""
import json
import math
import os

import torch

here = os.path.dirname(os.path.abspath(__file__))
IGNORED = -100


def generator(seed):
    """mulberry32, as test/helpers/random.ts."""
    state = seed & 0xFFFFFFFF
    while True:
        state = (state + 0x6D2B79F5) & 0xFFFFFFFF
        t = ((state ^ (state >> 15)) * (1 | state)) & 0xFFFFFFFF
        t = ((t + (((t ^ (t >> 7)) * (61 | t)) & 0xFFFFFFFF)) & 0xFFFFFFFF) ^ t
        yield ((t ^ (t >> 14)) & 0xFFFFFFFF) / 4294967296


def plain(values):
    return [v if math.isfinite(v) else str(v) for v in (float(f"{v:.12g}") for v in values)]


def losses(logits, targets):
    """Of each row, their mean, and the gradient of the mean."""
    x = logits.clone().requires_grad_(True)
    rows = torch.nn.functional.cross_entropy(x, targets, reduction="none", ignore_index=IGNORED)
    mean = torch.nn.functional.cross_entropy(x, targets, ignore_index=IGNORED)
    mean.backward()
    return rows.detach(), mean.item(), x.grad


inf, nan = math.inf, math.nan
extremes = [
    ([0.0, 0.0, 0.0, 0.0], 2),
    ([1000.0, -1000.0, 999.0, 0.0], 1),
    ([1e30, -1e30, 0.0, 1e30], 0),
    ([88.0, 89.0, 90.0, 104.0], 3),
    ([-inf, 1.0, 2.0, -inf], 1),
    ([-inf, 1.0, 2.0, -inf], 0),
    ([-inf, -inf, -inf, -inf], 3),
    ([inf, 1.0, 2.0, 3.0], 0),
    ([inf, 1.0, 2.0, 3.0], 2),
    ([inf, -inf, inf, 3.0], 1),
    ([nan, 1.0, 2.0, 3.0], 1),
    ([nan, -inf, -inf, -inf], 1),
    ([0.5, 1.0, nan, 3.0], 2),
    ([3.0, 2.0, 1.0, 0.0], IGNORED),
    ([-1e-30, 1e-30, 0.0, -0.0], 0),
]

if __name__ == "__main__":
    cases = []
    for seed, rows, cols, scale, ignored in [
        (1, 1, 1, 5.0, []),
        (2, 3, 2, 1.0, [1]),
        (3, 7, 33, 4.0, [0, 6]),
        (4, 5, 1000, 10.0, []),
        (5, 2, 2500, 30.0, []),
        (6, 4, 9, 1.0, [0, 1, 2, 3]),
    ]:
        u = generator(seed)
        # float32 before float64: what the kernels are given.
        values = torch.tensor([scale * (2 * next(u) - 1) for _ in range(rows * cols)], dtype=torch.float32)
        targets = [int(next(u) * cols) for _ in range(rows)]
        torch_targets = torch.tensor([IGNORED if r in ignored else t for r, t in enumerate(targets)])
        of_rows, mean, gradient = losses(values.double().reshape(rows, cols), torch_targets)
        flat = gradient.flatten()
        pick = torch.linspace(0, len(flat) - 1, min(len(flat), 300)).long().tolist()
        cases.append({
            "seed": seed, "rows": rows, "cols": cols, "scale": scale, "targets": targets, "ignored": ignored,
            "loss": plain(of_rows.tolist()), "mean": plain([mean])[0], "pick": pick,
            "gradient": plain(flat[pick].tolist()),
        })
    logits = torch.tensor([row for row, _ in extremes], dtype=torch.float32).double()
    targets = [t for _, t in extremes]
    of_rows, _, _ = losses(logits, torch.tensor(targets))
    # Row by row, so that one row's NaN is not in the mean of all.
    gradients = [losses(logits[r : r + 1], torch.tensor([t]))[2].flatten().tolist() for r, t in enumerate(targets)]
    extreme = [
        {"logits": plain(row), "target": t, "loss": plain([of_rows[r].item()])[0], "gradient": plain(gradients[r])}
        for r, (row, t) in enumerate(extremes)
    ]
    with open(os.path.join(here, "softmax-cross-entropy.json"), "w") as f:
        json.dump({"torch": torch.__version__, "cases": cases, "extremes": extreme}, f, separators=(",", ":"))
        f.write("\n")
    for e in extreme:
        print(e)
