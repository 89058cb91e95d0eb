"""Our generators beside the plain DCGAN and VAE of pytorch/examples, on Fashion-MNIST with equal CPU-seconds.

    IMPRIMATUR_MIRROR=<folder with fashion-mnist> python benchmarks/generators.py --out RESULTS [--seconds 240]

Each model trains in a process of its own, on one thread, until its CPU-seconds (time.process_time) are spent: ours by
a plan of steps, made by timing some. What is finished in RESULTS is not done again. All are scored on 3,000 images by
one CNN that no model has seen: trained on the 60,000 training images with a seed of its own, its distances taken to
the 10,000 test images. The recipes of the two peers are re-typed from the published scripts (dcgan at 32 pixels, the
fully connected vae), in torch alone.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.digests import pixel_digest
from pipeline.core.merkle import merkle_root
from pipeline.core.settings import ModelSettings
from pipeline.core.shards import write_bytes, write_json
from pipeline.generators.build import build_generator
from pipeline.generators.classifier import Classifier, look, train_classifier
from pipeline.generators.metrics import NearCopies, frechet_figure, inside, share_figure
from pipeline.generators.plan import make_plan
from pipeline.generators.record import is_trained, model_key
from pipeline.generators.sampling import BATCH, Sampler, draw, grid_png, load_model
from pipeline.generators.training import train
from pipeline.generators.training_set import TrainingSet

NAMES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
COUNT = 3_000
JUDGE_SEED = 20_240
JUDGE_IMAGES = 240_000  # seen in training

Pixels = NDArray[np.uint8]


def idx(name: str) -> Pixels:
    folder = Path(os.environ["IMPRIMATUR_MIRROR"]) / "fashion-mnist"
    data = gzip.decompress((folder / f"{name}.gz").read_bytes())
    if "images" in name:
        return np.frombuffer(data, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return np.frombuffer(data, np.uint8, offset=8)


# --- the peers


def dcgan(pixels: Pixels, seconds: float) -> Pixels:
    """pytorch/examples dcgan: transposed convolutions, BCE, Adam 2e-4, beta1 0.5, batch 64; 32 pixels, width 64."""
    noise, width = 100, 64
    generator = nn.Sequential(
        nn.ConvTranspose2d(noise, 4 * width, 4, 1, 0, bias=False), nn.BatchNorm2d(4 * width), nn.ReLU(True),
        nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(True),
        nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
        nn.ConvTranspose2d(width, 1, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(1, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True),
        nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2, True),
        nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(4 * width), nn.LeakyReLU(0.2, True),
        nn.Conv2d(4 * width, 1, 4, 1, 0, bias=False), nn.Flatten(0),
    )  # fmt: skip
    for module in [*generator, *discriminator]:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    optimisers = [
        torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (discriminator, generator)
    ]
    started, step = time.process_time(), 0
    while time.process_time() - started < seconds:
        real = functional.pad(batch_of(pixels, step, 64) * 2 - 1, (2, 2, 2, 2), value=-1.0)
        fake = generator(torch.randn(len(real), noise, 1, 1))
        optimisers[0].zero_grad()
        towards(discriminator(real), 1).backward()
        towards(discriminator(fake.detach()), 0).backward()
        optimisers[0].step()
        optimisers[1].zero_grad()
        towards(discriminator(fake), 1).backward()
        optimisers[1].step()
        step += 1
    print("steps", step)
    with torch.inference_mode():
        made = torch.cat([generator(torch.randn(100, noise, 1, 1)) for _ in range(COUNT // 100)])
    return levels(made[:, :, 2:-2, 2:-2] / 2 + 0.5)


def towards(logits: Tensor, wanted: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, wanted))


def mlp_vae(pixels: Pixels, seconds: float) -> Pixels:
    """pytorch/examples vae: 784-400-20-400-784, summed BCE + KL, Adam 1e-3, batch 128; samples from N(0, 1)."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40))
    decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid())
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    started, step = time.process_time(), 0
    while time.process_time() - started < seconds:
        images = batch_of(pixels, step, 128)
        mean, log_variance = encoder(images).chunk(2, dim=1)
        made = decoder(mean + (log_variance / 2).exp() * torch.randn(mean.shape))
        error = functional.binary_cross_entropy(made, images.flatten(1), reduction="sum")
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
        optimiser.zero_grad()
        (error + divergence).backward()
        optimiser.step()
        step += 1
    print("steps", step)
    with torch.inference_mode():
        return levels(decoder(torch.randn(COUNT, 20)).reshape(-1, 1, 28, 28))


