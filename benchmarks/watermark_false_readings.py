"""False readings of the watermark: full searches of unmarked images counted, the bound, and its assumptions tested.

OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/watermark_false_readings.py [--searches N] [--words N]

Every search uses a key of its own: the bound is over keys. A count alone cannot show 1e-6; so the share of words
above each score is compared with the bound's tail, and the CRC's fit among words of high score with 2^-8 a byte.
"""

import argparse
from math import log

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.credentials import watermark
from pipeline.credentials.watermark import payload as code
from pipeline.credentials.watermark.chips import GRIDS, chips, soft_bits
from pipeline.credentials.watermark.grid import luma, sampled, whitened
from pipeline.sample.drawings import CLASSES, draw

SIDES = (64, 128, 256)


def unmarked(number: int) -> NDArray[np.uint8]:
    """Drawings, drawings with grain, plain noise."""
    side = SIDES[number % len(SIDES)]
    random = np.random.default_rng(number)
    if number % 5 == 4:
        small = Image.fromarray(random.integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8))
        return np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))
    drawn = np.asarray(draw(sorted(CLASSES)[number % len(CLASSES)], number, 21, side).convert("RGB"))
    grain = random.normal(0, 6 * (number % 2), drawn.shape)
    return np.clip(drawn + grain, 0, 255).astype(np.uint8)


def searches(count: int) -> None:
    false = 0
    for number in range(count):
        false += watermark.extract(unmarked(number), number.to_bytes(32, "big")) is not None
    print(f"full searches of unmarked images, a new key each: {false} false readings of {count}")
    print(f"bound of one search: {watermark.false_reading_chance():.2e}", flush=True)


def words(count: int) -> None:
    """Soft bits of unmarked drawings under one key a drawing, scrambled anew for each word."""
    random = np.random.default_rng(0)
    scores, low_fits, high_fits = np.empty(count), np.empty(count, bool), np.empty(count, bool)
    chances = np.empty(count)
    soft = np.empty(0, np.float32)
    for number in range(count):
        if number % 1000 == 0:
            grid = GRIDS[number // 1000 % len(GRIDS)]
            plane = whitened(sampled(luma(unmarked(3 * number + 2)), grid.side))
            soft = soft_bits(plane, chips(number.to_bytes(8, "big"), grid))
        signs = random.integers(0, 2, code.CODED_BITS).astype(np.float32) * 2 - 1
        word, scores[number] = code.likeliest(soft * signs)
        chances[number] = code.WORD_BITS * log(2) + code.log_chance(soft, scores[number])
        value = int.from_bytes(np.packbits(word).tobytes(), "big")
        expected = int.from_bytes(np.packbits(code.word_of(value >> 16)).tobytes(), "big")
        low_fits[number], high_fits[number] = (value ^ expected) & 0xFF == 0, (value ^ expected) & 0xFF00 == 0
    print(f"\n{count} decodings of unmarked soft bits; highest score {scores.max():.2f}, CRC or not")
    for bound in (1e-1, 1e-2, 1e-3, 1e-4):  # of all 2^48 words, also those whose CRC is wrong
        print(f"  as good as the bound gives {bound:.0e} of them: {np.mean(chances <= log(bound)):.1e} seen")
    accepted = log(code.LOOK_CHANCE) + (code.WORD_BITS - code.PAYLOAD_BITS) * log(2)
    print(f"  as good as is accepted ({np.exp(accepted):.0e}): {np.mean(chances <= accepted):.1e} seen")
    edges = np.quantile(scores, [0, 0.5, 0.9, 0.99])
    for least in edges:
        chosen = scores >= least
        rates = " ".join(f"{fits[chosen].mean() * 256:.3f}" for fits in (low_fits, high_fits))
        print(f"  of {chosen.sum()} with score >= {least:.2f}: CRC bytes fit {rates} times as often as 1/256")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--searches", type=int, default=2000)
    parser.add_argument("--words", type=int, default=300_000)
    args = parser.parse_args()
    words(args.words)
    searches(args.searches)


if __name__ == "__main__":
    main()
