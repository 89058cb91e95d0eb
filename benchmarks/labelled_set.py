"""A labelled set of pictures, drawn from numbers: originals, copies of each by named changes, and hard negatives.

Hard negatives are pictures that look alike and are not copies: one page layout with other text, one playing card with
another suit and number, one backdrop with another object, portraits of one layout, icons that differ in one detail,
flat pictures and gradients. Sides are 192 to 320 pixels, icons 64.
"""

import io
import string
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

Change = Callable[[Image.Image, np.random.Generator], Image.Image]
Random = np.random.Generator


def colour(rng: Random) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def backdrop(rng: Random, width: int, height: int) -> Image.Image:
    """Clouds of several sizes in colour: about the spectrum of a photograph."""
    sums = np.zeros((height, width, 3))
    for octave in range(2, 8):
        grid = rng.normal(size=(2**octave // 2 + 1, 2**octave // 2 + 1, 3)) * 0.6**octave
        for channel in range(3):
            layer = Image.fromarray(grid[:, :, channel].astype(np.float32))
            sums[:, :, channel] += np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC))
    sums = 0.5 * sums + 0.5 * sums.mean(axis=2, keepdims=True)
    low, high = np.percentile(sums, (1, 99))
    levels = rng.uniform(0, 60) + (sums - low) / (high - low) * rng.uniform(110, 190)
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def object_on(image: Image.Image, rng: Random) -> Image.Image:
    """One thing of a third of the side or more: a textured polygon or ellipse with a shadow and details."""
    width, height = image.size
    size = rng.uniform(0.33, 0.55) * min(width, height)
    x, y = rng.uniform(0.05, 0.95, 2) * (width - size, height - size)
    mask = Image.new("L", image.size, 0)
    draw = ImageDraw.Draw(mask)
    if rng.random() < 0.5:
        draw.ellipse((x, y, x + size, y + size * rng.uniform(0.6, 1)), fill=255)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
        draw.polygon([(x + size / 2 * (1 + np.cos(a)), y + size / 2 * (1 + np.sin(a))) for a in angles], fill=255)
    texture = Image.blend(Image.new("RGB", image.size, colour(rng)), backdrop(rng, width, height), 0.35)
    shown = Image.composite(texture, image, mask)
    pen = ImageDraw.Draw(shown)
    for _ in range(rng.integers(2, 6)):
        cx, cy, r = x + rng.uniform(0, size), y + rng.uniform(0, size), rng.uniform(0.03, 0.1) * size
        pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=colour(rng))
    return shown


def scene(rng: Random) -> Image.Image:
    width, height = (int(side) for side in rng.integers(192, 321, 2))
    image = backdrop(rng, width, height)
    for _ in range(rng.integers(1, 5)):
        image = object_on(image, rng)
    return image


def same_backdrop(rng: Random) -> Image.Image:
    """Every picture of this kind has one backdrop, and another object on it."""
    return object_on(backdrop(np.random.default_rng(7), 256, 224), rng)


def words(rng: Random, count: int) -> str:
    letters = list(string.ascii_lowercase)
    return " ".join("".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(count))


def page(rng: Random) -> Image.Image:
    """One layout: title, rule, three paragraphs, a block where a picture would be. Only the text differs."""
    image = Image.new("RGB", (224, 300), "white")
    draw = ImageDraw.Draw(image)
    draw.text((16, 12), words(rng, 3)[:18], "black", ImageFont.load_default(18))
    draw.line((16, 38, 208, 38), "black", 2)
    draw.rectangle((128, 50, 208, 120), "#8899aa")
    for line in range(16):
        wide = 20 if line < 5 else 36
        draw.text((16, 48 + 15 * line), words(rng, 8)[:wide], "black", ImageFont.load_default(11))
    return image


def card(rng: Random) -> Image.Image:
    """A poster of one design: a frame, a picture in it that is always the same, another name and number below."""
    image = Image.new("RGB", (220, 300), "#f4ead0")
    draw = ImageDraw.Draw(image)
    draw.rectangle((6, 6, 213, 293), outline="#804020", width=5)
    image.paste(scene(np.random.default_rng(11)).resize((180, 170)), (20, 20))
    draw.text((22, 200), words(rng, 2)[:12].title(), "#301008", ImageFont.load_default(28))
    draw.text((22, 240), f"{rng.integers(100, 999)} / {words(rng, 3)[:14]}", "#301008", ImageFont.load_default(22))
    return image


