"""Full-size checkpoints, and what the original libraries compute from them in float32.

    python make.py weights FOLDER [NAME ...]    # writes random-weight checkpoints; all of models.py when none is named
    python make.py outputs FOLDER [NAME ...]    # runs every checkpoint of FOLDER, also one's own: FOLDER/expected.json
    python make.py outputs FOLDER --out FILE    # the same into FILE; entries of other checkpoints there stay

`npm run test:full -- FOLDER` compares with FOLDER/expected.json and with expected.json beside this script. Written with
torch 2.13.0, torchvision 0.28, transformers 5.17.0, open_clip 3.3.0, Pillow 12.3.0; a model of N parameters takes 8 to
12 N bytes of memory. The oracle of a file: transformers where there is a config.json with transformers' tensors, else
open_clip.
"""
import base64
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import time

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, HERE)
from models import CONTEXT, END, IDS, MODELS, padded, pixels  # noqa: E402

torch.set_num_threads(int(os.environ.get("THREADS", "1")))

#: Images by path from the package's root: a palette (resized as Pillow does palettes), and one that is made smaller.
IMAGES = ["test/data/heldout/flat-color-icons/alarm-clock.png", "models/icon-clip/examples/dog.png"]
TEXTS = ["a photo of a cat", "Café “quotes” &amp; 🚀 emoji, and a longer sentence about two dogs that chase one red ball."]


def weight_files(path):
    """What sha256 is of: the file, or the weight files of the folder in the order of their names."""
    if os.path.isfile(path):
        return [path]
    names = sorted(n for n in os.listdir(path) if n.endswith((".safetensors", ".bin", ".pt")))
    return [os.path.join(path, n) for n in names]


def sha256(path):
    digest = hashlib.sha256()
    for file in weight_files(path):
        with open(file, "rb") as f:
            while piece := f.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


def open_oracle(path):
    """(encode_image, encode_text, image size, what pads texts, who computes), in float32 from the stored weights."""
    if os.path.isdir(path) and os.path.exists(f"{path}/open_clip_config.json"):
        import open_clip
        from open_clip.model import CLIP, CustomTextCLIP

        config = json.load(open(f"{path}/open_clip_config.json"))["model_cfg"]
        kind = CustomTextCLIP if config.pop("custom_text", False) else CLIP
        with torch.device("meta"):
            model = kind(**config)
        (file,) = weight_files(path)
        if file.endswith(".safetensors"):
            from safetensors.torch import load_file

            state = load_file(file)
        else:
            state = torch.load(file, weights_only=True, mmap=True)
        for key in list(state):
            state[key] = state[key].float() if state[key].is_floating_point() else state[key]
        # attn_mask is made by the constructor and not saved.
        masks = {n: torch.full(b.shape, float("-inf")).triu_(1) for n, b in model.named_buffers() if n.endswith("attn_mask")}
        model.load_state_dict(state, assign=True, strict=True)
        for name, mask in masks.items():
            owner = model.get_submodule(name.rpartition(".")[0]) if "." in name else model
            setattr(owner, name.rpartition(".")[2], mask)
        who = f"open_clip {open_clip.__version__}"
        return model.encode_image, model.encode_text, config["vision_cfg"]["image_size"], 0, model, who
    if os.path.isdir(path):
        import transformers

        model = transformers.CLIPModel.from_pretrained(path, dtype=torch.float32)
        size = model.config.vision_config.image_size
        who = f"transformers {transformers.__version__}"
        image = lambda x: model.visual_projection(model.vision_model(pixel_values=x).pooler_output)  # noqa: E731
        text = lambda x: model.text_projection(model.text_model(input_ids=x).pooler_output)  # noqa: E731
        return image, text, size, END, model, who
    import open_clip
    from open_clip.openai import load_openai_model

    model = load_openai_model(path, precision="fp32", device="cpu")
    size = model.visual.image_size
    return model.encode_image, model.encode_text, size[0] if isinstance(size, tuple) else size, 0, model, f"open_clip {open_clip.__version__}"


def opened(path):
    """An image by its path from the repository's root; those of test/data are members of its archives."""
    from PIL import Image

    if not path.startswith("test/data/"):
        return Image.open(os.path.join(ROOT, path))
    name = path.removeprefix("test/data/")
    with tarfile.open(os.path.join(ROOT, "test/data", name.split("/")[0] + ".tar")) as archive:
        return Image.open(io.BytesIO(archive.extractfile(name).read()))


def prepared(size):
    """OpenAI's `preprocess`: resize and crop before the conversion to RGB."""
    import torchvision.transforms as T

    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    steps = T.Compose(
        [
            T.Resize(size, interpolation=T.InterpolationMode.BICUBIC),
            T.CenterCrop(size),
            lambda image: image.convert("RGB"),
            T.ToTensor(),
            T.Normalize(mean, std),
        ]
    )
    return torch.stack([steps(opened(p)) for p in IMAGES])


def packed(rows):
    """Rows of little-endian float32, in base64."""
    return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in rows.numpy()]


def outputs(path):
    from open_clip.tokenizer import SimpleTokenizer

    encode_image, encode_text, size, pad, model, who = open_oracle(path)
    model.eval()
    words = SimpleTokenizer(context_length=CONTEXT)(TEXTS)
    words[words == 0] = pad
    with torch.no_grad():
        # One at a time: memory of activations.
        image = torch.cat([encode_image(x[None]) for x in torch.cat([pixels(size), prepared(size)])])
        text = torch.cat([encode_text(x[None]) for x in torch.cat([padded(IDS, CONTEXT, pad), words])])
    planes, images = image.split([2, len(IMAGES)])
    ids, sentences = text.split([len(IDS), len(TEXTS)])
    return {
        "sha256": sha256(path),
        "parameters": sum(p.numel() for p in model.parameters()),
        "imageSize": size,
        "madeBy": f"{who}, torch {torch.__version__}",
        "planes": packed(planes),
        "images": packed(images),
        "ids": packed(ids),
        "texts": packed(sentences),
    }


def main():
    what, folder, *names = sys.argv[1:]
    out = os.path.join(folder, "expected.json")
    if "--out" in names:
        at = names.index("--out")
        out = names[at + 1]
        del names[at : at + 2]
    if what == "weights":
        os.makedirs(folder, exist_ok=True)
        for name in names or MODELS:
            begin = time.time()
            MODELS[name](os.path.join(folder, name))
            print(f"{name}: written in {time.time() - begin:.0f} s", flush=True)
        return
    here = names or sorted(
        n for n in os.listdir(folder) if n.endswith((".pt", ".bin")) or os.path.isdir(os.path.join(folder, n))
    )
    if len(here) > 1:
        # A process each: what one library leaves in memory does not add up.
        for name in here:
            subprocess.run([sys.executable, __file__, "outputs", folder, name, "--out", out], check=True)
        return
    begin = time.time()
    entry = outputs(os.path.join(folder, here[0]))
    stored = json.load(open(out)) if os.path.exists(out) else {"models": {}}
    stored |= {"images": IMAGES, "texts": TEXTS, "ids": IDS}
    stored["models"][here[0]] = entry
    stored["models"] = dict(sorted(stored["models"].items()))
    with open(out, "w") as f:
        json.dump(stored, f, ensure_ascii=False, indent=1)
        f.write("\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{here[0]}: outputs in {time.time() - begin:.0f} s, peak {peak:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
