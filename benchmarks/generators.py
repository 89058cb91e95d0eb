"""Our generators beside the plain DCGAN and VAE of pytorch/examples, on Fashion-MNIST with equal CPU-seconds.

    IMPRIMATUR_MIRROR=<folder with fashion-mnist> python benchmarks/generators.py --out RESULTS [--budgets 240]

Each model trains in a process of its own, on one thread, until its CPU-seconds (time.process_time) are spent. Ours
follow a plan of steps made for one budget and are trained anew for each; the peers, whose rate is constant, are
trained once to the largest and looked at on the way. What is finished in RESULTS is not done again. All are scored on
3,000 images by one CNN that no model has seen: trained on the 60,000 training images with a seed of its own, its
distances taken to the 10,000 test images. With more than one budget, curves.png shows distance against budget
(needs `pip install matplotlib`).
"""

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from generator_peers import Pixels, dcgan, mlp_vae
from numpy.typing import NDArray

from pipeline.core.digests import pixel_digest
from pipeline.core.merkle import merkle_root
from pipeline.core.settings import ModelSettings
from pipeline.core.shards import write_bytes, write_json
from pipeline.generators.build import build_generator
from pipeline.generators.classifier import Classifier, look, train_classifier
from pipeline.generators.metrics import NearCopies, frechet_figure, inside, share_figure
from pipeline.generators.plan import make_plan
from pipeline.generators.record import model_key
from pipeline.generators.sampling import BATCH, Sampler, draw, grid_png, load_model
from pipeline.generators.training import train
from pipeline.generators.training_set import TrainingSet

NAMES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
COUNT = 3_000
JUDGE_SEED = 20_240
JUDGE_IMAGES = 240_000  # seen in training