def portrait(rng: Random) -> Image.Image:
    """Head and shoulders before a wall, always in the same place; colours, hair and features differ."""
    image = Image.blend(Image.new("RGB", (240, 280), colour(rng)), backdrop(rng, 240, 280), 0.25)
    draw = ImageDraw.Draw(image)
    skin = tuple((np.array([224, 180, 150]) * rng.uniform(0.4, 1.1)).clip(0, 255).astype(int).tolist())
    draw.ellipse((40, 190, 200, 380), fill=colour(rng))
    draw.ellipse((64, 36, 176, 170), fill=colour(rng))
    draw.ellipse((75, 60, 165, 195), fill=skin)
    for x in (100, 140):
        draw.ellipse((x - 8, 110, x + 8, 118 + int(rng.integers(0, 8))), fill=colour(rng))
    draw.arc((95, 130, 145, 165 + int(rng.integers(0, 15))), 20, 160, fill="#702020", width=4)
    return image


def icon(rng: Random) -> Image.Image:
    """A white icon on black, 64 pixels: one shape for all of this kind, and one detail of a tenth of the side."""
    image = Image.new("RGB", (64, 64), "black")
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((10, 8, 53, 56), 8, fill="white")
    draw.polygon([(32, 16), (44, 34), (20, 34)], fill="black")
    detail = rng.integers(0, 4)
    x, y = int(rng.choice([14, 20, 26, 32, 38, 42])), int(rng.choice([37, 42, 46]))
    if detail == 0:
        draw.ellipse((x, y, x + 8, y + 8), fill="black")
    elif detail == 1:
        draw.rectangle((x, y, x + 8, y + 5), fill="black")
    elif detail == 2:
        draw.line((x, y, x + 8, y + 8), fill="black", width=3)
    else:
        draw.polygon([(x, y + 8), (x + 8, y + 8), (x + 4, y)], fill="black")
    return image


def emblem(rng: Random) -> Image.Image:
    """A white figure on black, 64 pixels, made of a few shapes: another one each time."""
    image = Image.new("L", (64, 64), 0)
    draw = ImageDraw.Draw(image)
    for shade in [255, 255, 0, 255, 0][: rng.integers(3, 6)]:
        points = [tuple(rng.integers(4, 60, 2).tolist()) for _ in range(rng.integers(3, 6))]
        if rng.random() < 0.5:
            draw.polygon(points, fill=shade)
        else:
            (x, y), r = points[0], int(rng.integers(5, 20))
            draw.ellipse((x - r, y - r, x + r, y + r), fill=shade)
    return image.convert("RGB")


def flat(rng: Random) -> Image.Image:
    """One colour, or a soft gradient between two that are close."""
    base = rng.integers(20, 236, 3).astype(float)
    step = rng.normal(0, 6, 3)
    ramp = np.linspace(0, 1, 200)[:, None, None] if rng.random() < 0.5 else np.linspace(0, 1, 240)[None, :, None]
    return Image.fromarray(np.broadcast_to((base + ramp * step).clip(0, 255).astype(np.uint8), (200, 240, 3)).copy())


ORIGINALS: dict[str, Callable[[Random], Image.Image]] = {"scene": scene, "emblem": emblem}
HARD: dict[str, Callable[[Random], Image.Image]] = {
    "page, other text": page, "card, other text": card, "backdrop, other object": same_backdrop,
    "portrait, one layout": portrait, "icon, other detail": icon, "flat": flat,
}  # fmt: skip


def pictures(make: Callable[[Random], Image.Image], count: int, seed: int) -> Iterator[Image.Image]:
    for number in range(count):
        yield make(np.random.default_rng([seed, number]))


def encoded(image: Image.Image, kind: str, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, kind, quality=quality)
    return Image.open(stream).convert("RGB")


def scaled(image: Image.Image, across: float, down: float, how: Image.Resampling) -> Image.Image:
    return image.resize((max(32, round(image.width * across)), max(32, round(image.height * down))), how)


