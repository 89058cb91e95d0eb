"""The payload's code: 32 bits and a CRC-16, convolutionally coded; read softly, and accepted only far above chance.

Code: constraint length 9, rate 1/4, generators 463 535 733 745 (octal), free distance 24 (K. Larsen, "Short
convolutional codes with maximal free distance", IEEE Trans. Information Theory 19(3), 1973), closed with eight zeros.
A. Viterbi's algorithm gives the likeliest word.

False readings. The key scrambles the 224 coded bits with independent signs. For any image that does not depend on the
key and any way of looking at it, the soft values r are fixed but for these signs s, and the score of a word c,
sum(c s r) / |r|, is a weighted sum of random signs: Chernoff bounds its tail by the least over t of
exp(-t score) prod cosh(t r / |r|), which knows how even these very r are and is never above Hoeffding's
exp(-score^2 / 2). Accepted is what this bound, summed over all 2^32 words, leaves no more than LOOK_CHANCE: about 8.0
to 8.9 of at most sqrt(224) = 14.97. No assumption is made about the image or about the CRC.
"""

import binascii
from math import log

import numba
import numpy as np
from numpy.typing import NDArray

PAYLOAD_BITS = 32
CHECK_BITS = 16
WORD_BITS = PAYLOAD_BITS + CHECK_BITS
MEMORY = 8  # bits of the encoder's state
GENERATORS = (0o463, 0o535, 0o733, 0o745)
RATE = len(GENERATORS)
CODED_BITS = RATE * (WORD_BITS + MEMORY)
LOOK_CHANCE = 1e-9  # that one decoding of an image without a mark of this key is accepted

Signs = NDArray[np.float32]  # +1 for bit 0, -1 for bit 1


def word_of(payload: int) -> NDArray[np.uint8]:
    """The payload's 32 bits and its CRC-16, most significant bit first, shape (48,)."""
    value = (payload << CHECK_BITS) | _check(payload)
    return np.unpackbits(np.frombuffer(value.to_bytes(WORD_BITS // 8, "big"), np.uint8))


def payload_of(word: NDArray[np.uint8]) -> int | None:
    """The payload of a word of 48 bits, None when its CRC does not fit."""
    value = int.from_bytes(np.packbits(word).tobytes(), "big")
    payload = value >> CHECK_BITS
    return payload if _check(payload) == value & (2**CHECK_BITS - 1) else None


def encoded(payload: int) -> Signs:
    """The coded bits of a payload as signs, shape (224,)."""
    bits = np.concatenate([word_of(payload), np.zeros(MEMORY, np.uint8)])
    return np.array(_encode(bits, _OUTPUTS))


def decoded(soft: NDArray[np.float32]) -> tuple[int | None, float]:
    """The likeliest payload for soft coded bits (224,) and its score, see the module.

    The payload is None when the CRC does not fit or chance could give such a score, see the module.
    """
    word, score = likeliest(soft)
    by_chance = log_chance(soft, score) + PAYLOAD_BITS * log(2)
    return (payload_of(word) if by_chance <= log(LOOK_CHANCE) else None), score


def log_chance(soft: NDArray[np.float32], score: float) -> float:
    """Natural logarithm of a bound of the chance that one given word scores so for soft bits of random signs."""
    norm = float(np.sqrt(np.dot(soft, soft)))
    if not 0.0 < norm < np.inf or score <= 0.0:
        return 0.0
    return float(_chernoff((np.abs(soft) / norm).astype(np.float32), score))


def likeliest(soft: NDArray[np.float32]) -> tuple[NDArray[np.uint8], float]:
    """The likeliest word of 48 bits for soft coded bits (224,), whatever its CRC, and its score."""
    norm = float(np.sqrt(np.dot(soft, soft)))
    if not 0.0 < norm < np.inf:
        return np.zeros(WORD_BITS, np.uint8), 0.0
    word, metric = _viterbi(soft, _OUTPUTS)
    return word, float(metric) / norm


def _check(payload: int) -> int:
    return binascii.crc_hqx(payload.to_bytes(4, "big"), 0xFFFF)


def _outputs() -> NDArray[np.float32]:
    """Signs that the encoder puts out for each register of 9 bits, the newest the highest; shape (512, 4)."""
    registers = range(2 ** (MEMORY + 1))
    return np.array(
        [[1.0 - 2.0 * ((register & taps).bit_count() & 1) for taps in GENERATORS] for register in registers],
        np.float32,
    )


_OUTPUTS = _outputs()


@numba.njit(cache=True)
def _chernoff(weights: NDArray[np.float32], score: float) -> float:
    """The least of sum(ln cosh(t w)) - t score over t >= 0, by Newton's method; any t gives a bound."""
    t = score
    for _ in range(12):
        slope, curvature = -score, 1e-9
        for weight in weights:
            lean = np.tanh(t * weight)
            slope += weight * lean
            curvature += weight * weight * (1 - lean * lean)
        t = min(max(t - slope / curvature, 0.0), 4 * score)
    bound = -t * score
    for weight in weights:
        bound += t * weight + np.log1p(np.exp(-2 * t * weight)) - np.log(2)
    return bound


@numba.njit(cache=True)
def _encode(bits: NDArray[np.uint8], outputs: NDArray[np.float32]) -> Signs:
    state = np.int64(0)
    signs = np.empty(bits.size * RATE, np.float32)
    for step in range(bits.size):
        register = (np.int64(bits[step]) << MEMORY) | state
        for branch in range(RATE):
            signs[step * RATE + branch] = outputs[register, branch]
        state = register >> 1
    return signs


@numba.njit(cache=True)
def _viterbi(soft: NDArray[np.float32], outputs: NDArray[np.float32]) -> tuple[NDArray[np.uint8], float]:
    """The word whose path from state 0 to state 0 correlates best with `soft`, and that correlation."""
    states, steps = 1 << MEMORY, soft.size // RATE
    metric = np.full(states, -1e30, np.float32)
    metric[0] = 0.0
    following = np.empty(states, np.float32)
    dropped = np.empty((steps, states), np.uint8)
    for step in range(steps):
        for state in range(states):
            newest = state >> (MEMORY - 1)
            best, choice = np.float32(-1e38), 0
            if step < WORD_BITS or newest == 0:
                for oldest in range(2):
                    before = ((state << 1) & (states - 1)) | oldest
                    register = (newest << MEMORY) | before
                    value = metric[before]
                    for branch in range(RATE):
                        value += outputs[register, branch] * soft[step * RATE + branch]
                    if value > best:
                        best, choice = value, oldest
            following[state] = best
            dropped[step, state] = choice
        metric, following = following, metric
    word = np.empty(WORD_BITS, np.uint8)
    state = 0
    for step in range(steps - 1, -1, -1):
        if step < WORD_BITS:
            word[step] = state >> (MEMORY - 1)
        state = ((state << 1) & (states - 1)) | dropped[step, state]
    return word, metric[0]
