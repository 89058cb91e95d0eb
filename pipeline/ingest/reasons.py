"""Reason codes of rejected files: the faults of an image, and those of the place where it should lie."""

from enum import StrEnum

from pipeline.catalog import decode
from pipeline.core.guard import GuardReason


class IngestReason(StrEnum):
    """Why a file could not be taken from its source; decode.ImageFault and GuardReason say
    what may be wrong with its bytes."""

    MISSING_FILE = "MISSING_FILE"
    UNREADABLE = "UNREADABLE"
    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    PATH_OUTSIDE_SOURCE = "PATH_OUTSIDE_SOURCE"
    CONFLICTING_ROWS = "CONFLICTING_ROWS"
    ORPHAN_SIDECAR = "ORPHAN_SIDECAR"
    LINK = "LINK"
    NOT_A_FILE = "NOT_A_FILE"
    DUPLICATE_MEMBER = "DUPLICATE_MEMBER"
    ENCRYPTED = "ENCRYPTED"
    ARCHIVE_TRUNCATED = "ARCHIVE_TRUNCATED"
    ARCHIVE_CORRUPT = "ARCHIVE_CORRUPT"
    ARCHIVE_BOMB = "ARCHIVE_BOMB"
    ARCHIVE_EMPTY = "ARCHIVE_EMPTY"
    HASH_LIST_MATCH = "HASH_LIST_MATCH"


EXPLANATIONS: dict[str, str] = decode.EXPLANATIONS | {
    IngestReason.MISSING_FILE: "The table names this file, but it is not there.",
    IngestReason.UNREADABLE: "The file cannot be read.",
    IngestReason.DIGEST_MISMATCH: "The bytes do not have the SHA-256 that the table gives.",
    IngestReason.PATH_OUTSIDE_SOURCE: "The path leads out of the source folder.",
    IngestReason.CONFLICTING_ROWS: "Two rows of the table name this file and disagree.",
    IngestReason.ORPHAN_SIDECAR: "It states facts about an image, but no image of that name is beside it.",
    IngestReason.LINK: "A link in an archive; links are not followed there.",
    IngestReason.NOT_A_FILE: "A device, pipe or other special member of an archive.",
    IngestReason.DUPLICATE_MEMBER: "The archive holds an earlier member of the same name.",
    IngestReason.ENCRYPTED: "The member of the archive is encrypted.",
    IngestReason.ARCHIVE_TRUNCATED: "The archive ends too soon; the members before that were taken.",
    IngestReason.ARCHIVE_CORRUPT: "A part of the archive cannot be read; the other members were taken.",
    IngestReason.ARCHIVE_BOMB: "It unpacks to far more than an archive of images does, or shares bytes with others.",
    IngestReason.ARCHIVE_EMPTY: "The archive holds no file.",
    IngestReason.HASH_LIST_MATCH: (
        "It matches a safety hash list, and was not copied: a person must act by your procedure, without opening it."
    ),
    GuardReason.TIME_LIMIT: "Reading it took more than 10 seconds of processor time.",
    GuardReason.MEMORY_LIMIT: "Reading it took more memory than one file may take.",
    GuardReason.DECODER_DIED: "The decoder crashed on it.",
}