def idx(name: str) -> Pixels:
    folder = Path(os.environ["IMPRIMATUR_MIRROR"]) / "fashion-mnist"
    data = gzip.decompress((folder / f"{name}.gz").read_bytes())
    if "images" in name:
        return np.frombuffer(data, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return np.frombuffer(data, np.uint8, offset=8)


PEERS = {"mlp_vae": mlp_vae, "dcgan": dcgan}
OURS: dict[str, dict[str, Any]] = {
    "vae": {"kind": "vae"},
    "gan": {"kind": "gan"},
    "flow_matching": {"kind": "flow_matching", "batch_size": 32},
}
SHOWN = {
    "mlp_vae": "VAE of pytorch/examples",
    "dcgan": "DCGAN of pytorch/examples",
    "vae": "our VAE with learned prior",
    "gan": "our GAN over latents",
    "flow_matching": "our flow matching",
}
GUIDANCE = {"vae": 1.2, "gan": 1.0, "flow_matching": 2.0}


def ours(name: str, pixels: Pixels, labels: NDArray[np.uint8], seconds: float, folder: Path) -> float:
    """Train one of our models for `seconds` CPU-seconds into `folder`; what it took up to the last step."""
    shutil.rmtree(folder, ignore_errors=True)  # of a stopped run, whose seconds are not known
    started = last = time.process_time()

    def tick(done: int, total: int, note: str) -> None:
        nonlocal last
        last = time.process_time()
        print(f"{last - started:.0f} CPU-s: step {done} of {total}, {note}", flush=True)

    settings = ModelSettings.model_validate(
        {"size": 28, "channels": 1, "batch_size": 64, "width": 48, "seconds": seconds, **OURS[name]}
    )
    digests = [pixel_digest(image) for image in pixels]
    data = TrainingSet(pixels, labels.astype(np.int64), NAMES, digests, digests, "fashion-mnist")
    root = merkle_root(digests)
    key = model_key(root, settings, data.key)
    batch = torch.from_numpy(pixels[:64].copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    model = build_generator(settings, len(NAMES))
    plan = make_plan(key, settings, model, batch, 1, time.process_time)
    write_json(folder / "plan.json", asdict(plan))
    train(settings, data, root, folder, tick, time.process_time)
    return last - started


def make(name: str, budgets: list[float], out: Path) -> None:
    """Train a model to each of the budgets, and write what it draws then."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pixels, labels = idx("train-images-idx3-ubyte"), idx("train-labels-idx1-ubyte")
    if name in PEERS:
        for budget, (spent, made) in zip(sorted(budgets), PEERS[name](pixels, budgets, COUNT), strict=True):
            keep(out, f"{name}-{budget:g}", made, {"cpu_seconds": spent})
        return
    for budget in budgets:
        folder = out / f"{name}-{budget:g}"
        spent = ours(name, pixels, labels, budget, folder)
        model = load_model(folder)
        made = draw(model, 0, range(COUNT), wanted_classes(), GUIDANCE[name])
        speed, of_bare = speeds(model, GUIDANCE[name])
        about = {"cpu_seconds": spent, "images_per_cpu_second": speed, "of_the_bare_models_speed": of_bare}
        keep(out, f"{name}-{budget:g}", made, about)


def wanted_classes() -> NDArray[np.int64]:
    return np.arange(COUNT, dtype=np.int64) % len(NAMES)


def keep(out: Path, name: str, made: Pixels, about: dict[str, Any]) -> None:
    """Write images, a grid of them, and last the record that makes them finished."""
    temporary = out / f"{name}.tmp.npy"
    np.save(temporary, made)
    temporary.replace(out / f"{name}.npy")
    rows = np.argsort(wanted_classes()[:200], kind="stable")  # the peers' have no classes, and so no order
    write_bytes(out / f"{name}.png", grid_png(made[rows], 20))
    write_json(out / f"{name}.json", about)


def speeds(model: Sampler, guidance: float, batches: int = 10, rounds: int = 9) -> tuple[float, float]:
    """Images per CPU-second of our sampling, and as a share of the bare model's: medians over alternate rounds."""
    count, ours, bare = batches * BATCH, [], []
    for number in range(rounds):
        started = time.process_time()
        draw(model, number, range(count), wanted_classes()[:count], guidance)
        ours.append(time.process_time() - started)
        bare.append(bare_seconds(model, guidance, batches))
    return count / median(ours), median(bare) / median(ours)


def bare_seconds(model: Sampler, guidance: float, batches: int) -> float:
    """CPU-seconds of the model alone, in the same batches, without seeds, classes or rounding."""
    labels = torch.arange(BATCH) % len(NAMES)
    noise = torch.randn(BATCH, *model.generator.noise_shape)
    started = time.process_time()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=model.dtype == "bfloat16"):
        for _ in range(batches):
            model.generator.sample(noise, labels, guidance)
    return time.process_time() - started


# --- the judge


def judge(out: Path) -> Classifier:
    """The CNN that scores everybody; trained once."""
    torch.set_num_threads(1)
    path = out / "judge.pt"
    if path.exists():
        classifier = Classifier(1, NAMES)
        classifier.load_state_dict(torch.load(path, weights_only=True))
        return classifier.eval().requires_grad_(False)
    labels = idx("train-labels-idx1-ubyte").astype(np.int64)
    classifier = train_classifier(idx("train-images-idx3-ubyte"), labels, NAMES, JUDGE_SEED, JUDGE_IMAGES)
    torch.save(classifier.state_dict(), path)
    return classifier


def score(
    classifier: Classifier,
    real: NDArray[np.float32],
    trained: NDArray[np.float32],
    accuracy: float,
    made: Pixels,
    copies: NearCopies,
    honest: float,
    labelled: bool,
) -> dict[str, Any]:
    """Every figure of one set of images.

    `real` and `trained` are features of test and of 3,000 training images, `honest` the share of test images that
    count as near copies.
    """
    features, numbers = look(classifier, made)
    half = len(real) // 2
    fixed, other = real[:COUNT], real[half : half + COUNT]
    near = copies.among(made)
    agrees = numbers == wanted_classes()
    figures = {
        "frechet": frechet_figure(features, real, trained, 0),
        "precision": share_figure(inside(features, fixed), float(inside(other, fixed).mean()), 0),
        "recall": share_figure(inside(fixed, features), float(inside(fixed, other).mean()), 0),
        "near copies": share_figure(near, honest, 0),
    }
    if labelled:
        figures["agreement"] = share_figure(agrees, accuracy, 0)
    return {name: asdict(figure) for name, figure in figures.items()}


FLOORS: list[tuple[str, Callable[[dict[str, Any]], float], str, float]] = [
    ("flow matching: distance / examples' VAE", lambda r: fd(r, "flow_matching") / fd(r, "mlp_vae"), "<=", 0.35),
    ("flow matching: distance / examples' DCGAN", lambda r: fd(r, "flow_matching") / fd(r, "dcgan"), "<=", 0.13),
    ("flow matching: agreement", lambda r: r["flow_matching"]["agreement"]["value"], ">=", 0.84),
    ("flow matching: recall", lambda r: r["flow_matching"]["recall"]["value"], ">=", 0.60),
    ("flow matching: near copies / of test images", lambda r: copied(r, "flow_matching"), "<=", 1.0),
    ("VAE: distance / examples' VAE", lambda r: fd(r, "vae") / fd(r, "mlp_vae"), "<=", 0.45),
    ("VAE: agreement", lambda r: r["vae"]["agreement"]["value"], ">=", 0.80),
    ("VAE: near copies / of test images", lambda r: copied(r, "vae"), "<=", 1.0),
    ("GAN: distance / examples' DCGAN", lambda r: fd(r, "gan") / fd(r, "dcgan"), "<=", 0.25),
    ("GAN: recall", lambda r: r["gan"]["recall"]["value"], ">=", 0.25),
    ("GAN: agreement", lambda r: r["gan"]["agreement"]["value"], ">=", 0.80),
    ("GAN: near copies / of test images", lambda r: copied(r, "gan"), "<=", 1.0),
]  # fmt: skip


def fd(results: dict[str, Any], name: str) -> float:
    return float(results[name]["frechet"]["value"])


def copied(results: dict[str, Any], name: str) -> float:
    figure = results[name]["near copies"]
    return float(figure["value"] / figure["real"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for models, images and results")
    parser.add_argument("--budgets", type=float, nargs="+", default=[240.0], help="CPU-seconds for each model")
    parser.add_argument("--only", nargs="*", default=[*PEERS, *OURS], help="models to train")
    parser.add_argument("--inner", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.inner:
        make(given.inner, given.budgets, given.out)
        return
    for name in given.only:
        for budgets in [given.budgets] if name in PEERS else [[budget] for budget in given.budgets]:
            if not all((given.out / f"{name}-{budget:g}.json").exists() for budget in budgets):
                again = [sys.executable, __file__, "--out", str(given.out), "--inner", name, "--budgets"]
                subprocess.run([*again, *(f"{budget:g}" for budget in budgets)], check=True)
    report(given.out, given.budgets)


def report(out: Path, budgets: list[float]) -> None:
    """Score what is there; print a table and the floors for each budget, and the judge's own accuracy."""
    classifier = judge(out)
    test, truth = idx("t10k-images-idx3-ubyte"), idx("t10k-labels-idx1-ubyte")
    real, named = look(classifier, test)
    train_images = idx("train-images-idx3-ubyte")
    accuracy = float((named == truth).mean())
    print(f"judge: accuracy {accuracy:.3f} on test images")
    trained, _ = look(classifier, train_images[:COUNT])
    copies = NearCopies.fit(train_images, 0)
    honest = float(copies.among(test).mean())
    results: dict[str, dict[str, Any]] = {}
    for budget in sorted(budgets):
        found = results[f"{budget:g}"] = {}
        print(f"\n{budget:g} CPU-seconds")
        for name in [name for name in [*PEERS, *OURS] if (out / f"{name}-{budget:g}.json").exists()]:
            about = json.loads((out / f"{name}-{budget:g}.json").read_text())
            made = np.load(out / f"{name}-{budget:g}.npy")
            scores = score(classifier, real, trained, accuracy, made, copies, honest, name in OURS)
            found[name] = {**about, **scores}
            speed = about.get("of_the_bare_models_speed")
            print(f"{name:14} {about['cpu_seconds']:.0f} CPU-s", f"sampled at {speed:.2f} of bare" if speed else "")
            for key, f in scores.items():
                print(f"    {key:12} {f['value']:.3f} [{f['low']:.3f}, {f['high']:.3f}]  real {f['real']:.3f}")
        print_floors(found)
    write_json(out / "results.json", results)
    if len(budgets) > 1:
        draw_curves(results, out / "curves.png")


def print_floors(found: dict[str, Any]) -> None:
    for text, value, sign, floor in FLOORS:
        try:
            measured = value(found)
        except KeyError:
            continue
        holds = measured <= floor if sign == "<=" else measured >= floor
        print(f"{'holds' if holds else 'FAILS'}  {text}: {measured:.3f} ({sign} {floor})")


def draw_curves(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Distance against budget, both logarithmic, with bootstrap intervals; the dotted line is real images."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for name, shown in SHOWN.items():
        points = [(float(budget), found[name]["frechet"]) for budget, found in results.items() if name in found]
        budgets, values = [budget for budget, _ in points], [f["value"] for _, f in points]
        errors = [[f["value"] - f["low"] for _, f in points], [f["high"] - f["value"] for _, f in points]]
        axes.errorbar(budgets, values, errors, label=shown, marker="o", capsize=2, ls="--" if name in PEERS else "-")
    real = [f["frechet"]["real"] for found in results.values() for f in found.values()]
    axes.axhline(real[0], color="grey", ls=":", label="real images")
    axes.set(xscale="log", yscale="log", xlabel="CPU-seconds of training", ylabel="Fréchet distance (our CNN)")
    ticks = [float(budget) for budget in results]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
