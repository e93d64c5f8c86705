"""Golden values of multinomial logistic regression, for test/learn/logistic.test.ts.

    python test/golden/learn/make_logistic.py

The features come from a formula that the test repeats (mulberry32), so only results are stored. Made with scikit-learn
1.9.1: LogisticRegression(solver='lbfgs'), run until its gradient is as good as zero.
"""
import json
import os

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression

here = os.path.dirname(os.path.abspath(__file__))


def generator(seed):
    state = seed & 0xFFFFFFFF
    while True:
        state = (state + 0x6D2B79F5) & 0xFFFFFFFF
        t = ((state ^ (state >> 15)) * (1 | state)) & 0xFFFFFFFF
        t = ((t + (((t ^ (t >> 7)) * (61 | t)) & 0xFFFFFFFF)) & 0xFFFFFFFF) ^ t
        yield ((t ^ (t >> 14)) & 0xFFFFFFFF) / 4294967296


def problem(seed, rows, width, classes, spread):
    """Class centres in [-1, 1), samples around them: features of float32, labels by turns."""
    u = generator(seed)
    centres = np.array([2 * next(u) - 1 for _ in range(classes * width)]).reshape(classes, width)
    labels = np.arange(rows) % classes
    noise = np.array([2 * next(u) - 1 for _ in range(rows * width)]).reshape(rows, width)
    return (centres[labels] + spread * noise).astype(np.float32), labels


if __name__ == "__main__":
    cases = []
    for seed, rows, width, classes, spread, c in [
        (1, 60, 5, 2, 2.0, 1.0),
        (2, 90, 7, 3, 3.0, 0.01),
        (3, 203, 33, 10, 4.0, 0.316),
        (4, 203, 33, 10, 4.0, 10.0),
        (5, 64, 192, 8, 3.0, 1.0),  # more features than samples
        (6, 600, 64, 80, 4.0, 0.1),  # large enough for the float32 part
        (7, 40, 6, 4, 0.1, 1000.0),  # separable, hardly penalised
    ]:
        x, y = problem(seed, rows, width, classes, spread)
        model = LogisticRegression(C=c, solver="lbfgs", tol=1e-10, max_iter=100000).fit(x.astype(np.float64), y)
        w, b = model.coef_, model.intercept_
        if classes == 2:  # scikit-learn keeps one vector: the same function as two opposite halves
            w, b = np.concatenate([-w / 2, w / 2]), np.concatenate([-b / 2, b / 2])
        z = x.astype(np.float64) @ w.T + b
        top = z.max(axis=1)
        losses = np.log(np.exp(z - top[:, None]).sum(axis=1)) + top - z[np.arange(rows), y]
        two = np.sort(z, axis=1)[:, -2:]
        cases.append({
            "seed": seed, "rows": rows, "width": width, "classes": classes, "spread": spread, "c": c,
            "loss": float(0.5 * (w ** 2).sum() + c * losses.sum()),
            "predictions": [int(v) for v in z.argmax(axis=1)],
            "close": [int(i) for i in np.flatnonzero(two[:, 1] - two[:, 0] <= 1e-4)],
        })
        print(cases[-1]["loss"], model.n_iter_, len(cases[-1]["close"]), (z.argmax(axis=1) == y).mean())

    with open(os.path.join(here, "logistic.json"), "w") as f:
        json.dump({"sklearn": sklearn.__version__, "cases": cases}, f, separators=(",", ":"))
