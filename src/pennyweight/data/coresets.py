"""A few rows that stand for many: herding, cluster centres, and the outliers that stand for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import UnknownNameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

PICKS = ("herding", "kmeans")
OUTLIERS = ("", "dbscan", "isolation")

_BLOCK = 2000  # rows of which herding takes its share at a time, so that its cost grows with the rows only
_WAVES = 256  # random features of the kernel
_PAIRS = 500  # rows whose distances give the kernel its width
_NEIGHBOURS = 5
_ODD = 0.02  # of the rows: the share that an isolation forest calls outliers
_ALONE = 2.0  # times the typical distance to the fifth neighbour, beyond which DBSCAN finds nobody near


def picked(rows: Floats, wanted: int, how: str, seed: int) -> NDArray[np.intp]:
    """The positions, ascending, of `wanted` of the rows (N, D) that stand for all of them; `how` is one of `PICKS`."""
    if wanted >= len(rows):
        return np.arange(len(rows))
    if how == "herding":
        return np.sort(_herded(rows, wanted, seed))
    if how == "kmeans":
        return np.sort(_centres(rows, wanted, seed))
    raise UnknownNameError.of("way of picking rows", how, PICKS)


def usual(rows: Floats, how: str, seed: int) -> NDArray[np.bool_]:
    """Whether each row (N, D) has others like it, as DBSCAN or an isolation forest sees it; all are, if `how` is "".

    DBSCAN takes for noise what has not five rows within twice the distance that is usual for a fifth neighbour; an
    isolation forest the fiftieth that is told from the others most easily.
    """
    if how not in OUTLIERS:
        raise UnknownNameError.of("way of finding outliers", how, OUTLIERS)
    if not how or len(rows) <= 2 * _NEIGHBOURS:
        return np.ones(len(rows), dtype=bool)
    if how == "isolation":
        from sklearn.ensemble import IsolationForest

        found = IsolationForest(contamination=_ODD, random_state=seed).fit_predict(rows)
        fine: NDArray[np.bool_] = found > 0
        return fine
    from sklearn.cluster import DBSCAN
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=_NEIGHBOURS).fit(rows).kneighbors(return_distance=True)[0][:, -1]
    reach = max(_ALONE * float(np.median(near)), 1e-9)
    some: NDArray[np.bool_] = DBSCAN(eps=reach, min_samples=_NEIGHBOURS).fit(rows).labels_ >= 0
    return some


def _herded(rows: Floats, wanted: int, seed: int) -> NDArray[np.intp]:
    """Herd block by block; every block gives its share."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    waves = _waves(rows, rng)
    blocks = np.array_split(order, -(-len(rows) // _BLOCK))
    ends = np.round(np.cumsum([len(block) for block in blocks]) * wanted / len(rows)).astype(int)
    shares = np.diff(ends, prepend=0).tolist()
    return np.concatenate([block[_herd(waves(rows[block]), n)] for block, n in zip(blocks, shares, strict=True)])


def _herd(features: Floats, wanted: int) -> NDArray[np.intp]:
    """Take the row that brings the mean of those taken nearest to the mean of all, again and again.

    Welling 2009, Herding Dynamical Weights to Learn; with random features of a Gaussian kernel it is the kernel herding
    of Chen, Welling and Smola 2010, Super-Samples from Kernel Herding. Time grows with rows · wanted · features.
    """
    mean = features.mean(axis=0)
    pull, taken = mean.copy(), np.empty(wanted, dtype=np.intp)
    free = np.zeros(len(features), np.float32)
    for at in range(wanted):
        taken[at] = np.argmax(features @ pull + free)
        free[taken[at]] = -np.inf
        pull += mean - features[taken[at]]
    return taken


def _waves(rows: Floats, rng: np.random.Generator) -> Any:
    """Random features of a Gaussian kernel as wide as two rows are apart (Rahimi and Recht 2007)."""
    one, other = rng.permutation(len(rows))[:_PAIRS], rng.permutation(len(rows))[:_PAIRS]
    width = max(float(np.median(np.linalg.norm(rows[one] - rows[other], axis=1))), 1e-6)
    turns = (rng.normal(size=(rows.shape[1], _WAVES)) / width).astype(np.float32)
    shift = rng.uniform(0, 2 * np.pi, _WAVES).astype(np.float32)
    return lambda part: np.cos(part @ turns + shift) * np.float32(np.sqrt(2 / _WAVES))


def _centres(rows: Floats, wanted: int, seed: int) -> NDArray[np.intp]:
    """The row nearest to each centre of k-means; where one is nearest to two, the rows farthest from all follow."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.metrics import pairwise_distances_argmin, pairwise_distances_argmin_min

    found = MiniBatchKMeans(wanted, n_init=1, random_state=seed, batch_size=max(1024, wanted)).fit(rows)
    taken = np.unique(pairwise_distances_argmin(found.cluster_centers_, rows))
    if len(taken) < wanted:
        rest = np.setdiff1d(np.arange(len(rows)), taken)
        _, far = pairwise_distances_argmin_min(rows[rest], rows[taken])
        taken = np.concatenate([taken, rest[np.argsort(-far, kind="stable")[: wanted - len(taken)]]])
    return taken
