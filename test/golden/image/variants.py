"""Golden images of the formats that come in many kinds: BMP, TIFF, turned AVIF, and transparent images on a background.

    python variants.py        # writes variants/* and variants.json beside this script

What Pillow 12.3.0 makes of each file, as make.py does (whose functions it uses, and whose files it writes anew, with the
same bytes). A file that Pillow refuses is listed as refused.
"""

import io, json, os, struct

import numpy as np
import PIL
from PIL import Image, ImageOps

import make
from make import pattern, smooth, targets

here = os.path.dirname(os.path.abspath(__file__))
files = os.path.join(here, "variants")
os.makedirs(files, exist_ok=True)
cases = []
COLOUR = "#4a90e2"


def on_colour(image):
    """As documented for `background`: only what has transparency is composed."""
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image
    below = Image.new("RGBA", image.size, COLOUR)
    return Image.alpha_composite(below, image.convert("RGBA")).convert("RGB")


def add(name, data=None, background=False):
    path = os.path.join(files, name)
    if data is not None:
        with open(path, "wb") as f:
            f.write(data)
    try:
        # Not by its path: what Pillow maps is not turned as it should be (mode L of 12.3.0).
        with open(path, "rb") as f, Image.open(io.BytesIO(f.read())) as image:
            image.load()
            if image.mode in ("I", "F", "LAB", "I;16B"):  # I;16B is resized with its bytes exchanged
                cases.append(dict(file=name, other=image.mode))
                return
            case = dict(file=name, mode=image.mode, width=image.width, height=image.height, sha256=targets(image))
            if background:
                case["background"] = targets(on_colour(image))
            cases.append(case)
    except Exception as e:
        cases.append(dict(file=name, refused=f"{type(e).__name__}: {e}"))


def encoded(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


# BMP


def bmp(name, width, height, bits, data, *, header=40, compression=0, palette=b"", colours=None, masks=b"", offset=None, gap=b""):
    """height < 0: the first row first."""
    padding = 3 if header == 12 else 4
    if colours is None:
        colours = len(palette) // padding
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 2835, 2835, colours, 0)
        info = struct.pack("<I", header) + info[4:]
        inside = b"" if header == 40 else (masks + bytes(84))[: header - 40]
        info += inside
    after = masks if header == 40 else b""
    start = 14 + len(info) + len(after) + len(palette) + len(gap) if offset is None else offset
    body = info + after + palette + gap + data
    add(name, b"BM" + struct.pack("<IHHI", 14 + len(body), 0, 0, start) + body)


def rows(width, height, bits, seed=1):
    """Noise in rows that end on 4 bytes."""
    stride = (width * bits + 31) // 32 * 4
    return pattern(stride, height, 1, 8, seed).tobytes()


def colours(n, padding=4, seed=3):
    return b"".join(bytes([*pattern(n, 1, 3, 8, seed)[0, i].tobytes()][:3]) + bytes(padding - 3) for i in range(n))


grey = lambda n: b"".join(bytes([i, i, i, 0]) for i in range(n))  # noqa: E731
w, h = 37, 29
for bits in (1, 4, 8):
    bmp(f"bmp-{bits}.bmp", w, h, bits, rows(w, h, bits), palette=colours(2**bits))
    bmp(f"bmp-{bits}-top.bmp", w, -h, bits, rows(w, h, bits), palette=colours(2**bits))
    bmp(f"bmp-{bits}-os2.bmp", w, h, bits, rows(w, h, bits), header=12, palette=colours(2**bits, 3))
    bmp(f"bmp-{bits}-v5.bmp", w, h, bits, rows(w, h, bits), header=124, palette=colours(2**bits))
    bmp(f"bmp-{bits}-os2v2.bmp", w, h, bits, rows(w, h, bits), header=64, palette=colours(2**bits))
