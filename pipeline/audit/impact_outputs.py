"""Which outputs rest on an asset that may not be used: through their model, or as variations of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import RowMapping, select

from pipeline.audit.lines import Line, chain_of, hit_by, lawful_then
from pipeline.audit.origins import Origin, Questions
from pipeline.catalog.database import open_catalog
from pipeline.catalog.tables import outputs
from pipeline.core.shards import read_table
from pipeline.core.workspace import Workspace
from pipeline.rights.findings import Purpose


@dataclass(frozen=True)
class Made:
    """What the batch's table says of an output: nearest known assets, best first, and the asset that it varies."""

    nearest: tuple[str, ...] = ()
    source: str = ""


def output_lines(
    workspace: Workspace,
    rows: Sequence[RowMapping],
    origins: Mapping[str, Origin],
    trained: Sequence[Line],
    questions: Questions,
    as_of: str,
    known_at: str,
) -> list[Line]:
    """Outputs of known models (`rows`, with their lines); an image that was only stamped here comes from none."""
    by_model, by_id = {line.id: line for line in trained}, {row["id"]: row for row in rows}
    with open_catalog(workspace).connect() as connection:
        made = [row for row in connection.execute(select(outputs)).mappings() if row["model"] in by_model]
    batches = {batch: _batch(workspace, batch) for batch in sorted({row["batch"] for row in made})}
    lines = []
    for row in sorted(made, key=lambda row: (row["stamped_at"], row["batch"], row["index"])):
        own = [origins[one["snapshot"]] for one in chain_of(row["model"], by_id) if one["snapshot"] in origins]
        said = batches[row["batch"]].get(row["output"], Made())
        lines.append(_line(row, said, by_model[row["model"]], own, questions, as_of, known_at))
    return lines


def _line(
    row: RowMapping, made: Made, model: Line, own: Sequence[Origin], questions: Questions, as_of: str, known_at: str
) -> Line:
    """A variation of a barred picture, and a neighbour of one that the model learned from, are strongly affected."""
    moment = row["stamped_at"]
    close = {*(_closest(made.nearest, own) & set(model.because)), *_varied(made, own, questions, as_of, known_at)}
    because = tuple(asset for asset in (*model.because, made.source) if asset in close) if close else model.because
    return Line(
        kind="output",
        id=row["output"],
        state="affected-strong" if close else model.state,
        because=tuple(dict.fromkeys(because)),
        lawful_when_made=lawful_then(own, questions, moment) and not _varied(made, own, questions, moment, moment),
        lawful_as_known=not hit_by(own, questions, moment, known_at)
        and not _varied(made, own, questions, moment, known_at),
        made_at=moment,
        facts={
            "model": row["model"],
            "batch": row["batch"],
            "file": row["file"],
            "published": row["state"],
            "nearest": made.nearest[0] if made.nearest else "",
            "source": made.source,
        },
    )


def _varied(made: Made, own: Sequence[Origin], questions: Questions, as_of: str, known_at: str) -> set[str]:
    """The asset that an output varies, where it was not allowed as a generator's input at a moment."""
    if not made.source or not own:
        return set()
    asked = replace(own[0], purpose=Purpose("generate_input", own[0].purpose.commercial))
    return {made.source} & questions.barred(asked, as_of, known_at).keys()


def _closest(near: Sequence[str], own: Sequence[Origin]) -> set[str]:
    """The nearest known asset of an output, and the nearest one that its model was trained on."""
    trained_on = (asset for asset in near if any(asset in origin.selected for origin in own))
    return {*near[:1], *list(trained_on)[:1]}


def _batch(workspace: Workspace, batch: str) -> dict[str, Made]:
    """By output what the table of its batch says; nothing when it was not written."""
    path = workspace.batch(batch) / "batch.parquet"
    if not path.exists():
        return {}
    table = read_table(path, ["output", "nearest", "source"])
    columns = (table[name].tolist() for name in ("output", "nearest", "source"))
    return {
        output: Made(tuple(one["asset"] for one in near), source)
        for output, near, source in zip(*columns, strict=True)
        if output
    }
