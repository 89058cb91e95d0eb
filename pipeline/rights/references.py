"""What references to assets fit: by digest, `dataset:key` or key."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.rights.assets import Assets, is_digest
from pipeline.rights.coded import Coded, Codes
from pipeline.rights.spans import by_code


def fitting(assets: Assets, references: pa.StringArray) -> tuple[Codes, Codes]:
    """(number of the reference, code of an identity) for all that fit, each pair once. References are tidy."""
    if not len(references):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    digest = np.asarray(is_digest(references))
    digests = np.flatnonzero(digest)
    code = assets.identity.find(references.take(pa.array(digests)))
    keys = assets.coded("key")
    by_digest = np.stack([digests[code >= 0], code[code >= 0]])
    digest_keys = bool(pc.any(is_digest(keys.values)).as_py())
    named = np.flatnonzero(~digest | digest_keys)
    place, identity = _fitting_keys(assets, keys, references.take(pa.array(named)))
    number, identity = np.concatenate([by_digest, np.stack([named[place], identity])], axis=1)
    return _once(number, identity) if digest_keys else (number, identity)


def _fitting_keys(assets: Assets, keys: Coded, references: pa.StringArray) -> tuple[Codes, Codes]:
    """By key, and by the key after the colon in the dataset before it (names of datasets hold no colon)."""
    colon = np.flatnonzero(pc.match_substring(references, ":"))
    split = pc.split_pattern(references.take(pa.array(colon)), ":", max_splits=1)
    found = keys.find(pa.concat_arrays([references, pc.list_element(split, 1)]))
    found[np.flatnonzero(pc.equal(references, ""))] = -1
    number = np.flatnonzero(found >= 0)
    place, row = by_code(keys.codes, np.arange(assets.size), len(keys.values)).of_each(found[number])
    number = number[place]
    qualified = np.flatnonzero(number >= len(references))
    asked = assets.dataset.find(pc.list_element(split, 0))[number[qualified] - len(references)]
    fits = np.ones(len(number), dtype=bool)
    fits[qualified] = asked == assets.dataset.codes[row[qualified]]
    return _once(np.concatenate([np.arange(len(references)), colon])[number[fits]], assets.identity.codes[row[fits]])


def _once(number: Codes, identity: Codes) -> tuple[Codes, Codes]:
    size = int(identity.max(initial=0)) + 1
    return np.divmod(np.unique(number * size + identity), size)
