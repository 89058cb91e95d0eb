"""Damage inside a JPEG that decoders pass over in silence.

libjpeg only warns of corrupt data and Pillow does not pass the warning on. The markers inside the scans (ITU-T T.81,
annex B) betray overwritten data in most cases: an 0xFF byte there may only be followed by 0x00 or a known marker,
and restart markers count from 0 to 7. Damage that keeps to these rules (zeros, for one) is not found.
"""

import re

_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_END, _SCAN = 0xD9, 0xDA
_RESTARTS = range(0xD0, 0xD8)
# what may stand between or after scans: DHT, DAC, DQT, DNL, DRI, APPn, COM
_SEGMENTS = {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE}
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xDE, 0xDF}


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
