"""Duplicate groups: copies are grouped, pictures that differ in one detail are not, and nothing chains."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance

from pipeline.core.digests import pixel_digest
from pipeline.core.settings import DuplicateSettings
from pipeline.similarity.fingerprints import fingerprint, thumbnails
from pipeline.similarity.groups import Prints, duplicate_groups, find_copies, like_any
from pipeline.similarity.looks import back, then, turned, turned_windows


def _card(suit: str, ink: str = "black") -> Image.Image:
    """A playing card of 64x64 pixels; two of them differ in a few corner pixels only."""
    image = Image.new("RGB", (64, 64), "black")
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((12, 2, 52, 61), 6, fill="white")
    draw.line((25, 20, 39, 20, 28, 45), fill="black", width=4)
    draw.polygon({"diamond": [(18, 6), (23, 12), (18, 18), (13, 12)], "spade": [(18, 6), (23, 17), (13, 17)]}[suit],
                 fill=ink)  # fmt: skip
    return image


def _scene(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
        (96, 96), Image.Resampling.BICUBIC
    )
    draw = ImageDraw.Draw(image)
    for _ in range(8):
        x, y, size = rng.integers(0, 96, 3)
        draw.ellipse((x, y, x + size // 3 + 4, y + size // 4 + 4), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return image


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def _groups(images: list[Image.Image], settings: DuplicateSettings | None = None) -> list[int]:
    pixels: list[NDArray[np.uint8]] = [np.asarray(image) for image in images]
    prints = [fingerprint(rgb) for rgb in pixels]
    groups = duplicate_groups(
        [one.phash for one in prints],
        np.array([one.flatness for one in prints]),
        thumbnails([one.thumbnail for one in prints]),
        [pixel_digest(rgb) for rgb in pixels],
        settings or DuplicateSettings(),
    )
    assert groups.dtype == np.int64
    return groups.tolist()


COPIES = {
    "jpeg 75": lambda image: _jpeg(image, 75),
    "jpeg 40": lambda image: _jpeg(image, 40),
    "half size": lambda image: image.resize((48, 48), Image.Resampling.LANCZOS),
    "three quarters": lambda image: image.resize((72, 72), Image.Resampling.BILINEAR),
    "double size": lambda image: image.resize((192, 192), Image.Resampling.BICUBIC),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
    "gamma": lambda image: image.point(lambda level: round(255 * (level / 255) ** 1.2)),
}


@pytest.mark.parametrize("change", COPIES)
def test_recompressed_resized_and_relit_copies_join_their_original(change: str) -> None:
    originals = [_scene(seed) for seed in range(20)]
    groups = _groups(originals + [COPIES[change](image) for image in originals])
    joined = sum(groups[row] == groups[row + 20] != -1 for row in range(20))
    assert joined >= 19
    assert len(set(groups) - {-1}) == joined  # and nothing else is joined


def test_cards_that_differ_in_their_suit_alone_stay_apart() -> None:
    assert _groups([_card("diamond"), _card("spade")]) == [-1, -1]
    assert _groups([_card("diamond"), _card("spade"), _jpeg(_card("diamond"), 75)]) == [0, -1, 0]


def test_a_recoloured_picture_is_another_picture() -> None:
    scene = np.asarray(_scene(3))
    assert _groups([Image.fromarray(scene), Image.fromarray(scene[:, :, ::-1].copy())]) == [-1, -1]


def test_pixel_twins_group_even_when_flat_and_other_flat_pictures_do_not() -> None:
    white, black, grey = (Image.new("RGB", (40, 40), colour) for colour in ("white", "black", "#f8f8f8"))
    assert _groups([white, black, white.copy(), grey]) == [0, -1, 0, -1]


def test_groups_are_stars_around_the_first_row_and_never_chains() -> None:
    """One scene fades into another: neighbouring frames look the same, the ends do not."""
    first, last = np.asarray(_scene(5), float), np.asarray(_scene(6), float)
    frames = [Image.fromarray((first + (last - first) * step / 40).astype(np.uint8)) for step in range(41)]
    groups = np.array(_groups(frames))
    assert groups[0] == groups[1] == 0
    assert len(set(groups.tolist())) > 2
    for group in set(groups.tolist()) - {-1}:
        members = np.flatnonzero(groups == group)
        for member in members[1:]:
            assert _groups([frames[members[0]], frames[member]]) == [0, 0]


def test_groups_are_numbered_by_their_first_row() -> None:
    a, b, c = _scene(1), _scene(2), _scene(3)
    assert _groups([b, a, c, _jpeg(a, 80), _jpeg(b, 80)]) == [0, 1, -1, 1, 0]


def test_the_settings_decide_how_alike_duplicates_must_be() -> None:
    pair = [_scene(4), _jpeg(_scene(4), 30)]
    assert _groups(pair) == [0, 0]
    assert _groups(pair, DuplicateSettings(pixel_difference=0)) == [-1, -1]


def test_no_pictures_have_no_groups() -> None:
    assert _groups([]) == []


TURNS = {
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda image: image.rotate(180),
    "quarter turn": lambda image: image.rotate(90, expand=True),
    "mirrored quarter turn": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(90, expand=True),
}


@pytest.mark.parametrize("turn", TURNS)
def test_turned_and_mirrored_copies_join_their_original(turn: str) -> None:
    originals = [_scene(seed) for seed in range(20)]
    groups = _groups(originals + [_jpeg(TURNS[turn](image), 80) for image in originals])
    joined = sum(groups[row] == groups[row + 20] != -1 for row in range(20))
    assert joined >= 18
    assert len(set(groups) - {-1}) == joined


@pytest.mark.parametrize("side", [64, 96])
def test_recompressed_copies_of_small_colour_pictures_join_their_original(side: int) -> None:
    originals = [_scene(seed).resize((side, side)) for seed in range(20)]
    groups = _groups(originals + [_jpeg(image, 50) for image in originals])
    assert sum(groups[row] == groups[row + 20] != -1 for row in range(20)) >= 18


def test_recompressed_copies_of_pictures_of_few_tones_join_their_original() -> None:
    grey = Image.new("RGB", (96, 96), (150, 140, 160))
    originals = [Image.blend(grey, _scene(seed), 0.25) for seed in range(20)]
    groups = _groups(originals + [_jpeg(image, 50) for image in originals])
    assert sum(groups[row] == groups[row + 20] != -1 for row in range(20)) >= 19


def _emblem(seed: int) -> Image.Image:
    """A white figure on black, its own mirror image but for rounding: half of its coefficients are nearly 0."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (512, 512))
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        x, y, width, height = rng.integers(60, 200, 4).tolist()
        for left, right in ((x, x + width), (511 - x - width, 511 - x)):
            draw.ellipse((left, 2 * y - 60, right, 2 * y - 60 + height), fill=255)
    grey = np.asarray(image.resize((64, 64), Image.Resampling.LANCZOS), dtype=np.int16)
    rounded = np.clip(grey + rng.integers(-1, 2, grey.shape), 0, 255)
    return Image.fromarray(rounded.astype(np.uint8)).convert("RGB")


