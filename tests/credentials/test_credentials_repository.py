"""The manifest repository: outputs are found by what is left of them, and a planted watermark is exposed."""

from collections.abc import Callable

import numpy as np
import pytest
from credentials_studio import Studio, decoded, encoded, picture
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import event, select, update

from pipeline.catalog.database import open_catalog
from pipeline.catalog.tables import output_hash_keys, output_thumbnails, outputs
from pipeline.credentials import watermark
from pipeline.credentials.likeness import likeness
from pipeline.credentials.manifest import watermark_payload
from pipeline.credentials.recovery import Match, find_output, fingerprint_matches, watermark_matches
from pipeline.credentials.repository import record_output, thumbnail_of
from pipeline.credentials.stamp import stamp
from pipeline.similarity.fingerprints import fingerprint, thumbnails

Pixels = NDArray[np.uint8]


def recompressed(rgb: Pixels, quality: int) -> Pixels:
    return decoded(encoded(rgb, "JPEG", quality=quality))


def resized(rgb: Pixels, factor: float) -> Pixels:
    height, width, _ = rgb.shape
    size = round(width * factor), round(height * factor)
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))


def cropped(rgb: Pixels, part: float) -> Pixels:
    down, across = max(1, round(rgb.shape[0] * part)), max(1, round(rgb.shape[1] * part))
    return rgb[down:-down, across:-across]


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "stripped": lambda rgb: rgb,
    "JPEG 60": lambda rgb: recompressed(rgb, 60),
    "60 %": lambda rgb: resized(rgb, 0.6),
    "screenshot, 2 % lost at each edge": lambda rgb: recompressed(cropped(resized(rgb, 1.25), 0.02), 85),
}


@pytest.mark.parametrize("change", CHANGES)
def test_looks_alone_find_the_output(studio: Studio, change: str) -> None:
    for index in range(300, 306):
        rgb = decoded(studio.published(index, "looks").read_bytes())
        matches = fingerprint_matches(studio.workspace, CHANGES[change](rgb))
        assert matches[0].entry.index == index
        assert matches[0].evidence["relative_error"] <= 0.12 and matches[0].similarity > 0.8


def test_a_published_file_need_not_be_there_any_more(studio: Studio) -> None:
    path = studio.published(310, "gone")
    rgb = decoded(path.read_bytes())
    path.unlink()
    assert fingerprint_matches(studio.workspace, recompressed(rgb, 70))[0].entry.index == 310


def test_the_match_says_on_what_evidence(studio: Studio) -> None:
    path = studio.published(311, "evidence")
    rgb, key = decoded(path.read_bytes()), studio.identity.watermark_key
    found = find(studio, rgb)
    assert found.found_by == "watermark" and found.similarity > 0.99
    value = watermark.payload_hex(watermark_payload("evidence", 311, key))
    assert found.evidence == {"alg": watermark.ALGORITHM, "value": value}
    by_looks = fingerprint_matches(studio.workspace, rgb)[0]
    assert by_looks.evidence == {
        "alg": "dev.imprimatur.phash256.v1", "differing_bits": 0, "relative_error": 0.0, "worst_error": 0.0,
        "edges_lost": 0.0,
    }  # fmt: skip


def find(studio: Studio, rgb: Pixels) -> Match:
    match, codes = find_output(studio.workspace, "", "", rgb, studio.identity.watermark_key)
    assert match is not None and codes == []
    return match


@pytest.mark.parametrize(
    "change",
    [
        lambda rgb: rgb[:52, :52],
        lambda rgb: rgb[:, ::-1],
        lambda rgb: recompressed(cropped(rgb, 0.08), 60),
        lambda rgb: np.clip(rgb * 0.8 + 30, 0, 255).astype(np.uint8),
    ],
    ids=["a corner cut off", "mirrored", "cropped and recompressed", "paler"],
)
def test_what_was_done_to_a_picture_leaves_it_that_picture(change: Callable[[Pixels], Pixels]) -> None:
    """Else its own watermark would be taken for a planted one."""
    for seed in range(400, 405):
        original = picture(seed)
        assert likeness(thumbnail(change(original)), thumbnail(original)) >= 0.75


def test_other_pictures_are_seldom_alike() -> None:
    pictures = [thumbnail(picture(seed)) for seed in range(500, 520)]
    alike = [likeness(one, other) for one, other in zip(pictures[:10], pictures[10:], strict=True)]
    assert max(alike) < 0.75


def thumbnail(rgb: Pixels) -> Pixels:
    return thumbnails([fingerprint(np.ascontiguousarray(rgb)).thumbnail])[0]


def test_a_watermark_on_another_picture_is_exposed_and_its_own_picture_is_not(studio: Studio) -> None:
    path, key = studio.published(312, "planted"), studio.identity.watermark_key
    payload = watermark_payload("planted", 312, key)
    for seed in range(600, 606):
        planted, _ = watermark.embed(picture(seed), payload, key)
        assert watermark_matches(studio.workspace, planted, key) == ([], ["watermark.transplanted"])
    matches, codes = watermark_matches(studio.workspace, decoded(path.read_bytes()), key)
    assert [match.entry.index for match in matches] == [312] and codes == []


