"""Golden values of the embedded model from PyTorch float32: embeddings.json and heldout.json beside this file.

Pixels are made by Pillow in OpenAI's order (torchvision's transforms on a PIL image, as openai/CLIP's `_transform`:
resize, centre crop, convert to RGB, to tensor, normalise) and fed as pixel_values to transformers' CLIPModel.

Made with torch 2.13.0, torchvision 0.28.0, transformers 5.17.0, Pillow 12.3.0; run from the repository's root:
  python test/golden/icon-clip/make.py
"""
import base64
import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
import transformers
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor
from transformers import CLIPModel, CLIPTokenizer

here = Path(__file__).resolve().parent
root = here.parents[2]
folder = root / "models/icon-clip"
torch.set_grad_enabled(False)
torch.set_num_threads(1)

model = CLIPModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
tokenizer = CLIPTokenizer.from_pretrained(folder)
processor = json.loads((folder / "preprocessor_config.json").read_text())
size = processor["crop_size"]["height"]
transform = Compose([
    Resize(size, interpolation=InterpolationMode.BICUBIC), CenterCrop(size), lambda image: image.convert("RGB"),
    ToTensor(), Normalize(processor["image_mean"], processor["image_std"]),
])

IMAGES = [f"models/icon-clip/examples/{name}" for name in [
    "anchor.png", "bicycle.jpg", "calendar.png", "camera.png", "dog.png", "guitar.jpg", "pizza.png", "rocket.png",
    "strawberry.png", "hard/alarm-clock.jpg", "hard/bus.jpg", "hard/umbrella.png"]]
TEXTS = [
    "a", "dog", "an icon of a dog", "an icon of a cat", "an emoji of a dog", "an icon of an alarm clock",
    "an icon of an alarm", "strawberry", "a photo of a strawberry", "pizza icon", "a drawing of pizza",
    "a picture of a rocket", "a picture of a rocket in the sky", "a symbol of {}", "anchor, bicycle, calendar",
    "THE QUICK brown fox jumps over the lazy dog", "smiling face with open mouth & smiling eyes", "1234567890",
    "naïve café", "woman: medium-light skin tone", "",
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen",
]


def encode(values):
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()


def opened(path):
    """An image by its path from the repository's root; those of test/data are members of its archives."""
    if not path.startswith("test/data/"):
        return Image.open(root / path)
    name = path.removeprefix("test/data/")
    with tarfile.open(root / f"test/data/{name.split('/')[0]}.tar") as archive:
        return Image.open(io.BytesIO(archive.extractfile(name).read()))


def pixels(file, rgb_first=False):
    with opened(file) as image:
        return transform(image.convert("RGB") if rgb_first else image)


def image_outputs(batch):
    out = model.vision_model(pixel_values=batch)
    tokens = model.vision_model.post_layernorm(out.last_hidden_state)
    return model.visual_projection(out.pooler_output), out.pooler_output, tokens


def text_outputs(ids):
    out = model.text_model(input_ids=torch.tensor([ids]))
    return model.text_projection(out.pooler_output)[0], out.pooler_output[0], out.last_hidden_state[0]


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


rows = list(csv.DictReader(open(root / "test/data/heldout.csv", newline="")))
extra = [rows[i]["file"] for i in (0, 77, 200, 333, 500, 640, 777)]
images = IMAGES + [f"test/data/{file}" for file in extra] + [
    "test/data/digits/eight/000.png",
    "test/data/fewshot/barricade/ph--barricade.png",
]
golden = {
    "made_with": f"torch {torch.__version__.split('+')[0]}, torchvision {torchvision.__version__.split('+')[0]}, "
                 f"transformers {transformers.__version__}, Pillow {PIL.__version__}",
    "embedDim": model.config.projection_dim,
    "width": {"image": model.config.vision_config.hidden_size, "text": model.config.text_config.hidden_size},
    "images": [], "texts": [],
}
for file in images:
    embedding, pooled, tokens = image_outputs(pixels(file)[None])
    entry = {"file": file, "embedding": encode(embedding[0]), "pooled": encode(pooled[0])}
    if file in (IMAGES[0], IMAGES[10]):
        entry["tokens"] = encode(tokens[0])
    golden["images"].append(entry)
for text in TEXTS:
    ids = tokenizer(text)["input_ids"]
    embedding, pooled, tokens = text_outputs(ids)
    entry = {"text": text, "ids": ids, "embedding": encode(embedding), "pooled": encode(pooled)}
    if text in ("an icon of a dog", "an icon of an alarm clock"):
        entry["tokens"] = encode(tokens)
    golden["texts"].append(entry)
(here / "embeddings.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")

# Zero-shot on the held-out images: what PyTorch answers, per set and column of the model card. The images have
# palettes, which Pillow resizes NEAREST: in OpenAI's order ("openai") that is what the model sees. The card's numbers
# are of images that were converted to RGB before they were resized ("rgbFirst").
ENSEMBLE = ["{}", "an icon of {}", "an emoji of {}", "a drawing of {}", "a picture of {}", "a symbol of {}", "{} icon"]
CLOSE = 1e-3  # logits: closer top twos may fall either way
scale = model.logit_scale.exp()
heldout = {"made_with": golden["made_with"], "close": CLOSE, "sets": {}}
for name in ("noto", "lucide", "flat-color-icons"):
    members = [row for row in rows if row["set"] == name]
    labels = sorted({row["label"] for row in members})
    images = {order: unit(torch.cat([
        image_outputs(torch.stack([pixels(f"test/data/{row['file']}", order == "rgbFirst") for row in part]))[0]
        for part in (members[i:i + 32] for i in range(0, len(members), 32))])) for order in ("openai", "rgbFirst")}
    prompt = "an emoji of {}" if name == "noto" else "an icon of {}"
    columns = {}
    for column, templates in (("bare", ["{}"]), ("prompt", [prompt]), ("ensemble", ENSEMBLE)):
        texts = unit(torch.stack([
            torch.stack([unit(text_outputs(tokenizer(t.format(label))["input_ids"])[0]) for t in templates]).mean(0)
            for label in labels]))
        columns[column] = {"templates": templates}
        for order, features in images.items():
            logits = scale * features @ texts.T
            top = logits.topk(2, dim=1)
            answers = top.indices[:, 0].tolist()
            right = sum(labels[a] == row["label"] for a, row in zip(answers, members))
            close = [row["file"] for row, (a, b) in zip(members, top.values.tolist()) if a - b < CLOSE]
            columns[column][order] = {"right": right, "close": close, "answers": answers}
            print(name, column, order, right, len(members), f"{100 * right / len(members):.2f}", close, flush=True)
    heldout["sets"][name] = {"labels": labels, "images": len(members), "columns": columns}
(here / "heldout.json").write_text(json.dumps(heldout, ensure_ascii=False) + "\n")
