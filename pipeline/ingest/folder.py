"""A folder as a source: every file below it but hidden ones. Links to folders are not followed."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.errors import ImprimaturError
from pipeline.ingest.entries import Entry
from pipeline.ingest.places import File
from pipeline.ingest.reasons import IngestReason


def folder_entries(root: Path) -> Iterator[Entry]:
    """Every file below `root`. Raises ImprimaturError when `root` itself cannot be read."""
    unreadable: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=unreadable.append):
        here = Path(folder)
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if (here / name).is_symlink()]
        for name in (*names, *links):
            if not name.startswith(".") and (entry := examine(root, here / name)) is not None:
                yield entry
    for error in unreadable:
        if Path(error.filename) == root:
            raise ImprimaturError(f"{root}: cannot be read ({error.strerror})", "grant read access to the folder")
        name = relative(root, Path(error.filename))
        yield Entry(name, reason=IngestReason.UNREADABLE, detail=error.strerror or "")


def examine(root: Path, path: Path, through_links: bool = False) -> Entry | None:
    """The entry at a path; None for nothing and for a folder. `through_links`: folders on the way may be links."""
    file = relative(root, path)
    try:
        facts = path.lstat()
        if through_links or stat.S_ISLNK(facts.st_mode):
            path = path.resolve(strict=True)
            facts = path.stat()
            if not path.is_relative_to(root):
                detail = "a link leads out of the source"
                return Entry(file, reason=IngestReason.PATH_OUTSIDE_SOURCE, detail=detail)
    except (FileNotFoundError, NotADirectoryError):
        return Entry(file, reason=IngestReason.UNREADABLE, detail="a broken link") if path.is_symlink() else None
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        detail = getattr(error, "strerror", None) or "links in a circle"
        return Entry(file, reason=IngestReason.UNREADABLE, detail=detail)
    if stat.S_ISDIR(facts.st_mode):
        return None
    if not stat.S_ISREG(facts.st_mode):  # reading a pipe would wait for ever
        return Entry(file, reason=IngestReason.UNREADABLE, detail="not a regular file")
    return Entry(file, File(str(path), facts.st_size, str(facts.st_mtime_ns)))


def relative(root: Path, path: Path) -> str:
    """How the source names a path. Bytes outside UTF-8 are escaped, so that the name can be written down."""
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")
