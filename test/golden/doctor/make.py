"""Writes models/icon-clip/golden.json: what PyTorch computes for the example images and labels, for `clip-native doctor`.

python test/golden/doctor/make.py   (torch, transformers, Pillow; versions are written into the file)
"""
import base64
import json
import os

import numpy as np
import PIL
import torch
import transformers
from PIL import Image

torch.use_deterministic_algorithms(True)
folder = os.path.join(os.path.dirname(__file__), *[".."] * 3, "models", "icon-clip")
expected = json.load(open(os.path.join(folder, "examples", "expected.json")))
model = transformers.CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
vocab = json.load(open(os.path.join(folder, "vocab.json")))
merges = open(os.path.join(folder, "merges.txt"), encoding="utf-8").read().split("\n")[1:]
rank = {tuple(m.split()): i for i, m in enumerate(m for m in merges if m)}
size, mean, std = 72, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def pixels(path):
    """OpenAI's order: resize, centre crop, then RGB, then normalise."""
    image = Image.open(path)
    assert image.mode == "RGB", path  # a palette would be resized NEAREST, and expected.json was made from RGB
    w, h = image.size
    short = min(w, h)
    image = image.resize((size * w // short, size * h // short), Image.BICUBIC)
    w, h = image.size
    x, y = round((w - size) / 2), round((h - size) / 2)
    image = image.crop((x, y, x + size, y + size)).convert("RGB")
    value = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    return (value - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def ids(text):
    """Byte-pair encoding of plain lower-case words (the labels are nothing else)."""
    out = [vocab["<|startoftext|>"]]
    for word in text.split():
        symbols = [*word[:-1], word[-1] + "</w>"]
        while True:
            pairs = [(rank.get(p, 1 << 30), i) for i, p in enumerate(zip(symbols, symbols[1:]))]
            if not pairs or min(pairs)[0] == 1 << 30:
                break
            _, i = min(pairs)
            symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
        out += [vocab[s] for s in symbols]
    return out + [vocab["<|endoftext|>"]]


def encode(values):
    values = values / values.norm(dim=-1, keepdim=True)
    return base64.b64encode(values.numpy().astype("<f4").tobytes()).decode()


images = sorted(name for name in expected["probabilities"] if "/" not in name)
texts = [expected["template"].replace("{}", label) for label in expected["labels"]]
with torch.no_grad():
    px = torch.stack([pixels(os.path.join(folder, "examples", name)) for name in images])
    image = model.visual_projection(model.vision_model(pixel_values=px).pooler_output)
    text = torch.cat(
        [model.text_projection(model.text_model(input_ids=torch.tensor([ids(t)])).pooler_output) for t in texts]
    )
    logits = model.logit_scale.exp() * torch.nn.functional.normalize(image) @ torch.nn.functional.normalize(text).T
    for name, row in zip(images, logits.softmax(-1)):
        worst = (row - torch.tensor(expected["probabilities"][name])).abs().max().item()
        assert worst < 2e-6, (name, worst)
json.dump(
    {
        "made_with": {"torch": torch.__version__, "transformers": transformers.__version__, "Pillow": PIL.__version__},
        "what": "normalised float32 embeddings, little-endian, base64, of examples/ and of the labels in the template",
        "dim": image.shape[1],
        "images": images,
        "texts": texts,
        "image": encode(image),
        "text": encode(text),
    },
    open(os.path.join(folder, "golden.json"), "w"),
    indent=1,
)
print(len(images), len(texts), "written")
