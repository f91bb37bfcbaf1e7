"""Writes JPEG files in every form that is read, and records the SHA-256 of the pixels that Pillow makes of them.

    python make.py

Needs Pillow and numpy; the files were made with Pillow 13.0.0 (libjpeg-turbo 3.2.0).
"""

import hashlib
import io
import json
import pathlib

import numpy
from PIL import Image

here = pathlib.Path(__file__).parent
random = numpy.random.default_rng(5)


def picture(width, height, channels=3):
    """Edges, slopes and noise."""
    y, x = numpy.mgrid[:height, :width]
    planes = [(x * 9 + y) % 256, (x // 5 + y // 3) % 2 * 200 + 20, y * 255 // height, (x * y) % 256]
    pixels = numpy.stack(planes[:channels], -1) + random.integers(-15, 16, (height, width, channels))
    return pixels.clip(0, 255).astype(numpy.uint8)


def jpeg(pixels, mode=None, **options):
    file = io.BytesIO()
    options = {"quality": 75, **options}
    Image.fromarray(pixels, mode).save(file, "JPEG", **options)
    return file.getvalue()


def sampled(file, before, after):
    """The same blocks in another order: other sampling factors with the same product."""
    frame = max(file.find(b"\xff\xc0"), file.find(b"\xff\xc2")) + 11
    assert file[frame] == before
    return file[:frame] + bytes([after]) + file[frame + 1:]


def transform(file, number):
    """Another statement in the Adobe segment."""
    at = file.index(b"Adobe") + 11
    return file[:at] + bytes([number]) + file[at + 1:]


square = picture(32, 32)
cmyk = jpeg(picture(19, 12, 4), "CMYK")
files = {
    "420": jpeg(picture(37, 21)),
    "420-fine": jpeg(random.integers(0, 256, (24, 24, 3), dtype=numpy.uint8), quality=100),
    "420-progressive": jpeg(picture(37, 21), progressive=True),
    "420-restarts": jpeg(picture(50, 20), restart_marker_blocks=1),
    "420-2x7": jpeg(picture(2, 7)),
    "420-1x1": jpeg(picture(1, 1)),
    "422": jpeg(picture(37, 21), subsampling=1),
    "422-2x3": jpeg(picture(2, 3), subsampling=1),
    "422-progressive": jpeg(picture(21, 37), subsampling=1, progressive=True, quality=40),
    "444": jpeg(picture(21, 37), subsampling=0),
    "444-progressive-restarts": jpeg(picture(21, 37), subsampling=0, progressive=True, restart_marker_blocks=2),
    "440": sampled(jpeg(square, subsampling=1), 0x21, 0x12),
    "411": sampled(jpeg(square), 0x22, 0x41),
    "441": sampled(jpeg(square, progressive=True), 0x22, 0x14),
    "gray": jpeg(picture(13, 21, 1)[:, :, 0]),
    "gray-progressive": jpeg(picture(13, 21, 1)[:, :, 0], progressive=True, quality=95),
    "rgb": jpeg(picture(21, 13), keep_rgb=True),
    "cmyk": cmyk,
    "ycck": transform(cmyk, 2),
}
recorded = {}
for name, file in files.items():
    (here / f"{name}.jpg").write_bytes(file)
    found = Image.open(io.BytesIO(file)).convert("RGB")
    recorded[name] = {"size": found.size, "sha256": hashlib.sha256(found.tobytes()).hexdigest()}
(here / "pillow.json").write_text(json.dumps(recorded, indent=1) + "\n")
