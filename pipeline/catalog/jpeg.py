"""JPEG through libjpeg-turbo: straight to an array, at full or reduced size, and with its warnings of damage.

libjpeg only warns of corrupt data, and Pillow does not pass the warning on; simplejpeg does. What it cannot decode
(CMYK) is searched for damage by its markers (ITU-T T.81, annex B): in a scan an 0xFF byte may only be followed by
0x00 or a known marker, and restart markers count from 0 to 7. Damage that keeps to these rules is not found there.
"""

import re

import numpy as np
import simplejpeg
from numpy.typing import NDArray

_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_START, _END, _SCAN, _APP0, _COMMENT = 0xD8, 0xD9, 0xDA, 0xE0, 0xFE
_RESTARTS = range(0xD0, 0xD8)
# what may stand between or after scans: DHT, DAC, DQT, DNL, DRI, APPn, COM
_SEGMENTS = {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE}
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xDE, 0xDF}


class JpegDamageError(ValueError):
    """The entropy-coded data is damaged, or ends too soon."""


def decode_jpeg(data: bytes, grey: bool = False, least: int = 0) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) of a grey or RGB JPEG, as stored (not turned); (H, W, 1) when `grey`.

    `least`: decode at the smallest of 1/8 to 8/8 of the size that keeps both sides at least so long (scaled inverse
    DCT); 0 is the full size, whose pixels are those of Pillow. Raises JpegDamageError.
    """
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "GRAY" if grey else "RGB", min_height=least, min_width=least
        )
    except ValueError as error:
        raise JpegDamageError(str(error)) from None
    return pixels


def jpeg_size(data: bytes) -> tuple[int, int]:
    """(width, height) as libjpeg-turbo reads the header. Raises JpegDamageError."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise JpegDamageError(str(error)) from None
    return width, height


def outside_scans(data: bytes) -> bytes:
    """All bytes of a JPEG but the entropy-coded ones, where nothing can be said; a tenth of it, or less.

    All of it, when its scans hold anything but scans: other segments, another picture.
    """
    position = 2
    while data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] != b"\xda":
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    if position + 2 >= len(data):
        return data
    rest = np.frombuffer(data, np.uint8, offset=position)
    marks = np.flatnonzero(rest[:-1] == 0xFF)  # quicker than a search: such bytes are many
    kinds = rest[marks + 1]
    if ((kinds == _START) | ((kinds >= _APP0) & (kinds <= _COMMENT))).any():  # with the reserved ones between them
        return data
    ends = marks[kinds == _END]
    return data[:position] + data[position + int(ends[0]) :] if len(ends) else data


def jpeg_damage(data: bytes) -> str:
    """What is wrong with the markers of a JPEG, in words; "" when nothing is. A missing end is not damage here."""
    position, scanning, restart = 2, False, 0
    while match := _NEXT_MARKER.search(data, position):
        marker = match[1][0]
        if not scanning and match.start() != position:
            return ""  # stray bytes between header segments: decoders skip them, and nothing is lost
        position = match.end()
        if marker == _END:
            return ""
        if marker in _RESTARTS:
            if scanning and marker - 0xD0 != restart:
                return f"restart marker {marker - 0xD0} at byte {match.start()}, expected {restart}"
            restart = (restart + 1) % 8
            continue
        if marker != _SCAN and marker not in _SEGMENTS and (scanning or marker not in _FRAMES):
            return f"unknown marker 0x{marker:02x} at byte {match.start()}" if scanning else ""
        position += int.from_bytes(data[position : position + 2], "big")
        if marker == _SCAN:
            scanning, restart = True, 0
    return ""
