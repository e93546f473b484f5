"""Find images that look alike by their perceptual hashes, in bounded memory.

Hashes as vectors of +1 and -1 agree in as many bits as half of 64 plus their product says, so a
block of rows is compared with all later ones by one matrix product.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

BITS = 64
# Rows compared at a time: with a million images a block holds 256 MB.
BLOCK = 64


def near_later(hashes: Sequence[int], distance: int) -> Iterator[tuple[int, np.ndarray]]:
    """Compare every hash with all later ones, a block of rows at a time.

    Args:
        hashes: N perceptual hashes of 64 bits (see `image_io.inspect_image`).
        distance: bits in which two near-duplicates differ at most.

    Yields:
        The position `start` of a block's first row, and (rows, N - start) bool: whether hash
        start + row and the later hash start + column are near-duplicates.
    """
    octets = np.array(hashes, np.uint64).view(np.uint8).reshape(-1, BITS // 8)
    signs = np.unpackbits(octets, axis=1).astype(np.float32) * 2 - 1
    for start in range(0, len(signs), BLOCK):
        products = signs[start : start + BLOCK] @ signs[start:].T
        yield start, np.triu(products >= BITS - 2 * distance, 1)


def groups_by_hash(hashes: Sequence[int], distance: int = 5) -> list[str]:
    """Put images that look alike into one group, directly or through others.

    Args:
        hashes: 64-bit perceptual hashes (see `image_io.inspect_image`).
        distance: bits in which two near-duplicates differ at most.

    Returns:
        For every image the name of its group: the position of its last member.
    """
    count = len(hashes)
    labels = np.arange(count)
    for start, near in near_later(hashes, distance):
        rows, columns = np.nonzero(near)
        first, second = labels[start + rows], labels[start + columns]
        apart = first != second
        if apart.any():
            edges = (np.ones(apart.sum(), bool), (first[apart], second[apart]))
            joined = connected_components(coo_matrix(edges, (count, count)), directed=False)[1]
            labels = joined[labels]
    last = {label: position for position, label in enumerate(labels.tolist())}
    return [str(last[label]) for label in labels.tolist()]
