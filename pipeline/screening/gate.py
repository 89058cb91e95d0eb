"""The gate on outputs: one verdict an image, with every reason that applies."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.catalog.decode import BadImage, decode
from pipeline.catalog.tables import HASH_BYTES, THUMBNAIL_BYTES
from pipeline.core.settings import DuplicateSettings, ScreeningSettings
from pipeline.screening.pictures import pixels_of
from pipeline.screening.reasons import ScreeningReason
from pipeline.similarity.copies import CopyGuard, Honest, Nearest
from pipeline.similarity.fingerprints import Fingerprint, fingerprint, thumbnails
from pipeline.similarity.groups import duplicate_groups
from pipeline.similarity.hash_lists import NO_LISTS, HashLists

_CALIBRATION_SEED = 0
_UNREADABLE = Fingerprint(bytes(HASH_BYTES), 0.0, bytes(THUMBNAIL_BYTES))
_KNOWN = ["asset", "phash", "flatness", "thumbnail", "decision", "trained"]
_EARLIER = ["output", "phash", "flatness", "thumbnail", "pixels"]
Reasons = list[list[str]]


@dataclass(frozen=True)
class Screened:
    """What the gate says of a batch, and how often it would call an honest picture a near copy."""

    verdicts: pd.DataFrame  # tables.VERDICTS
    honest: Honest


def screen(
    generated: pd.DataFrame,
    known: pd.DataFrame,
    earlier: pd.DataFrame,
    duplicates: DuplicateSettings,
    screening: ScreeningSettings,
    lists: HashLists = NO_LISTS,
) -> Screened:
    """Judge a batch: one verdict for each of `generated` (tables.GENERATED), in its order.

    `known`: every accepted asset of the run's datasets, used or not: asset, phash, flatness, thumbnail, decision
    (allow | review | deny, as it is now) and trained (bool). `earlier`: those published outputs of earlier batches
    that the batch may repeat (see earlier.py): output, phash, flatness, thumbnail, pixels. An image passes when no
    reason applies. Its verdict depends on other images of the batch only as their duplicate, and only on those with
    a lower index. A variation may be a near copy of its own `source`, which was licensed to be varied, and of
    nothing else. What is on a safety hash list is `stopped`: nothing of it is kept here, copied or shown.
    """
    known, earlier = known.reindex(columns=_KNOWN), earlier.reindex(columns=_EARLIER)  # an empty table may lack them
    prints, readable = _fingerprints(generated["image"])
    listed = np.array([_is_listed(data, lists) for data in generated["image"]], dtype=bool)
    prints = [_UNREADABLE if stopped else one for one, stopped in zip(prints, listed, strict=True)]
    flatness = np.array([one.flatness for one in prints], dtype=np.float64)
    pictures = thumbnails([one.thumbnail for one in prints])
    reasons: Reasons = [[] for _ in prints]
    _add(reasons, listed, ScreeningReason.HASH_LIST_MATCH)
    _add(reasons, ~readable & ~listed, ScreeningReason.UNREADABLE_IMAGE)
    readable &= ~listed
    blank = readable & (flatness < screening.minimum_deviation)
    _add(reasons, blank, ScreeningReason.BLANK)

    shown = readable & ~blank
    of_earlier, in_batch = _duplicates(generated, prints, shown, earlier, duplicates)
    _add(reasons, of_earlier, ScreeningReason.DUPLICATE_OF_EARLIER)
    _add(reasons, in_batch, ScreeningReason.DUPLICATE_IN_BATCH)

    guard = CopyGuard.fit(thumbnails(list(known["thumbnail"])), screening.false_alarm_rate, _CALIBRATION_SEED)
    allowed = known["decision"].to_numpy() == "allow"
    training = np.flatnonzero(known["trained"].to_numpy(dtype=bool))
    of_training = guard.among(training).query(pictures)
    of_barred = guard.among(np.flatnonzero(~allowed)).query(pictures)
    copies = of_training.copies & ~_of_their_source(of_training, generated, known["asset"].to_numpy()[training])
    _add(reasons, shown & copies, ScreeningReason.NEAR_COPY_OF_TRAINING)
    _add(reasons, shown & of_barred.copies, ScreeningReason.NEAR_COPY_OF_BARRED)
    if len(training):
        nearest_allowed = allowed[training[of_training.indices[:, 0]]]
        _add(reasons, shown & ~nearest_allowed, ScreeningReason.NEAREST_NOT_ALLOWED)
    of_any = guard.query(pictures)
    _add(reasons, shown & of_any.strange, ScreeningReason.DEGENERATE)
    nearest = _nearest_assets(of_any, readable, list(known["asset"]))
    verdicts = pd.DataFrame(
        {
            "index": generated["index"].to_numpy(dtype=np.int64),
            "verdict": [_verdict(given) for given in reasons],
            "reasons": reasons,
            "phash": [one.phash for one in prints],
            "flatness": flatness.astype(np.float32),
            "thumbnail": [one.thumbnail for one in prints],
            "nearest": nearest,
        }
    ).astype(dict.fromkeys(["verdict", "reasons", "phash", "thumbnail", "nearest"], object))  # of an empty batch too
    return Screened(verdicts, guard.honest)


def _verdict(reasons: list[str]) -> str:
    if ScreeningReason.HASH_LIST_MATCH in reasons:
        return "stopped"
    return "quarantine" if reasons else "pass"


def _is_listed(data: bytes, lists: HashLists) -> bool:
    """Whether an image is on a safety hash list, by its bytes or by what it shows."""
    if lists is NO_LISTS:
        return False
    if lists.knows_bytes(data):
        return True
    try:
        return lists.knows_picture(decode(data).rgb())
    except BadImage:
        return False


def _fingerprints(images: pd.Series) -> tuple[list[Fingerprint], NDArray[np.bool_]]:
    """The fingerprint of each PNG, and which could be decoded; the others get an all-zero one."""
    pixels = [pixels_of(data) for data in images]
    prints = [None if rgb is None else fingerprint(rgb) for rgb in pixels]
    readable = np.array([one is not None for one in prints], dtype=bool)
    return [one or _UNREADABLE for one in prints], readable


def _duplicates(
    generated: pd.DataFrame,
    prints: list[Fingerprint],
    shown: NDArray[np.bool_],
    earlier: pd.DataFrame,
    settings: DuplicateSettings,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which images look like an earlier output, and which like one of the batch with a lower index.

    One grouping decides, with the earlier outputs as the preferred rows: the same rule as for assets.
    """
    order = np.argsort(generated["index"].to_numpy(), kind="stable")
    rows = order[shown[order]]
    pixels = generated["pixels"].tolist()
    groups = duplicate_groups(
        [*earlier["phash"], *(prints[row].phash for row in rows)],
        np.array([*earlier["flatness"], *(prints[row].flatness for row in rows)], dtype=np.float64),
        thumbnails([*earlier["thumbnail"], *(prints[row].thumbnail for row in rows)]),
        [*earlier["pixels"], *(pixels[row] for row in rows)],
        settings,
    )
    known_groups, new_groups = set(groups[: len(earlier)].tolist()) - {-1}, groups[len(earlier) :]
    of_earlier, in_batch = np.zeros(len(generated), dtype=bool), np.zeros(len(generated), dtype=bool)
    seen: set[int] = set()
    for row, group in zip(rows, new_groups.tolist(), strict=True):
        of_earlier[row] = group in known_groups
        in_batch[row] = group in seen
        seen |= {group} - {-1}
    return of_earlier, in_batch


def _of_their_source(nearest: Nearest, generated: pd.DataFrame, assets: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which images are nearest to the very asset that they vary: they may be, for it is licensed to be varied."""
    if "source" not in generated or not nearest.indices.shape[1]:
        return np.zeros(len(generated), dtype=bool)
    same: NDArray[np.bool_] = assets[nearest.indices[:, 0]] == generated["source"].to_numpy()
    return same


def _add(reasons: Reasons, where: NDArray[np.bool_], reason: ScreeningReason) -> None:
    for row in np.flatnonzero(where):
        reasons[row].append(reason.value)


def _nearest_assets(
    nearest: Nearest, readable: NDArray[np.bool_], assets: list[str]
) -> list[list[dict[str, str | float]]]:
    """The column `nearest` of tables.VERDICTS; empty for an image that could not be decoded."""
    return [
        [
            {"asset": assets[row], "distance": float(distance)}
            for row, distance in zip(nearest.indices[image], nearest.distances[image], strict=True)
        ]
        if readable[image]
        else []
        for image in range(len(nearest.indices))
    ]
