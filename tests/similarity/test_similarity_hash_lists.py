"""Safety hash lists: what is on one is found, withdrawn entries do not count, nothing of a list is shown."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pdqhash
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.errors import ImprimaturError
from pipeline.similarity.hash_lists import HashLists, read_hash_lists


def _picture(seed: int) -> Image.Image:
    cells = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((300, 260), Image.Resampling.BICUBIC)


def _bytes(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def _pixels(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))


def _pdq(image: Image.Image) -> str:
    bits, quality = pdqhash.compute(np.asarray(image))
    assert quality >= 50
    return np.packbits(bits.astype(bool)).tobytes().hex()


def _lists(folder: Path, *lines: str) -> HashLists:
    path = folder / "list.txt"
    path.write_text("\n".join(lines))
    return read_hash_lists([path])


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256", "video_md5", "video_sha256"])
def test_the_very_bytes_are_found_by_their_digest(tmp_path: Path, kind: str) -> None:
    data = _bytes(_picture(1))
    digest = hashlib.new(
        kind.removeprefix("video_"), data
    ).hexdigest()  # the library's names; it is the bytes' digest
    lists = _lists(tmp_path, "# made for a test", f"{kind} {digest.upper()}")
    assert lists.knows_bytes(data)
    assert not lists.knows_bytes(_bytes(_picture(2)))
    assert not lists.knows_bytes(data + b"\0")


def test_a_recompressed_copy_is_found_by_pdq_and_another_picture_is_not(tmp_path: Path) -> None:
    lists = _lists(tmp_path, f"pdq {_pdq(_picture(1))}")
    assert lists.knows_picture(_pixels(_bytes(_picture(1).resize((200, 180)), "JPEG")))
    assert not lists.knows_picture(np.asarray(_picture(2)))


def test_pictures_without_enough_detail_are_not_matched_by_pdq(tmp_path: Path) -> None:
    flat = Image.new("RGB", (300, 300), "#808080")
    bits, quality = pdqhash.compute(np.asarray(flat))
    assert quality < 50
    assert not _lists(tmp_path, f"pdq {np.packbits(bits.astype(bool)).tobytes().hex()}").knows_picture(
        np.asarray(flat)
    )


def test_withdrawn_entries_do_not_count(tmp_path: Path) -> None:
    entry = f"pdq {_pdq(_picture(1))}"
    assert _lists(tmp_path, entry).knows_picture(np.asarray(_picture(1)))
    assert not _lists(tmp_path, f"withdrawn {entry}", entry).knows_picture(np.asarray(_picture(1)))


def test_a_line_that_is_no_entry_is_named_by_its_number_only(tmp_path: Path) -> None:
    with pytest.raises(ImprimaturError, match="line 2") as caught:
        _lists(tmp_path, f"md5 {'0' * 32}", "pdq 1234secret")
    assert "1234secret" not in str(caught.value)