@pytest.mark.parametrize(
    "change",
    [
        lambda rgb: rgb[:, ::-1],
        lambda rgb: rgb[20:, 9:][:, ::-1],
        lambda rgb: np.asarray(Image.fromarray(rgb).rotate(1.2)),
        lambda rgb: np.pad(rgb, ((40, 9), (0, 77), (0, 0)), constant_values=230),
    ],
    ids=["mirrored", "mirrored and cut", "turned", "framed"],
)
def test_a_changed_copy_of_a_texture_is_not_taken_for_another_picture(
    own_studio: Studio, change: Callable[[Pixels], Pixels]
) -> None:
    """Its thumbnail is another one; seen where the watermark says that it lies, it is the same."""
    noise = np.random.default_rng(8).integers(0, 256, (128, 128, 3), np.uint8)
    texture = np.asarray(Image.fromarray(noise).resize((256, 256), Image.Resampling.BICUBIC)) // 3 + 80
    facts, key = own_studio.facts(1), own_studio.identity.watermark_key
    stamped = stamp(texture, facts, None, own_studio.identity, own_studio.settings)
    record_output(own_studio.workspace, stamped, facts, "images/a.png", "published")
    copy = recompressed(np.ascontiguousarray(change(decoded(stamped.data))), 85)
    matches, codes = watermark_matches(own_studio.workspace, copy, key)
    assert [match.entry.output for match in matches] == [stamped.output] and codes == []


def test_outputs_that_share_a_watermark_by_chance_are_told_apart(own_studio: Studio) -> None:
    """32 bits collide: here one output is made to carry another's payload in the catalog."""
    paths = [own_studio.published(index, "chance") for index in (1, 2)]
    payload = watermark_payload("chance", 1, own_studio.identity.watermark_key)
    with open_catalog(own_studio.workspace).begin() as connection:
        connection.execute(update(outputs).values(watermark=watermark.payload_hex(payload)))
    assert find(own_studio, decoded(paths[0].read_bytes())).entry.index == 1


def test_stamping_again_leaves_one_row_everywhere(own_studio: Studio) -> None:
    stamped, facts = own_studio.stamped(1, "night"), own_studio.facts(1, "night")
    for _ in range(2):
        record_output(own_studio.workspace, stamped, facts, "images/a.png", "published")
    with open_catalog(own_studio.workspace).connect() as connection:
        counts = [
            len(connection.execute(select(table)).all()) for table in (outputs, output_thumbnails, output_hash_keys)
        ]
    assert counts == [1, 1, 16]
    assert thumbnail_of(own_studio.workspace, stamped.output) == stamped.thumbnail


def test_every_lookup_goes_by_an_index(own_studio: Studio) -> None:
    path = own_studio.published(1, "night")
    catalog, statements = open_catalog(own_studio.workspace), []
    event.listen(catalog, "before_cursor_execute", lambda _c, _u, sql, values, *_: statements.append((sql, values)))
    find_output(own_studio.workspace, "0" * 64, "urn:c2pa:none", resized(decoded(path.read_bytes()), 0.6), b"k" * 32)
    asked = [(sql, values) for sql, values in statements if sql.startswith("SELECT")]
    assert len(asked) >= 4
    with catalog.connect() as connection:
        for sql, values in asked:
            plan = connection.exec_driver_sql(f"explain query plan {sql}", values).all()
            assert not [row for row in plan if str(row[3]).startswith("SCAN")], (sql, plan)


def test_cards_of_one_deck_are_told_apart_by_looks(own_studio: Studio) -> None:
    """Two drawings that share all but one small figure."""
    stamped = stamp(picture(1, 256), own_studio.facts(1), None, own_studio.identity, own_studio.settings)
    record_output(own_studio.workspace, stamped, own_studio.facts(1), "images/a.png", "published")
    card = decoded(stamped.data)
    other = card.copy()
    other[24:60, 24:60] = 255 - other[24:60, 24:60]
    assert len(fingerprint_matches(own_studio.workspace, card)) == 1
    assert fingerprint_matches(own_studio.workspace, other) == []


def test_a_picture_too_flat_to_tell_is_not_found_by_looks(studio: Studio) -> None:
    assert fingerprint_matches(studio.workspace, np.full((64, 64, 3), 200, np.uint8)) == []


def test_quarantined_outputs_are_known_too(studio: Studio) -> None:
    stamped, facts = studio.stamped(313, "held"), studio.facts(313, "held")
    record_output(studio.workspace, stamped, facts, "quarantine/a.png", "quarantined")
    assert find(studio, decoded(stamped.data)).entry.state == "quarantined"
