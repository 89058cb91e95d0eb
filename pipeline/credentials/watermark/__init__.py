"""The invisible watermark: 32 bits under a key of the identity, read in recompressed, scaled and cut copies."""

from pipeline.credentials.watermark.grid import psnr
from pipeline.credentials.watermark.marking import MINIMUM_SIDE, embed, held, payload_hex
from pipeline.credentials.watermark.reading import Found, extract, extract_direct, false_reading_chance, find

# Our own algorithm; not on the C2PA soft binding algorithm list, so other readers cannot look it up.
ALGORITHM = "dev.imprimatur.chips.v2"

__all__ = [
    "ALGORITHM",
    "MINIMUM_SIDE",
    "Found",
    "embed",
    "extract",
    "extract_direct",
    "false_reading_chance",
    "find",
    "held",
    "payload_hex",
    "psnr",
]
