"""Commands on models: train, generate."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import Config, Home, Json, PolicyFile, PurposeOption, emit
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace

app = typer.Typer()


@app.command()
def train(
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="Make a snapshot of this dataset first.")
    ] = None,
    snapshot_id: Annotated[str | None, typer.Option("--snapshot", help="Train on this snapshot.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="flow_matching, vae, gan or pixel_gan.")] = None,
    size: Annotated[int | None, typer.Option("--size", help="Side of the images in pixels.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Training budget.")] = None,
    config: Config = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Train and sign a model on a snapshot, or take the one that was already trained on it."""
    from flows.commands.models import train_on

    given = {"kind": kind, "size": size, "seconds": seconds}
    model, metrics = train_on(Workspace.at(home), dataset or [], snapshot_id, config, given)
    value = {"model": model.id, "kind": model.kind, "snapshot": model.snapshot, "metrics": metrics}
    emit(value, as_json, f"model {model.id} ({model.kind}) on snapshot {model.snapshot}")


@app.command()
def generate(
    model: Annotated[str, typer.Option("--model", help="A model's id, or a folder of a diffusers pipeline.")],
    count: Annotated[int, typer.Option("--count", min=1, help="How many images.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the images and outputs.parquet.")],
    seed: Annotated[int, typer.Option("--seed", help="The batch's seed.")] = 0,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="Only these classes: NAME, or NAME=SHARE; a text pipeline's prompts."),
    ] = None,
    guidance: Annotated[float, typer.Option("--guidance", min=1.0, help="Towards the class: 1 is none.")] = 1.5,
    source: Annotated[
        Path | None, typer.Option("--from", help="Vary this picture, licensed as generator input.")
    ] = None,
    strength: Annotated[float, typer.Option("--strength", help="Of variations: 0.4 keeps most, 1 nothing.")] = 0.4,
    purpose: PurposeOption = "generate_input:commercial",
    policy: PolicyFile = None,
    between: Annotated[
        list[int] | None, typer.Option("--between", help="Twice: interpolate between these image numbers.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of a diffusers pipeline.")] = 50,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Sample images, unscreened and unstamped: image k depends only on the model, the seed and k."""
    from flows.commands.models import Asked, generate_images

    ends = between or []
    if len(ends) not in (0, 2) or (ends and source):
        raise ImprimaturError("--between: give it twice, and without --from", "--between 3 --between 8")
    asked = Asked(count, seed, classes or [], guidance, source, strength, purpose, policy, ends, steps)
    table = generate_images(Workspace.at(home), model, asked, out)
    emit({"model": model, "count": len(table), "out": str(out)}, as_json, f"{len(table):,} images in {out}")