def cropped(image: Image.Image, share: float, rng: Random) -> Image.Image:
    """`share` of the width and of the height is cut off, at a place drawn at random."""
    width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
    x, y = int(rng.integers(0, image.width - width + 1)), int(rng.integers(0, image.height - height + 1))
    return image.crop((x, y, x + width, y + height))


def captioned(image: Image.Image, rng: Random) -> Image.Image:
    shown = image.copy()
    draw = ImageDraw.Draw(shown)
    size = max(8, image.height // 12)
    draw.text((image.width // 12, image.height - 2 * size), words(rng, 3), "white", ImageFont.load_default(size),
              stroke_width=1, stroke_fill="black")  # fmt: skip
    return shown


def noisy(image: Image.Image, rng: Random) -> Image.Image:
    pixels: NDArray[np.float64] = np.asarray(image) + rng.normal(0, 10, (image.height, image.width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def bordered(image: Image.Image, share: float, rng: Random) -> Image.Image:
    return ImageOps.expand(image, round(share * min(image.size)), fill=("black", "white")[rng.integers(2)])


def turned(image: Image.Image, degrees: int) -> Image.Image:
    return image.rotate(degrees, Image.Resampling.BICUBIC, expand=degrees % 90 == 0)


def gamma(image: Image.Image, power: float) -> Image.Image:
    return image.point(lambda level: round(255 * (level / 255) ** power))


_AREA, _CUBIC, _LANCZOS = Image.Resampling.BOX, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS
CORE: dict[str, Change] = {
    "JPEG 75": lambda image, _: encoded(image, "JPEG", 75),
    "JPEG 50": lambda image, _: encoded(image, "JPEG", 50),
    "JPEG 30": lambda image, _: encoded(image, "JPEG", 30),
    "WebP 50": lambda image, _: encoded(image, "WEBP", 50),
    "size x 0.75": lambda image, _: scaled(image, 0.75, 0.75, Image.Resampling.BILINEAR),
    "size x 0.5": lambda image, _: scaled(image, 0.5, 0.5, _LANCZOS),
    "size x 0.25": lambda image, _: scaled(image, 0.25, 0.25, _AREA),
    "size x 2": lambda image, _: scaled(image, 2, 2, _CUBIC),
    "width x 0.8": lambda image, _: scaled(image, 0.8, 1, _LANCZOS),
    "blur, 1 px": lambda image, _: image.filter(ImageFilter.GaussianBlur(1)),
    "blur, 2 px": lambda image, _: image.filter(ImageFilter.GaussianBlur(2 if image.width > 64 else 1.5)),
    "grey": lambda image, _: image.convert("L").convert("RGB"),
    "gamma 0.7": lambda image, _: gamma(image, 0.7),
    "gamma 1.4": lambda image, _: gamma(image, 1.4),
}
TURNED: dict[str, Change] = {
    "mirror": lambda image, _: ImageOps.mirror(image),
    "upside down": lambda image, _: turned(image, 180),
    "quarter turn": lambda image, rng: turned(image, int(rng.choice([90, 270]))),
    "mirror and quarter turn": lambda image, _: turned(ImageOps.mirror(image), 90),
}
CROPPED: dict[str, Change] = {
    "crop 5 %": lambda image, rng: cropped(image, 0.05, rng),
    "crop 10 %": lambda image, rng: cropped(image, 0.10, rng),
    "crop 20 %": lambda image, rng: cropped(image, 0.20, rng),
    "border 5 %": lambda image, rng: bordered(image, 0.05, rng),
}
OTHER: dict[str, Change] = {
    "brightness x 0.8": lambda image, _: ImageEnhance.Brightness(image).enhance(0.8),
    "contrast x 0.8": lambda image, _: ImageEnhance.Contrast(image).enhance(0.8),
    "noise, sd 10": noisy,
    "caption": captioned,
    "turn by 2 degrees": lambda image, _: turned(image, 2),
    "crop 5 %, JPEG 75": lambda image, rng: encoded(cropped(image, 0.05, rng), "JPEG", 75),
    "mirror, crop 5 %": lambda image, rng: cropped(ImageOps.mirror(image), 0.05, rng),
}
CHANGES: dict[str, Change] = CORE | CROPPED | TURNED | OTHER
