"""Reason codes of rejected files: the faults of an image, and those of the place where it should lie."""

from enum import StrEnum

from pipeline.catalog import decode


class IngestReason(StrEnum):
    """Why a file could not be taken from its source; decode.ImageFault says what may be wrong with its bytes."""

    MISSING_FILE = "MISSING_FILE"
    UNREADABLE = "UNREADABLE"
    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    PATH_OUTSIDE_SOURCE = "PATH_OUTSIDE_SOURCE"
    CONFLICTING_ROWS = "CONFLICTING_ROWS"


EXPLANATIONS: dict[str, str] = decode.EXPLANATIONS | {
    IngestReason.MISSING_FILE: "The table names this file, but it is not there.",
    IngestReason.UNREADABLE: "The file cannot be read.",
    IngestReason.DIGEST_MISMATCH: "The bytes do not have the SHA-256 that the table gives.",
    IngestReason.PATH_OUTSIDE_SOURCE: "The path leads out of the source folder.",
    IngestReason.CONFLICTING_ROWS: "Two rows of the table name this file and disagree.",
}
