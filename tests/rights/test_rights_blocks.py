"""Blocks: deciding files apart gives what deciding them together gives."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rights_inventory import GC, NOW, digest, event, row
from test_rights_decision import some_events

from pipeline.catalog.ledger import ConsentEvent, event_table
from pipeline.rights import cases, coded, decision
from pipeline.rights.assets import inventory_table
from pipeline.rights.blocks import decide_blocks, split
from pipeline.rights.decision import decide_table
from pipeline.rights.findings import parse_purpose
from pipeline.rights.policy import Policy
from pipeline.rights.ruling import Question

QUESTION = Question(parse_purpose(GC), Policy(), NOW)
NAMES = ["a", "b", "c", "d:a", "d:x", "x", digest("a"), digest("b").upper(), " c "]
ROWS = st.lists(
    st.builds(
        lambda key, **columns: row(key, **columns),
        key=st.sampled_from(["a", "b", "c", "d:a", digest("b"), ""]),
        asset=st.sampled_from([digest(name) for name in "abcx"] + [""]),
        status=st.sampled_from(["accepted", "accepted", "rejected"]),
        dataset=st.sampled_from(["d", "e"]),
        licence=st.sampled_from(["", "CC-BY-4.0"]),
        holders=st.sampled_from([[], ["ada"], ["bela"]]),
        derived_from=st.sampled_from([[], [], ["a"], ["e:b"], ["x"], [digest("c")]]),
        pixels=st.sampled_from(["one", "two", "three", ""]),
    ).filter(lambda made: made["asset"] or made["status"] == "rejected"),
    min_size=1,
    max_size=6,
)
ABOUT_NAMES = st.lists(
    st.builds(
        lambda number, action, name: event(str(number), action, subject_type="asset", subject_id=name),
        number=st.integers(10, 99),
        action=st.sampled_from(["grant", "withdraw", "restrict", "unreadable"]),
        name=st.sampled_from(NAMES),
    ),
    max_size=3,
    unique_by=lambda made: made.event_id,
)


def tables(rows: list[dict[str, Any]], events: list[ConsentEvent]) -> tuple[pa.Table, pa.Table]:
    return inventory_table(pd.DataFrame(rows)), event_table(events)


def by_block(rows: list[dict[str, Any]], events: list[ConsentEvent], size: int) -> list[dict[str, Any]]:
    inventory, known = tables(rows, events)
    found: dict[int, dict[str, Any]] = {}
    for block in split(inventory, known, size):
        decided = decide_table(block.inventory, {}, block.events, QUESTION).to_pylist()
        accepted = [number for number in block.rows.tolist() if rows[number]["status"] == "accepted"]
        found |= zip(accepted, decided, strict=True)
    return [found[number] for number in sorted(found)]


@settings(max_examples=120, deadline=None)
@given(ROWS, some_events(), ABOUT_NAMES, st.integers(1, 3))
def test_files_are_decided_apart_as_they_are_together(
    rows: list[dict[str, Any]], events: list[ConsentEvent], about: list[ConsentEvent], size: int
) -> None:
    inventory, known = tables(rows, [*events, *about])
    assert by_block(rows, [*events, *about], size) == decide_table(inventory, {}, known, QUESTION).to_pylist()


@settings(max_examples=80, deadline=None)
@given(ROWS, some_events(), ABOUT_NAMES)
def test_many_files_on_two_threads_are_decided_as_few_are(
    rows: list[dict[str, Any]], events: list[ConsentEvent], about: list[ConsentEvent]
) -> None:
    inventory, known = tables(rows, [*events, *about])
    few = decide_table(inventory, {}, known, QUESTION)
    with pytest.MonkeyPatch.context() as patch:
        for module in (cases, coded, decision):  # take any number of files for many
            patch.setattr(module, "MANY", -1)
        many = decide_table(inventory, {}, known, QUESTION)
    assert many.to_pylist() == few.to_pylist()


def test_unrelated_files_are_apart_and_related_ones_together() -> None:
    rows = [
        row("a"),
        row("b"),
        row("copy", asset=digest("a")),
        row("look", pixels=digest("pixels b")),
        row("made", derived_from=["d:b"]),
        row("alone"),
    ]
    events = [event("1", subject_type="asset", subject_id="look"), event("2")]
    blocks = list(split(*tables(rows, events), 1))
    assert [block.rows.tolist() for block in blocks] == [[0, 2], [1, 3, 4], [5]]
    assert [block.events["event_id"].to_pylist() for block in blocks] == [["2"], ["1", "2"], ["2"]]


def test_blocks_are_decided_by_worker_processes_and_put_back_in_order() -> None:
    rows = [row(str(number), holders=[f"h{number % 3}"], licence="CC-BY-4.0") for number in range(9)]
    rows[4]["derived_from"] = ["8"]
    inventory, known = tables(rows, [event("1", "withdraw", subject_id="h2")])
    apart = decide_blocks(inventory, {"d": "CC-BY-4.0"}, known, QUESTION, size=3)
    assert apart.equals(decide_table(inventory, {"d": "CC-BY-4.0"}, known, QUESTION))
    assert np.flatnonzero(np.array(apart["decision"]) == "deny").tolist() == [2, 4, 5, 8]