bmp("bmp-8-few.bmp", w, h, 8, bytes(b % 13 for b in rows(w, h, 8)), palette=colours(13))
bmp("bmp-8-behind.bmp", w, h, 8, rows(w, h, 8), palette=colours(13))
bmp("bmp-4-few.bmp", w, h, 4, bytes(b & 0x77 for b in rows(w, h, 4)), palette=colours(8))
bmp("bmp-8-grey.bmp", w, h, 8, rows(w, h, 8), palette=grey(256))
bmp("bmp-8-grey-part.bmp", w, h, 8, rows(w, h, 8), palette=grey(100))
bmp("bmp-4-grey.bmp", w, h, 4, rows(w, h, 4), palette=grey(16))
bmp("bmp-1-black-white.bmp", w, h, 1, rows(w, h, 1), palette=bytes([0, 0, 0, 0, 255, 255, 255, 0]))
bmp("bmp-1-white-black.bmp", w, h, 1, rows(w, h, 1), palette=bytes([255, 255, 255, 0, 0, 0, 0, 0]))
bmp("bmp-8-black-white.bmp", w, h, 8, bytes(b & 1 for b in rows(w, h, 8)), palette=bytes([0, 0, 0, 0, 255, 255, 255, 0]))
bmp("bmp-1-os2-black-white.bmp", w, h, 1, rows(w, h, 1), header=12, palette=bytes([0, 0, 0, 255, 255, 255]))
for bits in (16, 24, 32):
    bmp(f"bmp-{bits}.bmp", w, h, bits, rows(w, h, bits))
    bmp(f"bmp-{bits}-top.bmp", w, -h, bits, rows(w, h, bits))
    bmp(f"bmp-{bits}-v4.bmp", w, h, bits, rows(w, h, bits), header=108)
    bmp(f"bmp-{bits}-gap.bmp", w, h, bits, rows(w, h, bits), gap=b"something")
bmp("bmp-24-os2.bmp", w, h, 24, rows(w, h, 24), header=12)
bmp("bmp-24-palette.bmp", w, h, 24, rows(w, h, 24), palette=colours(9))
for width in (1, 2, 3, 4, 5, 31, 32, 33):
    for bits in (1, 4, 8, 16, 24):
        bmp(f"bmp-{bits}-{width}.bmp", width, 3, bits, rows(width, 3, bits), palette=colours(2**bits) if bits <= 8 else b"")
m = lambda *values: struct.pack(f"<{len(values)}I", *values)  # noqa: E731
for name, bits, masks in [
    ("565", 16, m(0xF800, 0x7E0, 0x1F)), ("555", 16, m(0x7C00, 0x3E0, 0x1F)), ("444", 16, m(0xF00, 0xF0, 0xF)),
    ("bgrx", 32, m(0xFF0000, 0xFF00, 0xFF)), ("xbgr", 32, m(0xFF000000, 0xFF0000, 0xFF00)), ("bgxr", 32, m(0xFF000000, 0xFF00, 0xFF)),
    ("rgbx", 32, m(0xFF, 0xFF00, 0xFF0000)), ("bgr", 24, m(0xFF0000, 0xFF00, 0xFF)), ("none", 32, m(0, 0, 0)),
]:  # fmt: skip
    for header in (40, 52, 56, 124):
        bmp(f"bmp-bits-{name}-{header}.bmp", w, h, bits, rows(w, h, bits), header=header, compression=3, masks=masks)
