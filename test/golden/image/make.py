"""Golden images for preprocessing: files in the modes Pillow knows, and the sha256 of what OpenAI's order makes of
them: torchvision Resize(n, BICUBIC) and CenterCrop(n) on the PIL image in its own mode, then convert("RGB").

    python make.py        # writes files/* and expected.json beside this script

Made with Pillow 12.3.0, torchvision 0.28.0, open_clip 3.3.0, numpy 2.4 on Python 3.11. Pixels of the raw cases are not
stored: they come from the formula in `pattern`, which test/image/preprocess.test.ts has too.
"""

import hashlib, json, os, struct, zlib

import numpy as np
import open_clip.transform
import PIL
import torchvision
from PIL import Image, ImageCms, ImageOps
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

here = os.path.dirname(os.path.abspath(__file__))
files = os.path.join(here, "files")
os.makedirs(files, exist_ok=True)
FILTERS = {"nearest": InterpolationMode.NEAREST, "bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}


def pattern(width, height, channels, bits=8, seed=1):
    """A gradient with noise, from integers only: sample i is (a * x + b * y + noise) modulo 2^bits."""
    i = np.arange(width * height * channels, dtype=np.uint64)
    x, y, c = i // channels % width, i // channels // width, i % channels
    noise = (i * 2654435761 + seed * 40503) % 4294967296 >> 20 & 63
    noise = np.where(noise < 4, noise * 4096, noise)  # a few hard spikes
    value = x * (3 + c) + y * (2 + seed) + noise + c * 50
    if bits == 16:
        value = value * 97
    return (value % 2**bits).astype(np.uint16 if bits == 16 else np.uint8).reshape(height, width, channels)


def drawn(mode, width, height, seed=1):
    if mode == "I;16":
        return Image.fromarray(pattern(width, height, 1, 16, seed)[..., 0])
    if mode == "I;16 dark":
        return Image.fromarray((pattern(width, height, 1, 16, seed)[..., 0] % 300).astype(np.uint16))
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    return Image.frombytes(mode, (width, height), pattern(width, height, channels, 8, seed).tobytes())


def expected(image, size, interpolation="bicubic", mode="shortest"):
    f = FILTERS[interpolation]
    if mode == "shortest":
        steps = [Resize(size, interpolation=f), CenterCrop(size)]
    elif mode == "squash":
        steps = [Resize((size, size), interpolation=f)]
    elif min(image.size) * size / max(image.size) < 0.5:  # a side would vanish, and open_clip fails: we keep one pixel
        width, height = (max(1, round(side * size / max(image.size))) for side in image.size)
        steps = [Resize((height, width), interpolation=f), open_clip.transform.CenterCropOrPad(size)]
    else:
        steps = [
            open_clip.transform.ResizeKeepRatio(size, longest=1, interpolation=f),
            open_clip.transform.CenterCropOrPad(size),
        ]
    return np.asarray(Compose(steps)(image).convert("RGB"))


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def targets(image):
    return {str(size): digest(expected(image, size)) for size in (72, 224)}


# Images as pixels: sizes, filters, modes.
raw = []


def add_raw(mode, width, height, interpolation="bicubic", fit="shortest", sizes=(72, 224)):
    image = drawn(mode, width, height)
    sha = {str(s): digest(expected(image, s, interpolation, fit)) for s in sizes}
    raw.append(dict(mode=mode, width=width, height=height, interpolation=interpolation, fit=fit, sha256=sha))


for width, height in [
    (1, 1), (1, 2), (2, 1), (3, 3), (1, 37), (37, 1), (5, 300), (300, 5), (17, 23), (71, 73), (72, 72), (72, 100),
    (100, 72), (73, 71), (97, 145), (144, 144), (145, 290), (223, 225), (224, 224), (224, 301), (301, 224), (333, 500),
    (500, 333), (640, 479), (10, 1000), (10, 1001), (1001, 10), (3, 320), (320, 3), (80, 8001), (230, 23200),
]:  # fmt: skip
    add_raw("RGB", width, height, sizes=(72,) if height > 20000 else (72, 224))
add_raw("RGB", 1, 500, sizes=(72,))
add_raw("RGB", 500, 1, sizes=(72,))
for mode in ["L", "LA", "RGBA", "CMYK", "I;16", "I;16 dark"]:
    for width, height in [(1, 1), (31, 45), (72, 72), (224, 224), (333, 250), (80, 8001)]:
        add_raw(mode, width, height, sizes=(72,) if height > 8000 else (72, 224))
for mode, width, height in [("RGBA", 640, 479), ("RGBA", 479, 640), ("LA", 1201, 700), ("I;16", 640, 479)]:
    add_raw(mode, width, height)  # more than one band of rows
for mode in ["RGB", "RGBA", "L", "I;16", "CMYK"]:
    for interpolation, fit in [("bilinear", "shortest"), ("bicubic", "squash"), ("bicubic", "longest"), ("nearest", "shortest")]:
        add_raw(mode, 131, 97, interpolation, fit)
for width, height in [(97, 131), (150, 60), (33, 64), (20, 2500)]:
    add_raw("RGB", width, height, "bicubic", "squash")
    add_raw("RGB", width, height, "bicubic", "longest")

# Sides of more than half a million pixels: no table of coefficients is made for them.
for mode, interpolation, fit in [
    ("RGB", "bicubic", "squash"), ("L", "bilinear", "squash"), ("RGBA", "bicubic", "squash"), ("LA", "bilinear", "longest"),
    ("CMYK", "bicubic", "longest"), ("I;16", "bicubic", "squash"), ("I;16 dark", "bilinear", "longest"),
]:  # fmt: skip
    for width, height in [(700_001, 2), (2, 700_001), (600_011, 1), (1, 600_011)]:
        add_raw(mode, width, height, interpolation, fit, sizes=(72,))

# Images as files.
encoded = []


def add_file(name, note=""):
    with Image.open(os.path.join(files, name)) as image:
        image.load()
        encoded.append(dict(file=name, mode=image.mode, width=image.width, height=image.height, note=note, sha256=targets(image)))


def save(name, image, note="", **options):
    image.save(os.path.join(files, name), **options)
    add_file(name, note)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(name, width, height, bits, colour, rows, extra=b"", note=""):
    """PNGs that Pillow reads and can't write."""
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    with open(os.path.join(files, name), "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)))
        f.write(extra + chunk(b"IDAT", zlib.compress(body, 9)) + chunk(b"IEND", b""))
    add_file(name, note)


def smooth(mode, width, height):
    """Compresses to little, has edges and gradients all the same."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    n = len(mode)
    a = np.stack([(x * (2 + k) + y * (3 - k) * 2 + 70 * k + 120 * ((x // 9 + y // 7) % 2)) % 256 for k in range(n)], -1)
    return Image.frombytes(mode if n > 1 else "L", (width, height), a.astype(np.uint8).tobytes())


rgb, rgba, l = smooth("RGB", 101, 87), smooth("RGBA", 101, 87), smooth("L", 101, 87)
for name, sampling in [("444", 0), ("422", 1), ("420", 2)]:
    save(f"jpeg-{name}.jpg", rgb, subsampling=sampling, quality=85)
    save(f"jpeg-{name}-progressive.jpg", rgb, subsampling=sampling, progressive=True, quality=60)
save("jpeg-restart.jpg", rgb, restart_marker_rows=1, optimize=True)
save("jpeg-grey.jpg", l)
save("jpeg-cmyk.jpg", smooth("CMYK", 101, 87), "Adobe's inverted CMYK")
save("jpeg-odd.jpg", smooth("RGB", 17, 233), quality=30)
save("jpeg-1x1.jpg", smooth("RGB", 1, 1))
oriented = Image.Exif()
oriented[0x0112] = 6
save("jpeg-exif-6.jpg", rgb, "orientation is ignored unless asked for", exif=oriented)
with Image.open(os.path.join(files, "jpeg-exif-6.jpg")) as image:
    turned = targets(ImageOps.exif_transpose(image))
profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
profile = profile[:24] + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + profile[36:]  # its date, so that files repeat
profile = profile.replace(b"rXYZ", b"tmp!", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"tmp!", b"gXYZ", 1)
save("jpeg-icc.jpg", rgb, "a profile with red and green exchanged changes nothing", icc_profile=profile)

save("png-l.png", l)
save("png-la.png", smooth("LA", 64, 91))
save("png-rgb.png", rgb)
save("png-rgba.png", rgba)
save("png-rgba-opaque.png", rgb.convert("RGBA"))
save("png-1.png", l.convert("1"))
save("png-p.png", rgb.quantize(23))
save("png-p-transparent.png", rgb.quantize(23), "transparent colours show", transparency=3)
save("png-p-alpha.png", rgba.quantize(16, method=Image.Quantize.FASTOCTREE), "alpha of a palette is dropped")
save("png-p-2bit.png", rgb.quantize(4))
save("png-p-1bit.png", rgb.quantize(2))
save("png-i16.png", Image.fromarray(pattern(61, 47, 1, 16)[..., 0]))
save("png-i16-dark.png", Image.fromarray((pattern(61, 47, 1, 16)[..., 0] % 300).astype(np.uint16)), "cut off at 255")
be = lambda w, h, n: pattern(w, h, n, 16).astype(">u2")  # noqa: E731
png("png-rgb16.png", 33, 47, 16, 2, be(33, 47, 3), note="16-bit RGB: the high byte")
png("png-rgba16.png", 33, 47, 16, 6, be(33, 47, 4))
png("png-la16.png", 33, 47, 16, 4, be(33, 47, 2), note="16-bit LA opens as RGBA")
png("png-l2.png", 33, 47, 2, 0, pattern(9, 47, 1))
png("png-l4.png", 33, 47, 4, 0, pattern(17, 47, 1))
png("png-l-trns.png", 33, 47, 8, 0, pattern(33, 47, 1), chunk(b"tRNS", b"\0\x4d"), "tRNS is no alpha channel to Pillow")
png("png-rgb-trns.png", 33, 47, 8, 2, pattern(33, 47, 3), chunk(b"tRNS", bytes(6)))
png("png-1-trns.png", 33, 47, 1, 0, pattern(5, 47, 1), chunk(b"tRNS", b"\0\0"))
png("png-i16-trns.png", 33, 47, 16, 0, be(33, 47, 1), chunk(b"tRNS", b"\x12\x34"))
png("png-gamma.png", 33, 47, 8, 2, pattern(33, 47, 3), chunk(b"gAMA", struct.pack(">I", 100000)), "gAMA is ignored")


def adam7(array):
    """Adam7-interlaced RGB: seven passes, filter 0."""
    body = b""
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        part = array[y0::dy, x0::dx]
        if part.size:
            body += b"".join(b"\0" + row.tobytes() for row in part)
    return body


a = pattern(37, 29, 3)
with open(os.path.join(files, "png-interlaced.png"), "wb") as f:
    f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 37, 29, 8, 2, 0, 0, 1)))
    f.write(chunk(b"IDAT", zlib.compress(adam7(a), 9)) + chunk(b"IEND", b""))
add_file("png-interlaced.png")

save("webp-lossy.webp", rgb, quality=70)
save("webp-lossless.webp", rgb, lossless=True)
save("webp-lossy-alpha.webp", rgba, quality=70)
save("webp-lossless-alpha.webp", rgba, lossless=True, exact=True)
save("webp-animated.webp", rgb, "first frame", save_all=True, append_images=[Image.new("RGB", rgb.size, "red")], lossless=True)
save("gif-p.gif", rgb.quantize(40))
ramp = Image.fromarray(np.add.outer(np.arange(71) * 4, np.arange(64)).astype(np.uint8))
save("gif-grey.gif", ramp, "a grey ramp opens as L and is resized bicubic")
save("gif-grey-transparent.gif", ramp, "the same, with a transparent colour", transparency=7)
save("gif-transparent.gif", rgb.quantize(40), "transparent pixels show their palette colour", transparency=5)
save("gif-animated.gif", rgb.quantize(9), "first frame", save_all=True, append_images=[Image.new("RGB", rgb.size, "red")])
save("gif-interlaced.gif", rgb.quantize(40), interlace=1)


def gif(name, screen, frame, transparent, note):
    """A first frame that does not cover the screen; LZW with a clear code before every pixel pair, 2-bit colours."""
    palette = bytes([10, 200, 30, 250, 20, 20, 20, 20, 250, 240, 240, 10])
    x, y, w, h = frame
    pixels = [(i * 7 // 3 + i // w) % 4 for i in range(w * h)]
    codes = []
    for i in range(0, len(pixels), 2):
        codes += [4] + pixels[i : i + 2]
    codes.append(5)
    bits = sum(code << 3 * i for i, code in enumerate(codes))
    data = bits.to_bytes((3 * len(codes) + 7) // 8, "little")
    out = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x81, 1, 0) + palette
    if transparent is not None:
        out += bytes([0x21, 0xF9, 4, 1, 0, 0, transparent, 0])
    out += b"\x2c" + struct.pack("<HHHHB", x, y, w, h, 0) + b"\x02"
    for i in range(0, len(data), 255):
        out += bytes([len(data[i : i + 255])]) + data[i : i + 255]
    with open(os.path.join(files, name), "wb") as f:
        f.write(out + b"\0\x3b")
    add_file(name, note)


gif("gif-partial.gif", (40, 30), (6, 4, 20, 18), None, "outside the first frame: colour 0")
gif("gif-partial-transparent.gif", (40, 30), (6, 4, 20, 18), 2, "outside the first frame: the transparent colour")
save("tiff-rgb.tif", rgb, compression="tiff_lzw")
save("tiff-p.tif", rgb.quantize(40), compression="tiff_lzw")
save("tiff-l.tif", l, compression="tiff_lzw")
save("tiff-1.tif", l.convert("1"), compression="group4")
save("tiff-cmyk.tif", smooth("CMYK", 40, 31), compression="tiff_lzw")
save("tiff-i16.tif", Image.fromarray(pattern(41, 27, 1, 16)[..., 0]))
save("tiff-rgba.tif", smooth("RGBA", 40, 31), compression="tiff_lzw")

mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
ramp = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2))
table = Compose([ToTensor(), Normalize(mean, std)])(ramp).numpy()[:, 0]
first = Image.frombytes("RGB", (97, 145), pattern(97, 145, 3).tobytes())
planes = Compose([Resize(72, interpolation=FILTERS["bicubic"]), CenterCrop(72), ToTensor(), Normalize(mean, std)])(first).numpy()

with open(os.path.join(here, "expected.json"), "w") as f:
    made = dict(pillow=PIL.__version__, torchvision=torchvision.__version__, open_clip=open_clip.__version__, numpy=np.__version__)
    rows = lambda cases: "[\n    " + ",\n    ".join(json.dumps(c) for c in cases) + "\n  ]"  # noqa: E731
    f.write('{\n  "made": ' + json.dumps(made) + ',\n  "raw": ' + rows(raw) + ',\n  "encoded": ' + rows(encoded))
    f.write(',\n  "oriented": ' + json.dumps(dict(file="jpeg-exif-6.jpg", sha256=turned)))
    f.write(',\n  "normalised": ' + json.dumps(dict(mean=mean, std=std, table=digest(table), planes=digest(planes))) + "\n}\n")
print(len(raw), "raw,", len(encoded), "files")
