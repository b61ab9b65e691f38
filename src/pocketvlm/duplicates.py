"""Near-duplicates: the same picture resized, re-encoded, brightened or trimmed a little.

A perceptual hash of 256 bits (ImageHash's phash: signs of low frequencies of a DCT, Zauner 2010,
https://www.phash.org/docs/pubs/thesis_zauner.pdf). On 500 photographs and 600 of the demo's scenes
the closest two different pictures lie 82 bits apart; of 120 altered copies, quality 50, half the
size, a quarter brighter or grey lie within 28, trimmed by 3% on each side within 74, half of them
within 46. With 64 bits the two overlap (docs/decisions.md).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pocketvlm.parallel import workers
from pocketvlm.pictures import Bitmap
from pocketvlm.progress import bar

BITS = 256
NEAR = 60
"""Bits in which two hashes of one picture may differ, at most."""

LEAST_DETAIL = 0.5
"""Of 255, how much neighbours differ beyond a gradient, on average: photographs have over 1."""

BLOCK, TILE = 16, 8192
"""Hashes that are compared at a time, with how many others."""

MOST = 4_000_000
"""Pairs that are kept before they are reduced."""

MANY, COMPARING = 20_000, "Comparing pictures"
"""More of them take over a second."""

Words = NDArray[np.uint64]
"""A quarter of each hash, shape (pictures,)."""


def perceptual_hash(pixels: Bitmap) -> str | None:
    """What a picture looks like, in 64 hexadecimal digits; None for one that shows next to nothing
    (one colour, a smooth gradient), whose hash would be noise that all such pictures share."""
    picture = Image.fromarray(pixels)
    small = np.asarray(picture.convert("L").resize((64, 64), Image.Resampling.BOX), np.float64)
    if np.abs(np.diff(np.diff(small, axis=0), axis=1)).mean() < LEAST_DETAIL:
        return None
    return str(imagehash.phash(picture, hash_size=16))


def near_groups(hashes: Sequence[str | None]) -> list[int]:
    """For each picture the index of the first one that it is, or is like one that is like, ...

    Those without a hash are alone. Every pair is compared: 16 s for 100,000 on 2 cores."""
    known = [at for at, text in enumerate(hashes) if text and len(text) == BITS // 4]
    first = list(range(len(hashes)))
    if len(known) < 2:
        return first
    bits = np.frombuffer(bytes.fromhex("".join(str(hashes[at]) for at in known)), np.uint64)
    different, same = np.unique(bits.reshape(len(known), -1), axis=0, return_inverse=True)
    words = [np.ascontiguousarray(word) for word in different.T]
    count = len(different)
    starts = range(0, count, BLOCK)
    with ThreadPoolExecutor(workers()) as pool, bar(COMPARING, len(starts), count > MANY) as step:
        found = np.empty((2, 0), np.intp)
        for pairs in pool.map(lambda start: _near(words, start), starts):
            found = np.concatenate([found, pairs], axis=1)
            if found.shape[1] > MOST:  # thousands that are all alike: a tree says the same
                found = np.stack([np.arange(count), _leaders(found, count)])
            step("")
    leaders = _leaders(found, count)[same]
    # The first of a group of different hashes need not be the first picture that has one of them.
    at_first = np.full(count, len(known))
    np.minimum.at(at_first, leaders, np.arange(len(known)))
    for at, leader in zip(known, leaders, strict=True):
        first[at] = known[at_first[leader]]
    return first


def _leaders(pairs: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """For each of `count` hashes the first of its group."""
    links = coo_matrix((np.ones(pairs.shape[1], bool), (pairs[0], pairs[1])), shape=(count, count))
    _, group = connected_components(links, directed=False)
    _, leaders, members = np.unique(group, return_index=True, return_inverse=True)
    found: NDArray[np.intp] = leaders[members]
    return found


def _near(words: Sequence[Words], start: int) -> NDArray[np.intp]:
    """Pairs of one block with later pictures, shape (2, pairs), in tiles that stay in the cache."""
    found = [np.empty((2, 0), np.intp)]
    for later in range(start, len(words[0]), TILE):
        distance = np.uint16(0)
        for word in words:
            block, others = word[start : start + BLOCK, None], word[later : later + TILE]
            distance = distance + np.bitwise_count(block ^ others)
        left, right = np.nonzero(distance <= NEAR)
        pairs = np.stack([left + start, right + later])
        found.append(pairs[:, pairs[0] < pairs[1]])
    return np.concatenate(found, axis=1)
