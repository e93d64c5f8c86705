"""Golden images of `decode: 'fast'`: JPEG files at 1/2, 1/4 and 1/8 of their size, as Pillow 12.3.0 decodes them.

    python scaled.py          # reads files/*.jpg (make.py) and writes scaled.json beside this script

`pixels` is the SHA-256 of what Image.draft decodes, and `sha256` of what Image.resize makes of it for images of 24 and 72
pixels, with the `box` that draft returns: the size of the image, which need not be a whole number of the smaller pixels.
"""

import hashlib, json, os

from PIL import Image, ImageOps

here = os.path.dirname(os.path.abspath(__file__))
sha256 = lambda data: hashlib.sha256(data).hexdigest()


def target(image, whole, box, size):
    width, height = whole
    new = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    left, top = round((new[0] - size) / 2), round((new[1] - size) / 2)
    resized = image.resize(new, Image.Resampling.BICUBIC, box=box)
    return sha256(resized.crop((left, top, left + size, top + size)).convert("RGB").tobytes())


cases = []
for name in sorted(os.listdir(os.path.join(here, "files"))):
    if not name.endswith(".jpg") or name == "jpeg-1x1.jpg":
        continue
    for scale in (2, 4, 8):
        image = Image.open(os.path.join(here, "files", name))
        whole = image.size
        drafted = image.draft(None, (whole[0] // scale, whole[1] // scale))
        assert image.size == tuple(-(-side // scale) for side in whole), (name, scale, image.size)
        assert drafted[1] == (0, 0, whole[0] / scale, whole[1] / scale), drafted
        image.load()
        case = dict(file=name, scale=scale, mode=image.mode, width=image.width, height=image.height)
        case["pixels"] = sha256(image.tobytes())
        case["sha256"] = {str(size): target(image, whole, drafted[1], size) for size in (24, 72)}
        if "exif" in name:
            case["turned"] = sha256(ImageOps.exif_transpose(image).tobytes())
        cases.append(case)
with open(os.path.join(here, "scaled.json"), "w") as f:
    f.write("[\n  " + ",\n  ".join(json.dumps(case) for case in cases) + "\n]\n")
