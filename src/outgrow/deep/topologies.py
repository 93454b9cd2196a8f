"""How arrays of all ranks are added up: along which edges, and what each rank sends.

Every way gives the same bits on all ranks. With P numbers of four bytes and W ranks a rank sends, of

- mesh: 2 (W - 1) / W * 4P bytes in two hops: each rank adds up one part of the array for all;
- ring: the same bytes in 2 (W - 1) hops, to one neighbour alone (Patarasuk and Yuan 2009);
- butterfly: the same bytes in 2 log2(W) hops (Rabenseifner 2004); ranks beyond a power of two join a partner;
- tree: up to 3 * 4P bytes in 2 log2(W) hops;
- star: 4P bytes in two hops, and rank 0 (W - 1) * 4P: parameters that are kept at one rank.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from outgrow.engine.links import Links

Sum = Callable[[Links, np.ndarray], None]
Edges = list[tuple[int, int]]


def parts(size: int, count: int) -> Edges:
    """An array cut into about equal parts, as beginnings and ends.

    Parameters
    ----------
    size : of the array.
    count : how many parts.

    Examples
    --------
    >>> from outgrow.deep.topologies import parts
    >>> parts(10, 4)
    [(0, 2), (2, 5), (5, 7), (7, 10)]
    """
    cuts = [size * number // count for number in range(count + 1)]
    return list(pairwise(cuts))


def mesh(links: Links, array: np.ndarray) -> None:
    """Add up the arrays of all ranks, in place: rank r adds up the r-th part.

    Parameters
    ----------
    links : to the other ranks.
    array : of shape (size,), of the same type on every rank.
    """
    _at_owners(links, array, range(links.size))


def star(links: Links, array: np.ndarray) -> None:
    """Add up the arrays of all ranks, in place: rank 0 does it.

    Parameters
    ----------
    links, array : as for `mesh`.
    """
    _at_owners(links, array, range(1))


def _at_owners(links: Links, array: np.ndarray, owners: Sequence[int]) -> None:
    edges = parts(len(array), len(owners))
    for owner, (start, end) in zip(owners, edges, strict=True):
        if owner != links.rank:
            links.send(owner, array[start:end])
    for owner, (start, end) in zip(owners, edges, strict=True):
        if owner == links.rank:
            array[start:end] = added(links, array[start:end])
            for rank in range(links.size):
                if rank != links.rank:
                    links.send(rank, array[start:end])
    for owner, (start, end) in zip(owners, edges, strict=True):
        if owner != links.rank:
            array[start:end] = links.receive(owner).arrays[0]


def added(links: Links, mine: np.ndarray) -> np.ndarray:
    """What this rank and all others have for a part, in the order of the ranks.

    Parameters
    ----------
    links : to the others, who have sent theirs.
    mine : of this rank.
    """
    total = np.zeros_like(mine)
    for rank in range(links.size):
        total += mine if rank == links.rank else links.receive(rank).arrays[0]
    return total


def ring(links: Links, array: np.ndarray) -> None:
    """Add up the arrays of all ranks, in place: sums go round, then what they came to.

    Parameters
    ----------
    links, array : as for `mesh`.
    """
    size, rank = links.size, links.rank
    edges, after, before = parts(len(array), size), (rank + 1) % size, (rank - 1) % size
    for hop in range(2 * (size - 1)):
        start, end = edges[(rank - hop) % size]
        links.send(after, array[start:end])
        start, end = edges[(rank - hop - 1) % size]
        arrived = links.receive(before).arrays[0]
        if hop < size - 1:
            array[start:end] += arrived
        else:
            array[start:end] = arrived


def butterfly(links: Links, array: np.ndarray) -> None:
    """Add up the arrays of all ranks, in place: halves are swapped with ever other partners, and come back.

    Parameters
    ----------
    links, array : as for `mesh`.
    """
    inner = 1 << (links.size.bit_length() - 1)
    partner = links.rank ^ inner
    if links.rank >= inner:
        links.send(partner, array)
        array[:] = links.receive(partner).arrays[0]
        return
    if partner < links.size:
        array += links.receive(partner).arrays[0]
    _halved(links, array, inner)
    if partner < links.size:
        links.send(partner, array)


def _halved(links: Links, array: np.ndarray, inner: int) -> None:
    start, end, kept = 0, len(array), []
    bit = inner >> 1
    while bit:
        partner, middle = links.rank ^ bit, (start + end) // 2
        low, high = (start, middle), (middle, end)
        mine, theirs = (high, low) if links.rank & bit else (low, high)
        links.send(partner, array[slice(*theirs)])
        arrived = links.receive(partner).arrays[0]
        part = array[slice(*mine)]
        np.add(*((arrived, part) if links.rank & bit else (part, arrived)), out=part)
        kept.append((partner, mine, theirs))
        (start, end), bit = mine, bit >> 1
    for partner, mine, theirs in reversed(kept):
        links.send(partner, array[slice(*mine)])
        array[slice(*theirs)] = links.receive(partner).arrays[0]


def tree(links: Links, array: np.ndarray) -> None:
    """Add up the arrays of all ranks, in place: sums go up a binary tree, and what they came to goes down.

    Parameters
    ----------
    links, array : as for `mesh`.
    """
    children = [child for child in (2 * links.rank + 1, 2 * links.rank + 2) if child < links.size]
    for child in children:
        array += links.receive(child).arrays[0]
    if links.rank:
        links.send((links.rank - 1) // 2, array)
        array[:] = links.receive((links.rank - 1) // 2).arrays[0]
    for child in children:
        links.send(child, array)


TOPOLOGIES: dict[str, Sum] = {"mesh": mesh, "ring": ring, "butterfly": butterfly, "tree": tree, "star": star}
"""By name, what adds up an array over all ranks in place."""


LARGE_BYTES = 1 << 20
"""From here on an array goes over the mesh, however fast the network is: at rank 0 of a star all meet."""
MANY_RANKS = 16
"""Beyond so many, small arrays go over the tree: a rank sends few messages."""
_TRIALS = 3


def quickest(links: Links, size: int) -> str:
    """The topology that adds up an array soonest; all ranks ask together, and get the same.

    Large arrays take the mesh, whose ranks send least; small ones what took least time in a few trials: the
    mesh, where bytes count, or the star, where messages do. Both add up in the order of the ranks, so which
    of them it is changes no bit. Between very many ranks small arrays take the tree.

    Parameters
    ----------
    links : to the other ranks.
    size : of the array of float32.
    """
    if 4 * size >= LARGE_BYTES:
        return "mesh"
    if links.size > MANY_RANKS:
        return "tree"
    array, names = np.zeros(size, np.float32), ("mesh", "star")
    seconds = np.zeros((len(names), links.size))
    for row, name in enumerate(names):
        trials = []
        for _ in range(_TRIALS):
            began = time.perf_counter()
            TOPOLOGIES[name](links, array)
            trials.append(time.perf_counter() - began)
        seconds[row, links.rank] = min(trials)
    flat = seconds.reshape(-1)
    star(links, flat)
    return names[int(flat.reshape(seconds.shape).max(axis=1).argmin())]


def gathered(links: Links, array: np.ndarray) -> np.ndarray:
    """The arrays of all ranks one below the other, of shape (ranks, size).

    Parameters
    ----------
    links : to the other ranks.
    array : of shape (size,).
    """
    for rank in range(links.size):
        if rank != links.rank:
            links.send(rank, array)
    return np.stack(
        [array if rank == links.rank else links.receive(rank).arrays[0] for rank in range(links.size)]
    )
