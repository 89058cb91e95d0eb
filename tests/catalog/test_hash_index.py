"""The index of perceptual hashes: what is near is found, by the bits that may be otherwise."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as some

from pipeline.catalog.hash_index import UNSURE, WORDS, index_keys, near_keys, probe_keys

HASHES = some.binary(min_size=32, max_size=32)


def bits_of(phash: bytes) -> np.ndarray:
    return np.unpackbits(np.frombuffer(phash, np.uint8))


def packed(bits: np.ndarray) -> bytes:
    return np.packbits(bits).tobytes()


def margins(bits: np.ndarray, unsure: list[int]) -> np.ndarray:
    """Margins of a query in which these bits are hardly what they are."""
    sure = np.where(bits == 1, 5.0, -5.0)
    sure[unsure] /= 100
    return sure


@given(HASHES)
def test_a_hash_is_kept_under_one_key_a_word_and_found_under_each(phash: bytes) -> None:
    keys = index_keys(phash)
    assert len(set(keys)) == WORDS and {key >> 16 for key in keys} == set(range(WORDS))
    assert set(keys) <= near_keys(phash)
    assert set(keys) <= probe_keys(margins(bits_of(phash), []))


@settings(max_examples=60)
@given(HASHES, some.integers(0, WORDS - 1), some.sets(some.integers(0, 15), max_size=UNSURE), some.randoms())
def test_a_copy_is_found_when_one_word_differs_in_unsure_bits_only(
    phash: bytes, word: int, places: set[int], chance: object
) -> None:
    original = bits_of(phash)
    copy = 1 - original  # every other word is wholly different
    of_word = np.arange(word, 256, WORDS)
    copy[of_word] = original[of_word]
    unsure = [int(of_word[place]) for place in places]
    copy[unsure] ^= 1
    found = probe_keys(margins(copy, unsure)) & set(index_keys(phash))
    assert {key >> 16 for key in found} == {word}


@given(HASHES, some.integers(0, 255))
def test_one_different_bit_in_each_word_is_found_without_margins(phash: bytes, place: int) -> None:
    copy = bits_of(phash)
    copy[(np.arange(WORDS) + place // WORDS * WORDS) % 256] ^= 1
    assert set(index_keys(packed(copy))) <= near_keys(phash)


def test_the_number_of_keys_to_look_under_is_bounded() -> None:
    rng = np.random.default_rng(0)
    assert max(len(probe_keys(rng.normal(size=256))) for _ in range(20)) <= WORDS * 2**UNSURE
    assert len(near_keys(rng.bytes(32))) == WORDS * 17
