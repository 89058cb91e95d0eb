"""How people refer to an asset: by digest, by `dataset:key`, or by `key`."""

import re
from pathlib import PurePosixPath


def key_of(file: str) -> str:
    """The default key of a file: its name without folder and extension; of an array in a file, its number.

    >>> key_of("tiles/gui/bows.png"), key_of("train-images-idx3-ubyte.gz#00001")
    ('bows', '00001')
    """
    member = re.search(r"#(\d+)$", file)
    return member[1] if member else PurePosixPath(file.replace("\\", "/")).stem