def batch_of(pixels: Pixels, step: int, size: int) -> Tensor:
    """Images (size, 1, 28, 28) in [0, 1], by shuffled epochs."""
    epoch, within = divmod(step, len(pixels) // size)
    order = np.random.default_rng(epoch).permutation(len(pixels))
    rows = order[within * size : (within + 1) * size]
    return torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2).float() / 255


def levels(images: Tensor) -> Pixels:
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


# --- ours

OURS: dict[str, dict[str, Any]] = {
    "vae": {"kind": "vae"},
    "gan": {"kind": "gan"},
    "flow_matching": {"kind": "flow_matching", "width": 48, "batch_size": 64},
}
GUIDANCE = {"vae": 1.5, "gan": 1.0, "flow_matching": 1.0}


def ours(name: str, pixels: Pixels, labels: NDArray[np.uint8], seconds: float, out: Path) -> tuple[Path, float]:
    """Train one of our models for `seconds` CPU-seconds; its folder, and what it took up to the last step."""
    started = last = time.process_time()

    def tick(done: int, total: int, note: str) -> None:
        nonlocal last
        last = time.process_time()
        print(f"{last - started:.0f} CPU-s: step {done} of {total}, {note}", flush=True)

    folder = out / f"{name}-model"
    settings = ModelSettings.model_validate(
        {"size": 28, "channels": 1, "batch_size": 64, "width": 48, "seconds": seconds, **OURS[name]}
    )
    digests = [pixel_digest(image) for image in pixels]
    data = TrainingSet(pixels, labels.astype(np.int64), NAMES, digests, digests, "fashion-mnist")
    root = merkle_root(digests)
    key = model_key(root, settings, data.key)
    if not (folder / "plan.json").exists():
        batch = torch.from_numpy(pixels[:64].copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
        model = build_generator(settings, len(NAMES))
        write_json(
            folder / "plan.json", asdict(make_plan(key, settings, model, batch, len(pixels), 1, time.process_time))
        )
    if not is_trained(folder):
        train(settings, data, root, folder, tick)
    return folder, last - started


def make(name: str, seconds: float, out: Path) -> None:
    """Train a model, draw from it, and write images with the CPU-seconds that both took."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pixels, labels = idx("train-images-idx3-ubyte"), idx("train-labels-idx1-ubyte")
    started = time.process_time()
    if name in OURS:
        folder, spent = ours(name, pixels, labels, seconds, out)
        model = load_model(folder)
        wanted = np.arange(COUNT, dtype=np.int64) % len(NAMES)
        started = time.process_time()
        made = draw(model, 0, range(COUNT), wanted, GUIDANCE[name])
        speed = COUNT / (time.process_time() - started)
        print(f"sampling: {speed / bare_speed(model, GUIDANCE[name]):.2f} of the bare model's speed")
    else:
        made = {"dcgan": dcgan, "mlp_vae": mlp_vae}[name](pixels, seconds)
        spent, speed, wanted = time.process_time() - started, None, None
    save(out / f"{name}.npy", made)
    write_json(
        out / f"{name}.json", {"cpu_seconds": spent, "images_per_cpu_second": speed, "labelled": wanted is not None}
    )
    grid = made[:200] if wanted is None else made[np.argsort(wanted[:200], kind="stable")]
    write_bytes(out / f"{name}.png", grid_png(grid, 20))


def bare_speed(model: Sampler, guidance: float, batches: int = 40) -> float:
    """Images per CPU-second of the model alone, in the same batches, without seeds, classes or rounding."""
    labels = torch.arange(BATCH) % len(NAMES)
    noise = torch.randn(BATCH, *model.generator.noise_shape)
    started = time.process_time()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=model.dtype == "bfloat16"):
        for _ in range(batches):
            model.generator.sample(noise, labels, guidance)
    return batches * BATCH / (time.process_time() - started)


def save(path: Path, pixels: Pixels) -> None:
    temporary = path.with_suffix(".tmp.npy")
    np.save(temporary, pixels)
    temporary.replace(path)


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
    labelled: bool,
) -> dict[str, Any]:
    """Every figure of one set of images; `real` and `trained` are features of test and of 3,000 training images."""
    features, numbers = look(classifier, made)
    half = len(real) // 2
    fixed, other = real[:COUNT], real[half : half + COUNT]
    near = copies.among(made)
    agrees = numbers == np.arange(len(made)) % len(NAMES)
    figures = {
        "frechet": frechet_figure(features, real, trained, 0),
        "precision": share_figure(inside(features, fixed), float(inside(other, fixed).mean()), 0),
        "recall": share_figure(inside(fixed, features), float(inside(fixed, other).mean()), 0),
        "near copies": share_figure(near, copies.expected, 0),
    }
    if labelled:
        figures["agreement"] = share_figure(agrees, accuracy, 0)
    return {name: asdict(figure) for name, figure in figures.items()}


PEERS = ["mlp_vae", "dcgan"]
FLOORS: list[tuple[str, Callable[[dict[str, Any]], float], str, float]] = [
    ("flow matching: distance / examples' VAE", lambda r: fd(r, "flow_matching") / fd(r, "mlp_vae"), "<=", 0.35),
    ("flow matching: distance / examples' DCGAN", lambda r: fd(r, "flow_matching") / fd(r, "dcgan"), "<=", 0.13),
    ("flow matching: agreement", lambda r: r["flow_matching"]["agreement"]["value"], ">=", 0.84),
    ("flow matching: recall", lambda r: r["flow_matching"]["recall"]["value"], ">=", 0.60),
    ("VAE: distance / examples' VAE", lambda r: fd(r, "vae") / fd(r, "mlp_vae"), "<=", 0.45),
    ("VAE: agreement", lambda r: r["vae"]["agreement"]["value"], ">=", 0.80),
    ("GAN: distance / examples' DCGAN", lambda r: fd(r, "gan") / fd(r, "dcgan"), "<=", 0.25),
    ("GAN: recall", lambda r: r["gan"]["recall"]["value"], ">=", 0.25),
    ("GAN: agreement", lambda r: r["gan"]["agreement"]["value"], ">=", 0.80),
]  # fmt: skip


def fd(results: dict[str, Any], name: str) -> float:
    return float(results[name]["frechet"]["value"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for models, images and results")
    parser.add_argument("--seconds", type=float, default=240.0, help="CPU-seconds for each model")
    parser.add_argument("--only", nargs="*", default=[*PEERS, *OURS], help="models to train")
    parser.add_argument("--inner", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.inner:
        make(given.inner, given.seconds, given.out)
        return
    for name in given.only:
        if not (given.out / f"{name}.json").exists():
            again = [sys.executable, __file__, "--out", str(given.out), "--seconds", str(given.seconds)]
            subprocess.run([*again, "--inner", name], check=True)
    report(given.out)


def report(out: Path) -> None:
    """Score what is there and print the table, the floors and the judge's own accuracy."""
    classifier = judge(out)
    test, truth = idx("t10k-images-idx3-ubyte"), idx("t10k-labels-idx1-ubyte")
    real, named = look(classifier, test)
    train_images = idx("train-images-idx3-ubyte")
    accuracy = float((named == truth).mean())
    print(f"judge: accuracy {accuracy:.3f} on test images")
    trained, _ = look(classifier, train_images[:COUNT])
    copies = NearCopies.fit(train_images, 0)
    results = {}
    for name in [name for name in [*PEERS, *OURS] if (out / f"{name}.json").exists()]:
        about = json.loads((out / f"{name}.json").read_text())
        scores = score(classifier, real, trained, accuracy, np.load(out / f"{name}.npy"), copies, about["labelled"])
        results[name] = {**about, **scores}
        shown = "  ".join(
            f"{key} {f['value']:.3f} [{f['low']:.3f}, {f['high']:.3f}] real {f['real']:.3f}"
            for key, f in scores.items()
        )
        print(f"{name:14} {about['cpu_seconds']:.0f} CPU-s  {shown}")
    write_json(out / "results.json", results)
    for text, value, sign, floor in FLOORS:
        try:
            measured = value(results)
        except KeyError:
            continue
        holds = measured <= floor if sign == "<=" else measured >= floor
        print(f"{'holds' if holds else 'FAILS'}  {text}: {measured:.3f} ({sign} {floor})")


if __name__ == "__main__":
    main()