for name, masks in [
    ("bgra", m(0xFF0000, 0xFF00, 0xFF, 0xFF000000)), ("rgba", m(0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
    ("abgr", m(0xFF000000, 0xFF0000, 0xFF00, 0xFF)), ("bgar", m(0xFF000000, 0xFF00, 0xFF, 0xFF0000)),
]:  # fmt: skip
    for header in (52, 56, 108):
        bmp(f"bmp-bits-{name}-{header}.bmp", w, h, 32, rows(w, h, 32), header=header, compression=3, masks=masks)


def rle8(width, height, seed=1):
    """Runs, literals of odd and even length, moves and ends of lines."""
    pixels, out = pattern(width, height, 1, 8, seed)[..., 0] // 16, b""
    for y in range(height):
        x = 0
        while x < width:
            n = min(1 + (x * 7 + y) % 9, width - x)
            if n > 2 and (x + y) % 3 == 0:
                out += bytes([0, n]) + pixels[y, x : x + n].tobytes() + bytes(n & 1)
            elif (x + y) % 11 == 5:
                out += bytes([0, 2, n, 0])
            else:
                out += bytes([n, pixels[y, x]])
            x += n
        out += b"\0\0"
    return out + b"\0\1"


def rle4(width, height, seed=1):
    pixels, out = pattern(width, height, 1, 8, seed)[..., 0], b""
    for y in range(height):
        x = 0
        while x < width:
            n = min(2 * (1 + (x * 5 + y) % 4), width - x)
            if n == 4 or n == 8:
                k = n // 2
                out += bytes([0, n]) + pixels[y, x : x + k].tobytes() + bytes(k & 1)
            else:
                out += bytes([n, pixels[y, x]])
            x += n
        out += b"\0\0"
    return out + b"\0\1"


for name, data, bits, compression in [("rle8", rle8(w, h), 8, 1), ("rle4", rle4(w, h), 4, 2)]:
    n = 2**bits
    bmp(f"bmp-{name}.bmp", w, h, bits, data, compression=compression, palette=colours(n))
    bmp(f"bmp-{name}-odd.bmp", w, h, bits, data, compression=compression, palette=colours(n), gap=b"x")
    bmp(f"bmp-{name}-top.bmp", w, -h, bits, data, compression=compression, palette=colours(n))
    bmp(f"bmp-{name}-v5.bmp", w, h, bits, data, header=124, compression=compression, palette=colours(n))
    bmp(f"bmp-{name}-grey.bmp", w, h, bits, data, compression=compression, palette=grey(n))
    bmp(f"bmp-{name}-no-end.bmp", w, h, bits, data[:-2], compression=compression, palette=colours(n))
    bmp(f"bmp-{name}-cut.bmp", w, h, bits, data[: len(data) // 2], compression=compression, palette=colours(n))
    bmp(f"bmp-{name}-early-end.bmp", w, h, bits, data[: len(data) // 2] + b"\0\0\0\1", compression=compression, palette=colours(n))
    bmp(f"bmp-{name}-wide-runs.bmp", w, h, bits, b"\xff\x12\0\0" * h + b"\0\1", compression=compression, palette=colours(n))
    bmp(f"bmp-{name}-move-out.bmp", w, h, bits, b"\5\1\0\2\7\x50" + b"\0\1", compression=compression, palette=colours(n))
    bmp(f"bmp-{name}-black-white.bmp", w, h, bits, data, compression=compression, palette=bytes([0, 0, 0, 0, 255, 255, 255, 0]))
for name, options in [
    ("bits-2", dict(bits=2)), ("bits-0", dict(bits=0)), ("jpeg", dict(compression=4)), ("png", dict(compression=5)),
    ("colours", dict(bits=8, palette=colours(256), colours=70000)), ("colours-300", dict(bits=8, palette=colours(300))),
    ("offset", dict(offset=1_000_000)), ("rle24", dict(compression=1)),
]:  # fmt: skip
    options = dict(dict(bits=24), **options)
    bmp(f"bmp-odd-{name}.bmp", w, h, options.pop("bits"), rows(w, h, 24), **options)
bmp("bmp-odd-cut.bmp", w, h, 24, rows(w, h, 24)[:-200])
bmp("bmp-odd-last-padding.bmp", w, h, 24, rows(w, h, 24)[:-1])
bmp("bmp-odd-zero-width.bmp", 0, h, 24, rows(w, h, 24))
bmp("bmp-odd-negative-width.bmp", -w, h, 24, rows(w, h, 24))
for mode in ("1", "L", "P", "RGB", "RGBA"):
    image = {"1": smooth("L", w, h).convert("1"), "P": smooth("RGB", w, h).quantize(30)}.get(mode) or smooth(mode, w, h)
    add(f"bmp-pillow-{mode.lower()}.bmp", encoded(image, "BMP"))

# TIFF


def tiff(name, a, *, order="<", photometric=1, extra=(), orientation=None, planar=1, tile=None, fill=None, bits=None, format=None, palette=None, big=False, strips=1, background=False):
    """a: (height, width, samples), uncompressed; in `order` when it has more than 8 bits. bits: rows are packed already."""
    height, width, samples = a.shape
    depth = bits or a.dtype.itemsize * 8
    if bits:
        width = width * 8 // bits
    data = a.astype(a.dtype.newbyteorder(order))
    planes = [data[..., i : i + 1] for i in range(samples)] if planar == 2 else [data]
    blocks = []
    for plane in planes:
        if tile:
            for y in range(0, height, tile):
                for x in range(0, width, tile):
                    block = np.zeros((tile, tile, plane.shape[2]), data.dtype)
                    part = plane[y : y + tile, x : x + tile]
                    block[: part.shape[0], : part.shape[1]] = part
                    blocks.append(block.tobytes())
        else:
            step = -(-height // strips)
            blocks += [plane[y : y + step].tobytes() for y in range(0, height, step)]
    S, L = (3, 4)
    tags = [(256, L, [width]), (257, L, [height]), (258, S, [depth] * samples), (259, S, [1]), (262, S, [photometric]), (277, S, [samples]), (284, S, [planar])]
    if orientation: tags.append((274, S, [orientation]))
    if extra: tags.append((338, S, list(extra)))
    if fill: tags.append((266, S, [fill]))
    if format: tags.append((339, S, [format] * samples))
    if palette: tags.append((320, S, palette))
    if tile: tags += [(322, L, [tile]), (323, L, [tile]), (324, L, "offsets"), (325, L, [len(b) for b in blocks])]
    else: tags += [(273, L, "offsets"), (278, L, [-(-height // strips)]), (279, L, [len(b) for b in blocks])]
    tags.sort()
    head, count, entry, room = (16, "Q", 20, 8) if big else (8, "H", 12, 4)
    at = head + struct.calcsize(order + count) + entry * len(tags) + room
    sizes = {S: 2, L: 4}
    where = at
    for tag, kind, values in tags:
        n = len(blocks) if values == "offsets" else len(values)
        if n * sizes[kind] > room: where += n * sizes[kind]
    offsets = [where + sum(len(b) for b in blocks[:i]) for i in range(len(blocks))]
    body, more = struct.pack(order + count, len(tags)), b""
    for tag, kind, values in tags:
        values = offsets if values == "offsets" else values
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == S else 'I'}", *values)
        body += struct.pack(order + "HH" + ("Q" if big else "I"), tag, kind, len(values))
        if len(packed) > room:
            body += struct.pack(order + ("Q" if big else "I"), at + len(more))
            more += packed
        else:
            body += packed.ljust(room, b"\0")
    body += bytes(room) + more + b"".join(blocks)
    mark = b"II" if order == "<" else b"MM"
    start = struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HI", 42, 8)
    add(name, mark + start + body, background)


rgb, rgba, l = (np.asarray(smooth(mode, w, h)).reshape(h, w, -1) for mode in ("RGB", "RGBA", "L"))
p16 = lambda n: pattern(w, h, n, 16)  # noqa: E731
for o in range(1, 9):
    tiff(f"tiff-turn-{o}.tif", rgb, photometric=2, orientation=o)
    tiff(f"tiff-turn-l-{o}.tif", l, orientation=o)
tiff("tiff-turn-6-i16.tif", p16(1), orientation=6)
tiff("tiff-turn-6-rgba.tif", rgba, photometric=2, extra=[2], orientation=6, background=True)
tiff("tiff-turn-6-cmyk.tif", rgba, photometric=5, orientation=6)
tiff("tiff-turn-6-p.tif", l // 4, photometric=3, orientation=6, palette=[int(v) * 257 for c in range(3) for v in pattern(256, 1, 3)[0, :, c]])
tiff("tiff-turn-9.tif", rgb, photometric=2, orientation=9)
for name, extra in [("none", ()), ("x", (0,)), ("premultiplied", (1,)), ("alpha", (2,)), ("corel", (999,))]:
    tiff(f"tiff-rgb4-{name}.tif", rgba, photometric=2, extra=extra, background=True)
    tiff(f"tiff-rgb4-{name}-16.tif", p16(4), photometric=2, extra=extra, background=True)
    tiff(f"tiff-rgb4-{name}-big-end.tif", rgba, photometric=2, extra=extra, order=">")
for name, extra in [("xx", (0, 0)), ("ax", (2, 0)), ("px", (1, 0))]:
    tiff(f"tiff-rgb5-{name}.tif", pattern(w, h, 5), photometric=2, extra=extra)
for name, extra in [("none", ()), ("x", (0,)), ("premultiplied", (1,)), ("alpha", (2,))]:
    tiff(f"tiff-l2-{name}.tif", pattern(w, h, 2), extra=extra, background=True)
    if name != "alpha":  # indices that are interpolated
        tiff(f"tiff-p2-{name}.tif", pattern(w, h, 2), photometric=3, extra=extra, palette=[int(v) * 257 for c in range(3) for v in pattern(256, 1, 3)[0, :, c]])
for order, end in [("<", "le"), (">", "be")]:
    tiff(f"tiff-l-{end}.tif", l, order=order)
    tiff(f"tiff-l-white-{end}.tif", l, order=order, photometric=0)
    tiff(f"tiff-i16-{end}.tif", p16(1), order=order)
    tiff(f"tiff-i16-white-{end}.tif", p16(1), order=order, photometric=0)
    tiff(f"tiff-rgb16-{end}.tif", p16(3), order=order, photometric=2)
    tiff(f"tiff-cmyk16-{end}.tif", p16(4), order=order, photometric=5)
    tiff(f"tiff-s16-{end}.tif", p16(1).astype(np.int16), order=order, format=2)
    tiff(f"tiff-i32-{end}.tif", p16(1).astype(np.uint32), order=order)
    tiff(f"tiff-f32-{end}.tif", p16(1).astype(np.float32) / 65535, order=order, format=3)
    tiff(f"tiff-lab-{end}.tif", rgb, order=order, photometric=8)
    tiff(f"tiff-big-{end}.tif", rgb, order=order, photometric=2, big=True)
    for bits in (1, 2, 4):
        packed = pattern(8, h, 1, 8, bits)
        for name, photometric in [("white", 0), ("black", 1), ("palette", 3)]:
            palette = [int(v) * 257 for c in range(3) for v in pattern(2**bits, 1, 3)[0, :, c]] if photometric == 3 else None
            tiff(f"tiff-{bits}bit-{name}-{end}.tif", packed, order=order, photometric=photometric, bits=bits, palette=palette)
tiff("tiff-cmyk.tif", rgba, photometric=5)
tiff("tiff-cmyk5.tif", pattern(w, h, 5), photometric=5, extra=(0,))
tiff("tiff-ycbcr.tif", rgb, photometric=6)
tiff("tiff-fill-2.tif", l, fill=2)
tiff("tiff-1bit-fill-2.tif", pattern(8, h, 1), fill=2, bits=1)
tiff("tiff-planar.tif", rgb, photometric=2, planar=2)
tiff("tiff-planar-rgba.tif", rgba, photometric=2, planar=2, extra=(2,))
tiff("tiff-tiled.tif", rgb, photometric=2, tile=16)
tiff("tiff-tiled-l.tif", l, tile=32)
tiff("tiff-strips.tif", rgb, photometric=2, strips=7)
for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
    add(f"tiff-{compression}.tif", encoded(smooth("RGB", w, h), "TIFF", compression=compression))
    exif = Image.Exif()
    exif[0x0112] = 8
    add(f"tiff-{compression}-turned.tif", encoded(smooth("RGB", w, h), "TIFF", compression=compression, exif=exif))
for compression in ("group3", "group4"):
    add(f"tiff-{compression}.tif", encoded(smooth("L", w, h).convert("1"), "TIFF", compression=compression))
pages = [smooth("RGB", w, h), Image.new("L", (9, 9), 3)]
add("tiff-pages.tif", encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))

# Transparent images on a colour.

for name in (
    "png-rgba.png", "png-rgba-opaque.png", "png-la.png", "png-p-transparent.png", "png-p-alpha.png", "png-l-trns.png", "png-rgb-trns.png",
    "png-1-trns.png", "png-rgba16.png", "png-la16.png", "webp-lossy-alpha.webp", "webp-lossless-alpha.webp", "gif-transparent.gif",
    "gif-grey-transparent.gif", "gif-partial-transparent.gif", "gif-partial.gif", "tiff-rgba.tif", "png-rgb.png", "png-p.png", "jpeg-cmyk.jpg",
):  # fmt: skip
    with Image.open(os.path.join(make.files, name)) as image:
        image.load()
        cases.append(dict(file=f"../files/{name}", mode=image.mode, width=image.width, height=image.height, background=targets(on_colour(image))))
pixels = []
for mode in ("LA", "RGBA"):
    for width, height in ((31, 45), (333, 250)):
        image = make.drawn(mode, width, height)
        pixels.append(dict(mode=mode, width=width, height=height, background=targets(on_colour(image))))

# AVIF, turned in all ways: four colours, and which of them is in which corner, as Pillow opens it and transposed.

four = np.zeros((24, 40, 3), np.uint8)
four[:12, :20], four[:12, 20:], four[12:, :20], four[12:, 20:] = (250, 10, 10), (10, 250, 10), (10, 10, 250), (240, 240, 10)
corners = lambda image: [np.asarray(image)[y, x].tolist() for y, x in ((3, 3), (3, -4), (-4, 3), (-4, -4))]  # noqa: E731
turns = []
for o in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = o
    name = f"avif-turn-{o}.avif"
    with open(os.path.join(files, name), "wb") as f:
        f.write(encoded(Image.fromarray(four), "AVIF", quality=90, subsampling="4:4:4", exif=exif))
    with Image.open(os.path.join(files, name)) as image:
        image.load()
        turns.append(dict(file=name, plain=corners(image), turned=corners(ImageOps.exif_transpose(image))))

with open(os.path.join(here, "variants.json"), "w") as f:
    rows_of = lambda list: "[\n    " + ",\n    ".join(json.dumps(c) for c in list) + "\n  ]"  # noqa: E731
    f.write('{\n  "made": ' + json.dumps(dict(pillow=PIL.__version__, numpy=np.__version__, colour=COLOUR)))
    f.write(',\n  "files": ' + rows_of(cases) + ',\n  "pixels": ' + rows_of(pixels) + ',\n  "turns": ' + rows_of(turns) + "\n}\n")
print(len(cases), "files,", sum("refused" in c for c in cases), "refused,", sum("other" in c for c in cases), "of other modes")
