"""One tiny OpenCLIP model in the files that training codes leave behind, as torch.save and safetensors write them.

Each holds the same float32 numbers (all of them float16 numbers), so each must give the embeddings of plain.pt to the bit.
Made with torch 2.13.0, open_clip 3.3.0, numpy 2: python make_trained.py
"""
import argparse
import collections
import gzip
import io
import os

import numpy as np
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file

from common import HERE

OUT = os.path.join(HERE, "trained")
os.makedirs(OUT, exist_ok=True)
torch.manual_seed(5)
text = dict(context_length=6, vocab_size=20, width=8, heads=1, layers=1)
vision = dict(image_size=16, patch_size=8, width=8, layers=1, head_width=8, mlp_ratio=2.0)
model = CLIP(4, vision, text, quick_gelu=True).eval()
for parameter in model.parameters():
    parameter.data = (torch.randn_like(parameter) * 0.3 + (1.5 if parameter.dim() == 0 else 0)).half().float()
state = {k: v.clone() for k, v in model.state_dict().items()}
float_state = {k: v for k, v in state.items() if v.is_floating_point()}
optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
sum((p**2).sum() for p in model.parameters()).backward()
optimizer.step()
model.zero_grad(set_to_none=True)
model.load_state_dict(state)


def save(name, value, **options):
    file = io.BytesIO()
    torch.save(value, file, **options)
    with gzip.GzipFile(os.path.join(OUT, f"{name}.pt.gz"), "wb", mtime=0) as out:
        out.write(file.getvalue())


def prefixed(prefix, values=state):
    return collections.OrderedDict((prefix + k, v) for k, v in values.items())


# What stands beside the weights in practice: none of it may be called or get in the way.
beside = {
    "args": argparse.Namespace(lr=1e-3, nested=argparse.Namespace(a=1)),
    "metric": np.float32(0.5),
    "history": np.arange(5),
    "numpy_rng": np.random.RandomState(1).get_state(),
    "torch_rng": torch.get_rng_state()[:64].clone(),
    "default": collections.defaultdict(list, {"a": [1]}),
    "counter": collections.Counter("hello"),
    "sets": [{1, 2}, frozenset([3])],
    "large": 10**30,
    "negative": -(2**40),
    "bytes": b"abc",
    "complex": 1 + 2j,
    "keys": {(1, 2): 3, None: 4, True: 5},
    "dtype": torch.float16,
    "size": torch.Size([1, 2]),
    "device": torch.device("cpu"),
}
averaged = {k: torch.ones_like(v) for k, v in state.items()}
shared = torch.cat([v.flatten() for v in float_state.values()])
views, at = dict(state), 0
for k, v in float_state.items():
    views[k] = shared[at : at + v.numel()].view(v.shape)
    at += v.numel()
marked = torch.nn.Parameter(state["visual.proj"].clone())
marked.note = "a parameter with an attribute"

save("plain", state)
save_file(state, os.path.join(OUT, "plain.safetensors"))
save("model_state_dict", {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": optimizer.state_dict(), "loss": torch.tensor(0.5)})
save(
    "lightning",
    {
        "epoch": 1,
        "state_dict": {**prefixed("model."), "classifier.weight": torch.zeros(3, 4)},
        "callbacks": {"ModelCheckpoint{}": {"best": torch.tensor(1.0)}},
        "optimizer_states": [optimizer.state_dict()],
        "hyper_parameters": argparse.Namespace(a=1),
    },
)
for protocol in (2, 3, 4, 5):
    save(f"protocol-{protocol}", {"state_dict": state, **beside}, pickle_protocol=protocol)
save("old-protocol-2", {"state_dict": state, **beside}, _use_new_zipfile_serialization=False)
save("old-protocol-4", {"state_dict": views, **beside}, pickle_protocol=4, _use_new_zipfile_serialization=False)
save("parameters", {"net": {k: torch.nn.Parameter(v) if v.is_floating_point() else v for k, v in state.items()} | {"visual.proj": marked}})
save("averaged", {"model": state, "model_ema": prefixed("module.", averaged)})
save("views", {"checkpoint": {"model": views}})
save("transposed", {k: v.t().contiguous().t() if v.dim() == 2 else v for k, v in state.items()})
save("float64", {k: v.double() if v.is_floating_point() else v for k, v in state.items()})
save("mixed", {k: v.half() if i % 2 else v for i, (k, v) in enumerate(state.items())})
save("aliases", {"model": state, "module": state})
save("module-object", torch.nn.DataParallel(model))
save("pair", (3, state))