def test_copies_of_mirrored_figures_join_their_original_although_their_hashes_are_noise() -> None:
    originals = [_emblem(seed) for seed in range(20)]
    copies = [_jpeg(image, 40) for image in originals]
    hashes = [[fingerprint(np.asarray(image)).phash for image in images] for images in (originals, copies)]
    apart = [(int.from_bytes(a) ^ int.from_bytes(b)).bit_count() for a, b in zip(*hashes, strict=True)]
    assert min(apart) > DuplicateSettings().distance
    groups = _groups(originals + copies)
    assert [groups[row] for row in range(20)] == [groups[row + 20] for row in range(20)] == list(range(20))


def _joined(originals: list[Image.Image], copies: list[Image.Image]) -> int:
    groups = _groups(originals + copies)
    return sum(groups[row] == groups[row + len(originals)] != -1 for row in range(len(originals)))


@pytest.mark.parametrize("cut", [(0, 0, 4, 4), (5, 0, 0, 5), (2, 2, 2, 2), (9, 3, 0, 6), (0, 0, 0, 9)])
def test_crops_of_up_to_a_tenth_join_their_original(cut: tuple[int, int, int, int]) -> None:
    originals = [_scene(seed).resize((192, 192)) for seed in range(20)]
    left, top, right, bottom = (2 * side for side in cut)
    crops = [_jpeg(image.crop((left, top, 192 - right, 192 - bottom)), 85) for image in originals]
    assert _joined(originals, crops) >= 18


