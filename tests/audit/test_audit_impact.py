"""Impact: a withdrawal reaches everything that rests on it, says since when, and can be undone."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from impact_studio import APRIL, FEBRUARY, JANUARY, JULY, JUNE, MARCH, MAY, Studio, asset, digest, event

from flows.commands.withdrawals import withdraw_subject
from pipeline.audit.impact import impact, model_line, snapshot_line
from pipeline.audit.recall import quarantine_unpublished, recall_list, record_remedy, settle
from pipeline.audit.retrain import retrain_plan
from pipeline.catalog.records import model_row
from pipeline.core.errors import ImprimaturError
from pipeline.core.merkle import merkle_root
from pipeline.core.moments import now
from pipeline.core.settings import DuplicateSettings
from pipeline.rights.policy import Policy


def states(studio: Studio, as_of: str = JUNE, known_at: str = JUNE) -> dict[str, str]:
    return {line.id: line.state for line in impact(studio.workspace, as_of, known_at)}


def lines(studio: Studio, as_of: str = JUNE, known_at: str = JUNE) -> dict[str, Any]:
    return {line.id: line for line in impact(studio.workspace, as_of, known_at)}


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    """Three pictures, a model, and an output near each of them."""
    made = Studio(tmp_path, [asset("a"), asset("b", holders=["Bela"]), asset("c", depicts=["Cara"])])
    made.say(event("likeness", "grant", "Cara", "person", uses="likeness", recorded_at=JANUARY))
    made.shot = made.snapshot()  # type: ignore[attr-defined]
    made.model("m", made.shot)  # type: ignore[attr-defined]
    made.batch("run-1", "m", made.shot, [["a", "b"], ["b"], ["c"]])  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize(
    ("kind", "name", "hit"),
    [
        ("asset", digest("b"), "b"), ("asset", "d:b", "b"), ("asset", "b", "b"), ("holder", "bela", "b"),
        ("person", "Cara", "c"), ("dataset", "d", "abc"),
    ],
)  # fmt: skip
def test_a_withdrawal_by_asset_holder_person_or_dataset(studio: Studio, kind: str, name: str, hit: str) -> None:
    assert set(states(studio).values()) == {"clear"}
    studio.say(event("w", "withdraw", name, kind, uses="*|likeness" if kind == "person" else "*"))
    after = lines(studio)
    assert after["m"].state == "affected"
    assert set(after["m"].because) == {digest(key) for key in hit}
    strong = {f"run-1-{'abc'.index(key)}" for key in hit}
    found = {f"run-1-{k}": after[f"run-1-{k}"].state for k in range(3)}
    assert found == {name: "affected-strong" if name in strong else "affected" for name in found}
    (snapshot,) = (line for line in after.values() if line.kind == "snapshot")
    why = {row["asset"]: row for row in snapshot.as_json()["why"]}
    assert set(why) == set(snapshot.because) and "event:w" in why[digest(hit[0])]["evidence"]
    assert json.loads(json.dumps(snapshot.as_json()))["superseded"] is True


@pytest.mark.parametrize("change", ["withdraw", "restrict", "expiry"])
def test_any_event_counts_and_a_later_grant_undoes_it(tmp_path: Path, change: str) -> None:
    studio = Studio(tmp_path, [asset("a", licence="LicenseRef-contract")])
    until = MAY if change == "expiry" else ""
    studio.say(event("g", "grant", "Ada", "holder", recorded_at=JANUARY, effective_until=until))
    studio.model("m", studio.snapshot())
    if change != "expiry":
        studio.say(event("x", change, "Ada", "holder", uses="train_generative"))
    assert states(studio, APRIL, JUNE)["m"] == "clear" and states(studio)["m"] == "affected"
    studio.say(event("again", "grant", "Ada", "holder", recorded_at=JUNE))
    assert states(studio, JULY, JULY)["m"] == "clear"
    assert states(studio, MAY, MAY)["m"] == "affected", "what was, was"


def test_a_withdrawal_holds_from_its_date_and_is_known_from_its_record(studio: Studio) -> None:
    studio.say(event("w", "withdraw", "b", recorded_at=APRIL, effective_from=JUNE))
    assert states(studio, MAY, MAY)["m"] == "clear"
    assert states(studio, JUNE, JUNE)["m"] == "affected"
    assert states(studio, JUNE, MARCH)["m"] == "clear", "nobody knew"


def test_lawful_when_made_as_then_known_and_as_known_today(studio: Studio) -> None:
    """Back-dated: it held before the model was trained, and was recorded after."""
    studio.say(event("w", "withdraw", "b", recorded_at=MAY, effective_from=JANUARY))
    studio.batch("run-2", "m", studio.shot, [["b"]], made_at=JUNE)  # type: ignore[attr-defined]
    found = lines(studio)
    kept = {name: (line.lawful_when_made, line.lawful_as_known) for name, line in found.items()}
    assert kept["m"] == kept["run-1-0"] == (True, False)
    assert kept["run-2-0"] == (False, False), "sampled although the withdrawal was on record"
    studio.say(event("w2", "withdraw", "a", recorded_at=MAY))
    assert lines(studio)["run-1-0"].lawful_when_made, "what came later does not reach back"


def test_the_same_picture_in_other_bytes_is_a_twin(tmp_path: Path) -> None:
    """b is chosen for a, which shows the same pixels; the withdrawal of the one that was not chosen counts."""
    studio = Studio(tmp_path, [asset("b"), asset("a", pixels=digest("pixels b")), asset("c")])
    shot = studio.snapshot()
    studio.model("m", shot)
    studio.batch("run-1", "m", shot, [["b"], ["a", "b"], ["c"]])
    studio.say(event("w", "withdraw", digest("a")))
    found = lines(studio)
    assert set(found["m"].because) == {digest("a"), digest("b")}
    assert [found[f"run-1-{k}"].state for k in range(3)] == ["affected-strong", "affected-strong", "affected"]


def test_a_near_duplicate_that_represents_the_withdrawn_one_is_hit(tmp_path: Path) -> None:
    studio = Studio(tmp_path, [asset("b", holders=["Bela"]), asset("a"), asset("c")], {"a": 1, "b": 1})
    shot = studio.snapshot()
    studio.model("m", shot)
    studio.batch("run-1", "m", shot, [["b"], ["c"]])
    studio.say(event("w", "withdraw", "d:a"))
    found = lines(studio)
    assert set(found[shot.id].because) == {digest("a"), digest("b")}
    assert [found[f"run-1-{k}"].state for k in range(2)] == ["affected-strong", "affected"]


def test_byte_identical_copies_in_another_dataset_and_derivatives(tmp_path: Path) -> None:
    rows = [asset("a"), asset("copy", dataset="e", asset=digest("a"), pixels=digest("pixels a")),
            asset("made", derived_from=["d:a"]), asset("c")]  # fmt: skip
    studio = Studio(tmp_path, rows)
    shot = studio.snapshot()
    studio.model("m", shot)
    studio.batch("run-1", "m", shot, [["made"], ["c"]])
    studio.say(event("w", "withdraw", "e:copy"))
    found = lines(studio)
    assert set(found["m"].because) == {digest("a"), digest("made")}
    assert [found[f"run-1-{k}"].state for k in range(2)] == ["affected-strong", "affected"]


def test_fine_tuned_descendants_are_affected_with_their_base(tmp_path: Path) -> None:
    studio = Studio(tmp_path, [asset("a")])
    first = studio.snapshot()
    studio.ingest([asset("b", dataset="e")])
    second = studio.snapshot()
    studio.ingest([asset("a"), asset("b", dataset="e")])
    studio.model("base", first)
    studio.model("tuned", second, MARCH, base="base")
    studio.model("twice", second, MARCH, base="tuned")
    studio.model("apart", second, MARCH)
    studio.batch("run-1", "twice", second, [["a"], ["b"]], made_at=MARCH)
    studio.say(event("w", "withdraw", "d:a"))
    found = lines(studio)
    assert [found[name].state for name in ("base", "tuned", "twice", "apart")] == ["affected"] * 3 + ["clear"]
    assert found["twice"].because == (digest("a"),)
    assert (found["run-1-0"].state, found["run-1-1"].state) == ("affected-strong", "affected")
    assert model_line(studio.workspace, "twice", JUNE).state == "affected"
    assert model_line(studio.workspace, "apart", JUNE).state == "clear"


def test_a_variation_of_a_withdrawn_picture_is_strongly_affected(tmp_path: Path) -> None:
    """The picture was never trained on: its holder had granted it as input only."""
    studio = Studio(tmp_path, [asset("a"), asset("b", licence="LicenseRef-contract", holders=["Bela"])])
    studio.say(event("g", "grant", "Bela", "holder", uses="generate_input", recorded_at=JANUARY))
    shot = studio.snapshot()
    studio.model("m", shot)
    studio.batch("run-1", "m", shot, [["a"]], source=digest("b"))
    studio.batch("run-2", "m", shot, [["a"]])
    assert set(states(studio).values()) == {"clear"}
    studio.say(event("w", "withdraw", "Bela", "holder"))
    found = lines(studio)
    assert (found["m"].state, found["run-2-0"].state) == ("clear", "clear")
    assert (found["run-1-0"].state, found["run-1-0"].because) == ("affected-strong", (digest("b"),))
    assert found["run-1-0"].lawful_when_made
    assert settle(studio.workspace, list(found.values())).recalled == ("run-1-0",)


def test_bases_in_a_circle_end(tmp_path: Path) -> None:
    studio = Studio(tmp_path, [asset("a")])
    shot = studio.snapshot()
    studio.model("one", shot, base="two")
    studio.model("two", shot, base="one")
    assert set(states(studio).values()) == {"clear"}


def test_an_asset_that_its_dataset_has_lost_still_answers(studio: Studio) -> None:
    studio.ingest([asset("a")])
    assert set(states(studio).values()) == {"clear"}
    studio.say(event("w", "withdraw", "Bela", "holder"))
    assert lines(studio)["m"].because == (digest("b"),)


def test_facts_that_change_count_today_and_not_in_the_past(studio: Studio) -> None:
    rows = [asset("a", licence="CC-BY-NC-4.0"), asset("b", holders=["Bela"]), asset("c", depicts=["Cara"])]
    studio.ingest(rows)
    line = lines(studio)["m"]
    assert (line.state, line.because, line.lawful_when_made) == ("affected", (digest("a"),), True)


def test_each_snapshot_is_judged_by_its_own_policy(tmp_path: Path) -> None:
    studio = Studio(tmp_path, [asset("a", licence="CC-BY-SA-4.0")])
    shot = studio.snapshot(policy=Policy(licences={"CC-BY-SA-4.0": "allow"}))
    assert states(studio)[shot.id] == "clear"
    asked = impact(studio.workspace, JUNE, JUNE, Policy())
    assert [line.state for line in asked] == ["affected"]
    path = shot.policy
    path.write_text(path.read_text().replace('"generative"', '"always"'))
    with pytest.raises(ImprimaturError, match=r"policy\.json: is not the policy"):
        impact(studio.workspace, JUNE, JUNE)


def test_recall_and_restore_leave_files_and_history(studio: Studio) -> None:
    def now() -> Any:
        return impact(studio.workspace, JUNE, JUNE)

    assert settle(studio.workspace, now()).recalled == ()
    studio.say(event("w", "withdraw", "b"))
    assert set(settle(studio.workspace, now()).recalled) == {"run-1-0", "run-1-1", "run-1-2"}
    assert settle(studio.workspace, now()) == settle(studio.workspace, []), "nothing twice"
    listed = {row["output"]: row for row in recall_list(studio.workspace)}
    assert len(listed) == 3 and listed["run-1-1"]["state"] == "affected-strong"
    assert listed["run-1-1"]["because"] == [digest("b")]
    for row in listed.values():
        assert (studio.workspace.batch("run-1") / row["file"]).exists()
    assert {line.facts["published"] for line in now() if line.kind == "output"} == {"recalled"}
    studio.say(event("g", "grant", "b", recorded_at=JUNE))
    assert set(settle(studio.workspace, now()).restored) == set(listed)
    assert recall_list(studio.workspace) == []


def test_what_an_unfinished_batch_has_not_published_goes_to_quarantine(studio: Studio) -> None:
    folder = studio.workspace.batch("run-1")
    (folder / "images").rename(folder / "staging-images")
    (folder / "staging").mkdir()
    (folder / "staging-images").rename(folder / "staging" / "images")
    assert quarantine_unpublished(studio.workspace, "run-1", [digest("a")]) == 3
    assert len(list((folder / "quarantine").iterdir())) == 3 and not (folder / "images").exists()
    outputs = [line for line in impact(studio.workspace, JUNE, JUNE) if line.kind == "output"]
    assert {line.facts["published"] for line in outputs} == {"quarantined"}
    assert all((folder / line.facts["file"]).exists() for line in outputs)


def test_the_remedy_is_recorded_and_nothing_is_unlearned(studio: Studio) -> None:
    record_remedy(studio.workspace, "m", "filtered", "Ada", "minutes.pdf")
    record_remedy(studio.workspace, "m", "retrained")
    assert model_line(studio.workspace, "m", JUNE).facts["remedy"] == "retrained"
    with pytest.raises(ImprimaturError, match="'unlearned' is not known"):
        record_remedy(studio.workspace, "m", "unlearned")
    with pytest.raises(ImprimaturError, match="'x' is not in this workspace"):
        record_remedy(studio.workspace, "x", "none")
    weights = studio.workspace.model("m") / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    with pytest.raises(ImprimaturError, match="still there"):
        record_remedy(studio.workspace, "m", "deleted")
    weights.unlink()
    record_remedy(studio.workspace, "m", "deleted")
    assert model_row(studio.catalog, "m").id == "m"


def test_unknown_names_and_lost_files_are_told(studio: Studio) -> None:
    with pytest.raises(ImprimaturError, match="model 'x'"):
        model_line(studio.workspace, "x", JUNE)
    with pytest.raises(ImprimaturError, match="snapshot 'x'"):
        snapshot_line(studio.workspace, "x", JUNE)
    shot = studio.shot  # type: ignore[attr-defined]
    assert snapshot_line(studio.workspace, shot.id, FEBRUARY).state == "clear"
    shot.selection.unlink()
    with pytest.raises(ImprimaturError, match="are gone"):
        impact(studio.workspace, JUNE, JUNE)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["grant", "withdraw", "restrict"]), st.sampled_from(["a", "b", "c"]),
        st.sampled_from([FEBRUARY, MARCH, APRIL, MAY]), st.sampled_from([FEBRUARY, APRIL, MAY, JUNE]),
    ),
    max_size=4,
)  # fmt: skip


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS, st.sampled_from(["a", "b", "c"]))
def test_one_more_withdrawal_never_clears_anything(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, str, str, str]], name: str
) -> None:
    studio = Studio(tmp_path_factory.mktemp("studio"), [asset("a"), asset("b"), asset("c")])
    shot = studio.snapshot()
    studio.model("m", shot)
    studio.batch("run-1", "m", shot, [["a"], ["b"], ["c"]])
    for number, (action, subject, recorded, effective) in enumerate(said):
        studio.say(event(str(number), action, subject, recorded_at=recorded, effective_from=effective))
    rank = {"clear": 0, "affected": 1, "affected-strong": 2}
    before = states(studio, JULY, JULY)
    studio.say(event("last", "withdraw", name, recorded_at=JUNE))
    after = states(studio, JULY, JULY)
    assert all(rank[after[one]] >= rank[before[one]] for one in before)
    assert after["m"] == "affected" and after[f"run-1-{'abc'.index(name)}"] == "affected-strong"


def test_the_retrain_plan_is_the_difference_of_the_data(tmp_path: Path) -> None:
    studio = Studio(tmp_path, [asset("b"), asset("a"), asset("c"), asset("e", holders=["Eve"])], {"a": 1, "b": 1})
    studio.model("m", studio.snapshot())
    record = {"settings": {"seconds": 60.0, "size": 32}, "plan": {"stages": [{"steps": 5}, {"steps": 7}]}}
    path = studio.workspace.model("m") / "model.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**record, "metrics": {"images_seen": 99}}))
    studio.say(event("w", "withdraw", "d:a"))
    studio.ingest([*studio.rows[:3], asset("f")])
    plan = retrain_plan(studio.workspace, "m", JUNE, Policy(), DuplicateSettings())
    assert (plan["assets_before"], plan["assets_after"]) == (3, 2)
    assert {(row["file"], row["reason"]) for row in plan["removed"]} == {
        ("b.png", "GROUP_NOT_FREE"), ("e.png", "no longer in the dataset")
    }  # fmt: skip
    assert [row["file"] for row in plan["added"]] == ["f.png"]
    assert plan["root_after"] == merkle_root([digest("c"), digest("f")])
    assert plan["cost"] == {"seconds": 60.0, "steps": 12, "images_seen": 99}
    assert plan["command"] == "imprimatur train --dataset d --kind vae --size 32 --seconds 60"


def test_a_withdrawal_names_the_asset_wherever_it_lies_and_says_how_many_it_closes(studio: Studio) -> None:
    studio.ingest([*studio.rows, asset("z", dataset="e", asset=digest("b"), pixels=digest("pixels b"))])
    done = withdraw_subject(studio.workspace, "asset", "e:z", None, "", "")
    assert (done["assets"], done["models"], done["strongly"], done["recalled"]) == (1, 1, 1, 3)
    assert model_line(studio.workspace, "m", now()).because == (digest("b"),), "the snapshot knows no dataset e"
    lost = withdraw_subject(studio.workspace, "holder", "Bella", None, "", "")
    assert (lost["assets"], lost["did_you_mean"]) == (0, ["Bela"])
    later = withdraw_subject(studio.workspace, "holder", "Ada", "2999-01-01", "", "")
    assert later["assets"] == 3, "those that it will close: e:z has the bytes of b"
    with pytest.raises(ImprimaturError, match="subject type 'work'"):
        withdraw_subject(studio.workspace, "work", "b", None, "", "")
