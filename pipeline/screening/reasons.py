"""Why an output does not pass the gate."""

from enum import StrEnum


class ScreeningReason(StrEnum):
    """Reason codes of tables.VERDICTS."""

    UNREADABLE_IMAGE = "UNREADABLE_IMAGE"
    HASH_LIST_MATCH = "HASH_LIST_MATCH"
    BLANK = "BLANK"
    DEGENERATE = "DEGENERATE"
    DUPLICATE_IN_BATCH = "DUPLICATE_IN_BATCH"
    DUPLICATE_OF_EARLIER = "DUPLICATE_OF_EARLIER"
    NEAR_COPY_OF_TRAINING = "NEAR_COPY_OF_TRAINING"
    NEAR_COPY_OF_BARRED = "NEAR_COPY_OF_BARRED"
    NEAREST_NOT_ALLOWED = "NEAREST_NOT_ALLOWED"


EXPLANATIONS: dict[ScreeningReason, str] = {
    ScreeningReason.UNREADABLE_IMAGE: "The generated file cannot be decoded as an image.",
    ScreeningReason.HASH_LIST_MATCH: (
        "It matches a safety hash list, and is neither copied nor shown: a person must act by your procedure."
    ),
    ScreeningReason.BLANK: "The image shows nothing: its brightness hardly varies.",
    ScreeningReason.DEGENERATE: "The image is like no known one, less than real images are like each other.",
    ScreeningReason.DUPLICATE_IN_BATCH: "An image with a lower number in this batch looks the same, and is kept.",
    ScreeningReason.DUPLICATE_OF_EARLIER: "An image published from an earlier batch looks the same.",
    ScreeningReason.NEAR_COPY_OF_TRAINING: (
        "The image is nearer to a training image than real images come to each other."
    ),
    ScreeningReason.NEAR_COPY_OF_BARRED: "The image is a near copy of a known image that may not be used.",
    ScreeningReason.NEAREST_NOT_ALLOWED: "The training image nearest to it may not be used any more.",
}
