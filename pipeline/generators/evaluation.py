"""What a trained model is worth: its images beside real ones, in the features of a CNN trained on the same snapshot.

Every figure stands beside what real images score in its place. The CNN does not learn from the images that stand in
for "other real ones", so that these are as new to it as the model's.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.generators.classifier import FEATURES, Classifier, look, train_classifier
from pipeline.generators.inception import inception_features, load_inception
from pipeline.generators.metrics import (
    Figure,
    Floats,
    NearCopies,
    frechet_figure,
    inside,
    learnt_by_heart,
    share_figure,
)
from pipeline.generators.sampling import Sampler, draw
from pipeline.generators.training_set import TrainingSet

COUNT = 400  # images drawn
HELD_OUT = 0.2  # of the training set, unseen by the CNN
REFERENCE = 4_000  # real images that the distance is taken to
GUIDANCE = 1.5
FEW_IMAGES = 2 * FEATURES
FEW_OF_CLASS = 20
ENOUGH = 100  # images, to say that a model has collapsed


@dataclass(frozen=True)
class Evaluation:
    """Figures by name: distance, precision, recall, agreement (with the class asked for), near copies."""

    images: int
    figures: dict[str, Figure]
    warnings: list[str] = field(default_factory=list)

    @property
    def collapsed(self) -> bool:
        """True when the model surely shows next to nothing of the variety of real images."""
        recall = self.figures.get("recall")
        return recall is not None and self.images >= ENOUGH and recall.value == 0 and recall.real > 0.5

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, rounded to what can be meant."""
        figures = {
            name: {key: round(value, 4) for key, value in asdict(figure).items()}
            for name, figure in self.figures.items()
        }
        return {"images": self.images, "figures": figures, "warnings": self.warnings}


def recognise(data: TrainingSet, seed: int) -> tuple[Classifier, NDArray[np.int64]]:
    """The CNN of a training set, and the rows that it did not learn from."""
    order = np.random.default_rng(seed).permutation(len(data.labels))
    held = min(COUNT, int(len(order) * HELD_OUT))
    rows = np.sort(order[held:])
    return train_classifier(data.pixels[rows], data.labels[rows], data.class_names, seed), np.sort(order[:held])


def evaluate(model: Sampler, data: TrainingSet, classifier: Classifier, held: NDArray[np.int64]) -> Evaluation:
    """Draw images and measure them; as many as there are `held` out rows (COUNT at most)."""
    seed, count = model.settings.seed, len(held)
    if count < 10:
        return Evaluation(
            count, {}, [f"{len(data.labels)} images are too few to measure anything; look at the samples"]
        )
    learnt = np.setdiff1d(np.arange(len(data.labels)), held)
    learnt = np.sort(np.random.default_rng(seed).permutation(learnt)[:REFERENCE])
    wanted = data.labels[held]  # the classes in the share that they have among real images
    made_pixels = draw(model, seed, range(count), wanted, GUIDANCE)
    made, named = look(classifier, made_pixels)
    real, _ = look(classifier, data.pixels[learnt])
    other, named_other = look(classifier, data.pixels[held])
    copies = NearCopies.fit(data.pixels, seed)
    figures = {
        "distance": frechet_figure(made, real, other, seed),
        **_coverage(made, real[: len(made)], other[: len(real)], seed),
        "near copies": share_figure(copies.among(made_pixels), copies.expected, seed),
    }
    if classifier.knows_classes:
        agreement = share_figure(named == wanted, float((named_other == wanted).mean()), seed)
        figures["agreement"] = agreement
    if model.settings.inception is not None:
        network = load_inception(model.settings.inception)
        three = [made_pixels, data.pixels[learnt[:count]], data.pixels[held]]
        made, real, other = (inception_features(network, pixels) for pixels in three)
        figures["Inception distance"] = frechet_figure(made, real, other, seed)
        covered = _coverage(made, real, other[: len(real)], seed)
        figures |= {f"Inception {name}": figure for name, figure in covered.items()}
    return Evaluation(count, figures, _warnings(data, count, figures))


def _coverage(made: Floats, real: Floats, other: Floats, seed: int) -> dict[str, Figure]:
    """Precision and recall at equal numbers of images."""
    return {
        "precision": share_figure(inside(made, real), float(inside(other, real).mean()), seed),
        "recall": share_figure(inside(real, made), float(inside(real, other).mean()), seed),
    }


def _warnings(data: TrainingSet, count: int, figures: dict[str, Figure]) -> list[str]:
    found = []
    if count < FEW_IMAGES:
        found.append(
            f"measured on {count} images: the distance of so few is far too large; compare it with that of real ones"
        )
    if len(data.class_names) == 1:
        found.append("one class: the CNN learnt to tell quarter turns apart, and there is no agreement to measure")
    sizes = np.bincount(data.labels, minlength=len(data.class_names))
    rare = [name for name, size in zip(data.class_names, sizes, strict=True) if size < FEW_OF_CLASS]
    if rare:
        found.append(f"fewer than {FEW_OF_CLASS} images of {', '.join(rare[:5])}: figures say nothing about them")
    if "Inception distance" in figures:
        found.append(
            f"published Inception distances are measured on 50,000 images: compare that of {count} with the one "
            "of real images only"
        )
    agreement = figures.get("agreement")
    if agreement is not None and agreement.real < 0.7:
        found.append(f"the CNN names only {agreement.real:.0%} of real images rightly: agreement says little")
    if figures["recall"].value == 0 and figures["recall"].real > 0.3:
        found.append("recall is 0: the model shows hardly any variety; look at the samples")
    if learnt_by_heart(figures["near copies"]):
        found.append("many near copies of training images: it has learnt them by heart; train it for a shorter time")
    return found