@pytest.mark.parametrize("turn", TURNS)
def test_crops_that_are_turned_too_join_their_original(turn: str) -> None:
    originals = [_scene(seed).resize((192, 192)) for seed in range(20)]
    crops = [_jpeg(TURNS[turn](image).crop((10, 4, 190, 184)), 85) for image in originals]
    assert _joined(originals, crops) >= 18


@pytest.mark.parametrize("turn", TURNS)
def test_turned_and_cropped_copies_of_one_picture_are_one_group(turn: str) -> None:
    """Whichever is kept: the crop and the turned copy are compared with each other, not with the original."""
    original = _scene(3).resize((192, 192))
    crop, other = original.crop((6, 4, 186, 188)), TURNS[turn](original)
    for pictures in ([crop, original, other], [other, original, crop], [original, crop, other]):
        assert _groups(pictures) == [0, 0, 0]


def test_a_copy_says_how_it_was_found() -> None:
    original = _scene(8).resize((192, 192))
    images = [original, original.transpose(Image.Transpose.FLIP_LEFT_RIGHT), original.crop((10, 0, 192, 182))]
    pixels = [np.asarray(image) for image in images]
    made = [fingerprint(rgb) for rgb in pixels]
    prints = Prints(
        [one.phash for one in made], np.array([one.flatness for one in made]),
        thumbnails([one.thumbnail for one in made]), [pixel_digest(rgb) for rgb in pixels],
    )  # fmt: skip
    copies = find_copies(prints, DuplicateSettings())
    assert copies.kept.tolist() == [0, 0, 0]
    assert copies.turn.tolist() == [0, 4, 0]
    assert copies.window[2] == pytest.approx([0, 10 / 192, 182 / 192, 182 / 192], abs=0.02)
    assert not copies.larger.any()
    assert like_any(prints, np.array([1, 2]), np.array([0]), DuplicateSettings()).tolist() == [1, 2]
    assert find_copies(prints_in(prints, [2, 0]), DuplicateSettings()).larger.tolist() == [False, True]


def prints_in(prints: Prints, rows: list[int]) -> Prints:
    """The same prints in another order of preference."""
    return Prints([prints.phash[row] for row in rows], np.asarray(prints.flatness)[rows], prints.thumbnails[rows],
                  [prints.pixels[row] for row in rows])  # fmt: skip


@pytest.mark.parametrize("second", range(8))
@pytest.mark.parametrize("first", range(8))
def test_positions_of_a_square_are_a_group_and_windows_turn_along(first: int, second: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32))
    one, two = np.array([first]), np.array([second])
    both = turned(turned(picture, first), second)
    assert (both == turned(picture, int(then(one, two)[0]))).all()
    assert (turned(turned(picture, first), int(back(one)[0])) == picture).all()
    top, left, height, width = (turned_windows(np.array([[0.25, 0.125, 0.5, 0.25]]), one)[0] * 32).astype(int)
    part = turned(picture, first)[:, top : top + height, left : left + width]
    assert (part == turned(picture[:, 8:24, 4:12], first)).all()
