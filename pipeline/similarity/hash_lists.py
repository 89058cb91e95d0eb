"""Safety hash lists: is a picture on a list of known harmful ones? We ship no list; whoever has one names its file.

The format is the local file of the `threatexchange` library: one entry a line, its type, a space, the hash in
hexadecimal. Types are `pdq` (radius 31, from a full decode, and only of pictures of quality 50 or more), and `md5`,
`sha1` and `sha256` of the bytes, the first and last also by the library's names `video_md5` and `video_sha256`.
A line `withdrawn TYPE HASH` takes an entry out again, wherever it stands.

A match stops the picture and needs a person: neither hash nor picture is shown, and nothing is copied. No match does
not mean that a picture is harmless: lists know only what was reported, and other hashes (PhotoDNA) are not read here.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pdqhash
from numpy.typing import NDArray

from pipeline.core.errors import ImprimaturError
from pipeline.similarity.bands import Codes
from pipeline.similarity.fingerprints import hash_words

PDQ_DISTANCE, PDQ_QUALITY = 31, 50  # threatexchange: PDQ_CONFIDENT_MATCH_THRESHOLD, PdqSignal.QUALITY_THRESHOLD
_ALIASES = {"video_md5": "md5", "video_sha256": "sha256"}  # of any file's bytes
_DIGITS = {"pdq": 64, "md5": 32, "sha1": 40, "sha256": 64}


@dataclass(frozen=True)
class HashLists:
    """The entries of all lists."""

    pdq: Codes  # (N, 4)
    digests: frozenset[tuple[str, str]]  # (type, hexadecimal)

    def knows_bytes(self, data: bytes) -> bool:
        """Whether the bytes of a file are on a list."""
        kinds = {kind for kind, _ in self.digests}
        return any(
            (kind, hashlib.new(kind, data, usedforsecurity=False).hexdigest()) in self.digests for kind in kinds
        )

    def knows_picture(self, rgb: NDArray[np.uint8]) -> bool:
        """Whether what pixels (H, W, 3) show is on a list; they must come from a full decode."""
        if not len(self.pdq):
            return False
        bits, quality = pdqhash.compute(np.ascontiguousarray(rgb))
        if quality < PDQ_QUALITY:
            return False
        own = hash_words([np.packbits(bits.astype(bool)).tobytes()])
        return bool((np.bitwise_count(self.pdq ^ own).sum(axis=1) <= PDQ_DISTANCE).any())


NO_LISTS = HashLists(hash_words([]), frozenset())


def read_hash_lists(paths: Sequence[Path]) -> HashLists:
    """Read list files. Raises ImprimaturError that names the file and the line, never its content."""
    entries: set[tuple[str, str]] = set()
    withdrawn: set[tuple[str, str]] = set()
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise ImprimaturError(
                f"{path}: this hash list cannot be read", "name a text file under screening.hash_lists"
            ) from None
        for number, line in enumerate(lines, start=1):
            words = line.lower().split()
            if not words or words[0].startswith("#"):
                continue
            taken = entries
            if words[0] == "withdrawn":
                taken, words = withdrawn, words[1:]
            words[:1] = [_ALIASES.get(kind, kind) for kind in words[:1]]
            if len(words) != 2 or not re.fullmatch(f"[0-9a-f]{{{_DIGITS.get(words[0], 1000)}}}", words[1]):
                raise ImprimaturError(
                    f"{path}, line {number}: not an entry of a hash list",
                    f"write a type ({', '.join(_DIGITS)}), a space and its hash in hexadecimal",
                )
            taken.add((words[0], words[1]))
    standing = entries - withdrawn
    pdq = hash_words([bytes.fromhex(value) for kind, value in sorted(standing) if kind == "pdq"])
    return HashLists(pdq, frozenset(entry for entry in standing if entry[0] != "pdq"))
