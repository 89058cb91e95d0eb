"""A column of digests as numbers: the answers of a column of texts, also where digests share a number on purpose."""

import hashlib

import numpy as np
import pyarrow as pa

from pipeline.rights.coded import MANY, CodedDigests, coded, coded_digests, digest_numbers


def column(count: int) -> list[str]:
    """Digests of which some come again."""
    return [hashlib.sha256(b"%d" % (number % (count - 900))).hexdigest() for number in range(count)]


def sharing_a_number(digest: str) -> pa.StringArray:
    """Another text of 64 bytes with the same number: what is added to its first word is taken off by its second."""
    wanted = digest_numbers(pa.array([digest]))[0]
    words = np.frombuffer(digest.encode(), np.uint64).copy()
    first, second = (digest_numbers(pa.array([unit]))[0] for unit in ("\1" + "\0" * 63, "\0" * 8 + "\1" + "\0" * 55))
    with np.errstate(over="ignore"):
        words[0], words[1] = words[0] + second, words[1] - first
    data = pa.py_buffer(words.tobytes())
    offsets = pa.py_buffer(np.array([0, 64], np.int32).tobytes())
    made = pa.StringArray.from_buffers(1, offsets, data)
    assert digest_numbers(made)[0] == wanted and words.tobytes() != digest.encode()
    return made


def test_digests_have_the_codes_of_texts_and_are_found_like_them() -> None:
    texts = pa.array(column(MANY))
    numbers, plain = coded_digests(texts), coded(texts)
    assert isinstance(numbers, CodedDigests) and len(numbers) == len(plain) == MANY - 900
    assert np.array_equal(numbers.codes, plain.codes)
    assert numbers.named(np.arange(len(numbers))).equals(plain.values)
    asked = pa.array([texts[7].as_py(), "0" * 64, texts[-1].as_py()])
    assert np.array_equal(numbers.find(asked), plain.find(asked))
    assert not len(numbers.find(asked.slice(0, 0)))


def test_a_reference_made_to_share_a_number_with_an_asset_is_not_that_asset() -> None:
    texts = pa.array(column(MANY))
    assert coded_digests(texts).find(sharing_a_number(texts[5].as_py())).tolist() == [-1]


def test_assets_made_to_share_a_number_are_two_assets() -> None:
    texts = pa.array(column(MANY))
    both = coded_digests(pa.concat_arrays([texts, sharing_a_number(texts[5].as_py())]))
    assert both.codes[-1] != both.codes[5] and len(both) == MANY - 900 + 1
