"""The payload's code: round trips, errors corrected, and the odds of accepting noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy.stats import binomtest

from pipeline.credentials.watermark import payload as code
from pipeline.credentials.watermark.lattice import lattice_bound

PAYLOADS = some.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(PAYLOADS)
def test_a_word_gives_its_payload_back(payload: int) -> None:
    assert code.payload_of(code.word_of(payload)) == payload


@settings(deadline=None)
@given(PAYLOADS, some.sets(some.integers(0, 47), min_size=1, max_size=2))
def test_one_or_two_wrong_bits_never_pass_the_check(payload: int, wrong: set[int]) -> None:
    word = code.word_of(payload)
    word[list(wrong)] ^= 1
    assert code.payload_of(word) is None


@settings(deadline=None)
@given(PAYLOADS)
def test_coded_bits_decode_with_the_highest_score(payload: int) -> None:
    found, score = code.decoded(code.encoded(payload))
    assert found == payload
    assert score == pytest.approx(np.sqrt(code.CODED_BITS), rel=1e-4)


@settings(deadline=None)
@given(PAYLOADS, PAYLOADS)
def test_the_code_is_linear_and_its_words_lie_24_bits_apart(first: int, second: int) -> None:
    """CRC-16 with a start value is affine, so the code is too: three words make a fourth."""
    a, b, zero = (code.encoded(payload) for payload in (first, second, 0))
    assert (a * b * zero == code.encoded(first ^ second)).all()
    assert first == second or (a != b).sum() >= 24


@settings(deadline=None)
@given(PAYLOADS, some.sets(some.integers(0, code.CODED_BITS - 1), max_size=11))
def test_any_eleven_wrong_coded_bits_are_corrected(payload: int, wrong: set[int]) -> None:
    """Half the free distance, less one."""
    signs = code.encoded(payload)
    signs[list(wrong)] *= -1
    assert code.decoded(signs)[0] == payload


@settings(max_examples=50, deadline=None)
@given(PAYLOADS, some.floats(0.01, 1000), some.integers(0, 2**32 - 1))
def test_strength_and_moderate_noise_do_not_matter(payload: int, strength: float, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.6, code.CODED_BITS)
    assert code.decoded((strength * (code.encoded(payload) + noise)).astype(np.float32))[0] == payload


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_degenerate_soft_bits_are_no_payload(value: float) -> None:
    assert code.decoded(np.full(code.CODED_BITS, value, np.float32))[0] is None


def test_noise_is_never_a_payload() -> None:
    random = np.random.default_rng(3)
    read = [code.decoded(random.normal(size=code.CODED_BITS).astype(np.float32))[0] for _ in range(5_000)]
    assert set(read) == {None}


@settings(max_examples=30, deadline=None)
@given(some.integers(0, 2**32 - 1), some.floats(0.5, 6.0), some.floats(1.0, 3.5))
def test_random_signs_exceed_a_score_no_more_often_than_the_bound(seed: int, uneven: float, score: float) -> None:
    random = np.random.default_rng(seed)
    soft = (np.abs(random.normal(size=code.CODED_BITS)) ** uneven + 1e-3).astype(np.float32)
    signs = random.integers(0, 2, (4_000, code.CODED_BITS)) * 2 - 1
    seen = int((signs @ soft / np.linalg.norm(soft) >= score).sum())
    bound = np.exp(code.log_chance(soft, score))
    assert bound <= np.exp(-(score**2) / 2) + 1e-9
    assert seen <= 4_000 * bound + 6 * np.sqrt(4_000 * bound) + 6


def test_the_bound_is_that_of_coins_when_all_soft_bits_are_equally_loud() -> None:
    """A word that 180 of 224 equal bits speak for: Chernoff's bound of the binomial tail, 2^-n(1 - H(p))."""
    share = 180 / code.CODED_BITS
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    score = (2 * share - 1) * np.sqrt(code.CODED_BITS)
    found = code.log_chance(np.ones(code.CODED_BITS, np.float32), score)
    assert found == pytest.approx(-code.CODED_BITS * (np.log(2) - entropy), rel=1e-3)


def test_the_check_is_independent_of_the_score() -> None:
    """Among noise of high and of low score, the CRC's low eight bits fit equally often: once in 256."""
    random = np.random.default_rng(4)
    fits, scores = [], []
    for _ in range(20_000):
        soft = random.normal(size=code.CODED_BITS).astype(np.float32)
        word, score = code.likeliest(soft)
        value = int.from_bytes(np.packbits(word).tobytes(), "big")
        expected = int.from_bytes(np.packbits(code.word_of(value >> 16)).tobytes(), "big")
        fits.append((value ^ expected) & 0xFF == 0)
        scores.append(score)
    high = np.array(scores) >= np.quantile(scores, 0.75)
    for group in (np.array(fits)[high], np.array(fits)[~high]):
        assert binomtest(int(group.sum()), len(group), 1 / 256).pvalue > 1e-3


def test_the_bounds_are_small() -> None:
    assert code.LOOK_CHANCE <= 1e-9
    assert 0 < lattice_bound() < 2e-7
