"""Sheets that a lawyer opens in a spreadsheet."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.sheets import csv_bytes, inert, printable


def test_formulas_are_made_inert_wherever_a_spreadsheet_may_look_for_them() -> None:
    for formula in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1", "x;=1", "x, @y", "a|-1"):
        cell = inert(formula)
        assert "'" in cell or cell[0] == "\\", (formula, cell)
    assert inert("Atelier-Lumen; 3-4 = 7") == "Atelier-Lumen; 3-4 = 7"


def test_characters_that_hide_are_shown() -> None:
    assert printable("gnp\u202etset\x00.png") == "gnp\\u202etset\\x00.png"
    assert printable("Tomás Ferreira 日本.png") == "Tomás Ferreira 日本.png"


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=5))
def test_any_text_gives_a_sheet_of_as_many_rows_without_formulas(rows: list[list[str]]) -> None:
    text = csv_bytes(["a", "b"], rows).decode()
    read = list(csv.reader(io.StringIO(text)))
    assert len(read) == len(rows) + 1
    assert not any(cell.strip()[:1] in tuple("=+-@＝＋－＠") for row in read[1:] for cell in row if cell.strip())
