#!/usr/bin/env python3
"""Small pictures of every kind of PNG and JPEG, and what Pillow makes of them.

    make_images.py            # writes the pictures and golden.safetensors beside this script
    make_images.py --check    # decodes again and compares

golden.safetensors holds a tensor [height, width, 3] of bytes for each file: transparent pixels over white, the
orientation of Exif applied, as transformers' load_image and convert_to_rgb do.
"""
import io
import json
import random
import struct
import sys
import zlib
from pathlib import Path

from PIL import Image, ImageOps

HERE = Path(__file__).parent
WIDTH, HEIGHT = 13, 9


def picture(mode, seed):
    rng = random.Random(seed)
    base = Image.new("RGB", (WIDTH, HEIGHT))
    base.putdata([((x * 19 + rng.randrange(9)) % 256, (y * 27) % 256, (x * y * 3) % 256)
                  for y in range(HEIGHT) for x in range(WIDTH)])
    return base.convert(mode)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth, colour, rows, extra=(), interlace=0):
    """A PNG from its packed rows, for kinds that Pillow does not write."""
    raw = b"".join(b"\0" + row for row in rows)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunk(k, d) for k, d in extra)
            + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def random_rows(depth, channels, seed):
    rng = random.Random(seed)
    return [rng.randbytes((WIDTH * depth * channels + 7) // 8) for _ in range(HEIGHT)]


def interlaced_rows():
    """Adam7's seven passes of a grey picture."""
    rng, rows = random.Random(11), []
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        width = len(range(x0, WIDTH, dx))
        rows += [rng.randbytes(width) for _ in range(y0, HEIGHT, dy)] if width else []
    return rows


def jpeg(image, **options):
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def files():
    out = {}
    for depth in (1, 2, 4, 16):
        out[f"grey-{depth}.png"] = png(depth, 0, random_rows(depth, 1, depth))
    out["grey-alpha.png"] = png(8, 4, random_rows(8, 2, 5))
    out["grey-transparent.png"] = png(8, 0, [bytes(range(WIDTH))] * HEIGHT, [(b"tRNS", b"\0\5")])
    out["rgb-16.png"] = png(16, 2, random_rows(16, 3, 6))
    out["rgb-transparent.png"] = png(8, 2, [bytes([9, 9, 9] * 6 + [1, 2, 3] * 7)] * HEIGHT,
                                     [(b"tRNS", struct.pack(">HHH", 1, 2, 3))])
    out["rgba-16.png"] = png(16, 6, random_rows(16, 4, 7))
    out["gamma.png"] = png(8, 2, random_rows(8, 3, 8), [(b"gAMA", struct.pack(">I", 100000))])
    out["interlaced.png"] = png(8, 0, interlaced_rows(), interlace=1)
    palette = bytes(random.Random(9).randbytes(12))
    out["palette-2.png"] = png(2, 3, random_rows(2, 1, 9), [(b"PLTE", palette), (b"tRNS", b"\0\x40\x80")])
    out["turned.png"] = png(8, 2, random_rows(8, 3, 10), [(b"eXIf", exif(6).tobytes()[6:])])
    out["grey.jpg"] = jpeg(picture("L", 1))
    out["progressive.jpg"] = jpeg(picture("RGB", 2), progressive=True)
    out["full-colour.jpg"] = jpeg(picture("RGB", 3), subsampling=0, quality=95)
    out["cmyk.jpg"] = jpeg(picture("CMYK", 4), quality=90)
    for orientation in range(1, 9):
        out[f"turned-{orientation}.jpg"] = jpeg(picture("RGB", 5), exif=exif(orientation))
    return out


def decode(data):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    elif image.mode.startswith("I"):
        image = image.point(lambda v: v / 256).convert("L")  # the upper eight bits
    return image.convert("RGB")


def safetensors(images):
    header, data = {}, b""
    for name, image in images.items():
        raw = image.tobytes()
        header[name] = {"dtype": "U8", "shape": [image.height, image.width, 3], "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def main():
    if "--check" not in sys.argv:
        for name, data in files().items():
            (HERE / name).write_bytes(data)
    names = sorted(p.name for p in HERE.iterdir() if p.suffix in (".png", ".jpg"))
    golden = safetensors({name: decode((HERE / name).read_bytes()) for name in names})
    if "--check" in sys.argv:
        assert golden == (HERE / "golden.safetensors").read_bytes()
        print(len(names), "pictures equal")
        return
    (HERE / "golden.safetensors").write_bytes(golden)


main()
