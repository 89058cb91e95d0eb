"""CSV that is safe to open in a spreadsheet: no cell is taken for a formula, no character hides."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

# OWASP, "CSV injection": = + - @ and their full-width forms, at the start of a cell or after what another locale's
# spreadsheet takes for a separator
_FORMULA = re.compile(r"(^|[;,|])(\s*)(?=[=+\-@＝＋－＠])")


def inert(cell: str) -> str:
    """The text with an apostrophe before whatever a spreadsheet would calculate, and unprintable characters escaped.

    >>> inert("=HYPERLINK(1)"), inert("a\\nb"), inert("Ada; @bela"), inert("well-known")
    ("'=HYPERLINK(1)", 'a\\\\nb', "Ada; '@bela", 'well-known')
    """
    return _FORMULA.sub(r"\1\2'", printable(cell))


def printable(text: str) -> str:
    """The text with control, bidirectional and other unprintable characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A UTF-8 CSV sheet; text cells are made inert, numbers and truth values stand as they are."""
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([inert(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return sheet.getvalue().encode()
