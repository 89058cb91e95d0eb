"""The payload's code: 32 bits and a CRC-16, convolutionally coded; read softly, and accepted only far above chance.

Code: constraint length 9, rate 1/4, generators 463 535 733 745 (octal), free distance 24 (K. Larsen, "Short
convolutional codes with maximal free distance", IEEE Trans. Information Theory 19(3), 1973), closed with eight zeros.
A. Viterbi's algorithm gives the likeliest word.

False readings. The key scrambles the 224 coded bits with independent signs. For any image that does not depend on the
key and any way of looking at it, the soft values r are fixed and the score of a word c, sum(c s r) / |r|, is a
weighted sum of random signs s: Hoeffding bounds its tail by exp(-score^2 / 2). Union over the 2^32 words and the
looks of one reading gives `false_reading_bound`, without any assumption about the image or about the CRC.
"""

import binascii
from math import exp

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
LEAST_SCORE = 9.2  # of at most sqrt(224) = 14.97

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

    The payload is None when the CRC does not fit or the score is below LEAST_SCORE.
    """
    word, score = likeliest(soft)
    return (payload_of(word) if score >= LEAST_SCORE else None), score


def likeliest(soft: NDArray[np.float32]) -> tuple[NDArray[np.uint8], float]:
    """The likeliest word of 48 bits for soft coded bits (224,), whatever its CRC, and its score."""
    norm = float(np.sqrt(np.dot(soft, soft)))
    if not 0.0 < norm < np.inf:
        return np.zeros(WORD_BITS, np.uint8), 0.0
    word, metric = _viterbi(soft, _OUTPUTS)
    return word, float(metric) / norm


def false_reading_bound(looks: int) -> float:
    """Upper bound of the chance that one of `looks` decodings of an image without a mark of this key is accepted."""
    return looks * 2.0**PAYLOAD_BITS * exp(-(LEAST_SCORE**2) / 2)


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
