"""The gate on outputs: every reason, and the promises about order and determinism."""

import hashlib
import io

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from pipeline.catalog.tables import VERDICTS
from pipeline.core.digests import pixel_digest
from pipeline.core.settings import DuplicateSettings, ScreeningSettings
from pipeline.screening.gate import screen
from pipeline.screening.reasons import EXPLANATIONS, ScreeningReason
from pipeline.similarity.fingerprints import fingerprint, hash_words
from pipeline.similarity.hash_lists import HashLists

Pixels = NDArray[np.uint8]


def _picture(seed: int) -> Pixels:
    """A smooth random colour picture of 64x64 pixels: each seed another one."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC))


def _png(rgb: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    return stream.getvalue()


def _noisy(rgb: Pixels, deviation: float = 4.0) -> Pixels:
    noise = np.random.default_rng(99).normal(0, deviation, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


def _batch(pictures: list[Pixels]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "index": range(len(pictures)),
            "label": "",
            "pixels": [pixel_digest(picture) for picture in pictures],
            "image": [_png(picture) for picture in pictures],
        }
    )


def _prints(pictures: list[Pixels]) -> pd.DataFrame:
    prints = [fingerprint(picture) for picture in pictures]
    return pd.DataFrame(
        {
            "phash": [one.phash for one in prints],
            "flatness": [one.flatness for one in prints],
            "thumbnail": [one.thumbnail for one in prints],
        }
    )


def _known(pictures: list[Pixels], barred: tuple[int, ...] = (), untrained: tuple[int, ...] = ()) -> pd.DataFrame:
    table = _prints(pictures)
    table["asset"] = [f"asset-{row}" for row in range(len(pictures))]
    table["decision"] = ["deny" if row in barred else "allow" for row in range(len(pictures))]
    table["trained"] = [row not in untrained for row in range(len(pictures))]
    return table


TRAINING = [_picture(seed) for seed in range(60)]
NO_EARLIER = pd.DataFrame(columns=["output", "phash", "flatness", "thumbnail", "pixels"])


def _screen(batch: pd.DataFrame, known: pd.DataFrame, earlier: pd.DataFrame = NO_EARLIER) -> pd.DataFrame:
    return screen(batch, known, earlier, DuplicateSettings(), ScreeningSettings()).verdicts


def test_fresh_pictures_pass_and_the_table_fits_its_schema() -> None:
    verdicts = _screen(_batch([_picture(seed) for seed in range(1000, 1020)]), _known(TRAINING))
    assert list(verdicts["verdict"]) == ["pass"] * 20
    table = pa.Table.from_pandas(verdicts, schema=VERDICTS, preserve_index=False)
    assert table.num_rows == 20
    for nearest in verdicts["nearest"]:
        distances = [one["distance"] for one in nearest]
        assert len(distances) == 5 and distances == sorted(distances)


def test_flat_and_damaged_images_are_quarantined_without_stopping_the_batch() -> None:
    batch = _batch([_picture(1000), np.full((64, 64, 3), 120, np.uint8), _picture(1001), _picture(1002)])
    batch.at[2, "image"] = batch.at[2, "image"][:60]
    batch.at[3, "image"] = b""
    verdicts = _screen(batch, _known(TRAINING))
    assert [list(reasons) for reasons in verdicts["reasons"]] == [
        [],
        ["BLANK"],
        ["UNREADABLE_IMAGE"],
        ["UNREADABLE_IMAGE"],
    ]
    assert list(verdicts["verdict"]) == ["pass", "quarantine", "quarantine", "quarantine"]
    assert verdicts["nearest"][2] == []


def test_of_duplicates_in_a_batch_the_lowest_index_is_kept() -> None:
    first, second = _picture(1000), _picture(1001)
    batch = _batch([first, second, _noisy(first), first])
    expected = [[], [], ["DUPLICATE_IN_BATCH"], ["DUPLICATE_IN_BATCH"]]
    assert list(_screen(batch, _known(TRAINING))["reasons"]) == expected
    backwards = _screen(batch.iloc[::-1].reset_index(drop=True), _known(TRAINING))
    assert list(backwards["index"]) == [3, 2, 1, 0]
    assert list(backwards["reasons"]) == expected[::-1]


def test_verdicts_do_not_depend_on_images_with_a_higher_index() -> None:
    batch = _batch([_picture(1000), TRAINING[3], _noisy(_picture(1000)), _picture(1001), _picture(1000)])
    whole = _screen(batch, _known(TRAINING))
    for count in range(1, len(batch)):
        part = _screen(batch.head(count), _known(TRAINING))
        assert list(part["reasons"]) == list(whole["reasons"].head(count))


def test_a_picture_published_before_is_not_published_again() -> None:
    old = _picture(1000)
    earlier = _prints([old]).assign(output="urn:uuid:1", pixels=pixel_digest(old))
    verdicts = _screen(_batch([_noisy(old), old, _picture(1001)]), _known(TRAINING), earlier)
    assert verdicts["reasons"][0] == ["DUPLICATE_OF_EARLIER"]
    assert verdicts["reasons"][1] == ["DUPLICATE_OF_EARLIER", "DUPLICATE_IN_BATCH"]
    assert verdicts["reasons"][2] == []


def test_near_copies_of_training_images_are_caught_mirrored_and_shifted_too() -> None:
    shifted = np.roll(TRAINING[7], 2, axis=1)  # one thumbnail pixel
    shifted[:, :2] = shifted[:, 2:3]
    batch = _batch([TRAINING[5], _noisy(TRAINING[6]), shifted, np.ascontiguousarray(TRAINING[8][:, ::-1])])
    verdicts = _screen(batch, _known(TRAINING))
    assert [list(reasons) for reasons in verdicts["reasons"]] == [["NEAR_COPY_OF_TRAINING"]] * 4
    assert [nearest[0]["asset"] for nearest in verdicts["nearest"]] == ["asset-5", "asset-6", "asset-7", "asset-8"]


def test_near_copy_of_a_barred_picture_that_was_never_trained_on() -> None:
    known = _known(TRAINING, barred=(9,), untrained=(9, 10))
    verdicts = _screen(_batch([TRAINING[9], TRAINING[10], _picture(1000)]), known)
    assert verdicts["reasons"][0] == ["NEAR_COPY_OF_BARRED"]
    assert verdicts["reasons"][1] == []  # known and allowed, but no training image
    assert verdicts["reasons"][2] == []


def test_consent_of_the_nearest_training_image_is_needed_at_the_moment_of_the_gate() -> None:
    mixed = (0.7 * TRAINING[4].astype(float) + 0.3 * TRAINING[20]).astype(np.uint8)
    batch = _batch([mixed])
    before, after = _screen(batch, _known(TRAINING)), _screen(batch, _known(TRAINING, barred=(4,)))
    assert before["nearest"][0][0]["asset"] == "asset-4"
    assert "NEAREST_NOT_ALLOWED" not in before["reasons"][0]
    assert "NEAREST_NOT_ALLOWED" in after["reasons"][0]


def test_without_known_pictures_only_the_batch_itself_is_judged() -> None:
    verdicts = _screen(_batch([_picture(1), _picture(1)]), _known([]), pd.DataFrame())
    assert list(verdicts["reasons"]) == [[], ["DUPLICATE_IN_BATCH"]]
    assert list(verdicts["nearest"]) == [[], []]


def test_an_empty_batch_gives_an_empty_table_of_the_same_schema() -> None:
    verdicts = _screen(_batch([]), _known(TRAINING))
    assert pa.Table.from_pandas(verdicts, schema=VERDICTS, preserve_index=False).num_rows == 0


def test_the_same_inputs_give_the_same_verdicts() -> None:
    batch, known = _batch([_picture(seed) for seed in range(990, 1000)]), _known(TRAINING)
    pd.testing.assert_frame_equal(_screen(batch, known), _screen(batch, known))


def test_every_reason_is_explained_in_one_sentence() -> None:
    assert set(EXPLANATIONS) == set(ScreeningReason)
    assert all(text.endswith(".") and text.count(".") == 1 for text in EXPLANATIONS.values())


def _hill(seed: int) -> Pixels:
    """Drawings of one kind: a slope under a sky, whose height and tilt vary."""
    rng = np.random.default_rng(seed)
    height, tilt = rng.uniform(20, 44), rng.uniform(-0.4, 0.4)
    rows, columns = np.mgrid[:64, :64]
    ground = (rows > height + tilt * (columns - 32))[..., None]
    return np.where(ground, rng.integers(20, 120, 3), rng.integers(130, 250, 3)).astype(np.uint8)


def test_noise_is_degenerate_where_real_pictures_resemble_each_other() -> None:
    known = _known([_hill(seed) for seed in range(60)])
    noise = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    verdicts = screen(
        _batch([_hill(1000), noise]), known, pd.DataFrame(), DuplicateSettings(), ScreeningSettings()
    ).verdicts
    assert "DEGENERATE" not in verdicts.reasons[0]
    assert "DEGENERATE" in verdicts.reasons[1]


def test_an_image_on_a_safety_hash_list_is_stopped_and_nothing_of_it_is_kept() -> None:
    batch = _batch([_picture(1001), _picture(1002)])
    listed = HashLists(hash_words([]), frozenset({("sha256", hashlib.sha256(batch["image"][1]).hexdigest())}))
    verdicts = screen(
        batch, _known(TRAINING), pd.DataFrame(), DuplicateSettings(), ScreeningSettings(), listed
    ).verdicts
    assert list(verdicts["verdict"]) == ["pass", "stopped"]
    assert verdicts["reasons"][1] == ["HASH_LIST_MATCH"]
    assert not any(verdicts["phash"][1]) and not any(verdicts["thumbnail"][1]) and not verdicts["nearest"][1]
