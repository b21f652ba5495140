"""Three disjoint parts of the data: train, select (the search looks here), certify (touched once)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.data.copies import row_names, shared
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_NAMED = 8  # columns or classes named in a message before it says "and more"


@dataclass(frozen=True, slots=True, eq=False)
class Arrays:
    """Examples side by side: `x` (N, ...), `y` (N,) or (N, T), and, if given, `groups` (N,) and `weight` (N,).

    Where several texts share a row, `texts` (N, T) numbers them, token by token. Where a row is shorter than others,
    the labels after its end are below zero.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    groups: NDArray[Any] | None = None
    weight: NDArray[Any] | None = None
    texts: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        for name in ("y", "groups", "weight", "texts"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.x):
                raise BadInputError(
                    f"x has {len(self.x)} rows but {name} has {len(column)}.", f"give one entry of {name} per row of x."
                )

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: NDArray[Any] | slice) -> Self:
        """The rows at `index` (positions, a mask or a slice), with everything that belongs to them."""
        groups = None if self.groups is None else self.groups[index]
        weight = None if self.weight is None else self.weight[index]
        texts = None if self.texts is None else self.texts[index]
        return type(self)(self.x[index], self.y[index], groups, weight, texts)


@dataclass(frozen=True, slots=True)
class Splits:
    """Train on the first, search on the second, certify on the third; no row (and no group) is in two of them.

    `unlabelled` are further rows (M, ...) to train on whose answers nobody knows, if there are any.
    """

    train: Arrays
    select: Arrays
    certify: Arrays
    unlabelled: NDArray[Any] | None = field(default=None, compare=False, kw_only=True)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The rows of train, select and certify."""
        return len(self.train), len(self.select), len(self.certify)


def split(  # ruff: ignore[too-many-arguments] - these are the choices one has, each with a default
    x: ArrayLike,
    y: ArrayLike,
    *,
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
    groups: ArrayLike | None = None,
    stratify: bool = True,
    seed: int = 0,
) -> Splits:
    """Deal the rows of `x` (N, ...) and `y` (N,) or (N, T) into three disjoint parts of the given `shares`.

    With `stratify`, every class has its share in every part (whole-number or text `y` of shape (N,); real values and
    sequences have no classes and are dealt at random). With `groups` (N,), all rows of a group land in one part, so a
    score on one part says something about groups never seen in another. Equal seeds give equal parts.
    """
    rows = Arrays(np.asarray(x), np.asarray(y), None if groups is None else np.asarray(groups))
    classes = rows.y if stratify and is_classes(rows.y) else None
    part = deal(len(rows), shares, classes=classes, groups=rows.groups, seed=seed)
    return Splits(*(rows.take(np.flatnonzero(part == number)) for number in range(len(shares))))


def is_classes(y: NDArray[Any]) -> bool:
    """Whether `y` holds one class per row (whole numbers, truth values or text), not values or sequences."""
    return y.ndim == 1 and y.dtype.kind in "biuUSO"


def deal(
    n: int,
    shares: Sequence[float],
    *,
    classes: NDArray[Any] | None = None,
    groups: NDArray[Any] | None = None,
    seed: int = 0,
) -> NDArray[np.intp]:
    """Give each of `n` rows the number of its part, (n,): one part per share, no class missing in any.

    Raises `BadInputError` if a class or the groups are too few to be in every part.
    """
    wanted = np.asarray(shares, dtype=float)
    if len(wanted) < 2 or not (np.all(wanted > 0) and abs(wanted.sum() - 1) < 1e-6):
        raise BadInputError(
            f"Shares of {', '.join(f'{share:g}' for share in wanted)} do not divide the data.",
            "give positive shares that add up to 1, such as 0.6, 0.2, 0.2.",
        )
    if n < len(wanted):
        raise BadInputError(f"{n} rows cannot be dealt into {len(wanted)} parts.", "give more data or fewer parts.")
    names, codes = _codes(n, classes)
    generator = np.random.default_rng(seed)
    if groups is None:
        part = _deal_rows(codes, names, wanted, generator)
    else:
        part = _deal_groups(codes, np.unique(groups, return_inverse=True)[1], wanted, generator)
    _check(part, codes, names, groups, len(wanted))
    return part


def check_finite(arrays: Arrays) -> None:
    """Raise `BadInputError` naming the columns of `x` (N, K), or `y`, that hold NaN or infinity."""
    if arrays.y.dtype.kind == "f" and not np.isfinite(arrays.y).all():
        bad = int((~np.isfinite(arrays.y)).reshape(len(arrays), -1).any(axis=1).sum())
        raise BadInputError(f"y is NaN or infinite in {bad} of {len(arrays)} rows.", "drop the rows without an answer.")
    if arrays.x.dtype.kind != "f":
        return
    holes = ~np.isfinite(arrays.x)
    if not holes.any():
        return
    rows = int(holes.reshape(len(arrays), -1).any(axis=1).sum())
    columns = np.flatnonzero(holes.any(axis=0)) if arrays.x.ndim == 2 else np.empty(0, dtype=int)
    where = f"column{'s' * (len(columns) != 1)} {_list(columns)} of x" if len(columns) else "x"
    raise BadInputError(
        f"There is NaN or infinity in {where}, in {rows} of {len(arrays)} rows.",
        "pull the clean lever, or fill or drop them before.",
    )


def shared_rows(one: Arrays, other: Arrays) -> int:
    """How many rows of `other` occur bit for bit in `one`: a leak, if the parts came from different files."""
    return shared(row_names(one.x), row_names(other.x))


def _codes(n: int, classes: NDArray[Any] | None) -> tuple[NDArray[Any] | None, NDArray[np.intp]]:
    if classes is None:
        return None, np.zeros(n, dtype=np.intp)
    names, codes = np.unique(classes, return_inverse=True)
    return names, codes


def _deal_rows(
    codes: NDArray[np.intp], names: NDArray[Any] | None, shares: NDArray[Any], generator: np.random.Generator
) -> NDArray[np.intp]:
    """Deal class by class; what rounding owes one part is carried on, so totals stay within a row of their share."""
    part = np.empty(len(codes), dtype=np.intp)
    owed = np.zeros(len(shares))
    for code in range(codes.max() + 1):
        rows = generator.permutation(np.flatnonzero(codes == code))
        if len(rows) < len(shares):
            raise _too_few(names, code, len(rows), len(shares))
        wanted = shares * len(rows) + owed
        counts = _whole(wanted, len(rows))
        owed = np.clip(wanted - counts, -1, 1)  # small classes must not be paid for by a large one
        part[rows] = np.repeat(np.arange(len(shares)), counts)
    return part


def _whole(wanted: NDArray[Any], total: int) -> NDArray[np.intp]:
    """Round to whole numbers of at least one that add up to `total`, by largest remainder."""
    counts: NDArray[np.intp] = np.maximum(1, np.floor(wanted)).astype(np.intp)
    while counts.sum() < total:
        counts[np.argmax(wanted - counts)] += 1
    while counts.sum() > total:
        counts[np.argmax(np.where(counts > 1, counts - wanted, -np.inf))] -= 1
    return counts


def _deal_groups(
    codes: NDArray[np.intp], group: NDArray[np.intp], shares: NDArray[Any], generator: np.random.Generator
) -> NDArray[np.intp]:
    """Deal whole groups, largest first, each where it brings the class counts nearest to their shares (chi-square)."""
    n_groups, n_classes = int(group.max()) + 1, int(codes.max()) + 1
    if n_groups < len(shares):
        raise BadInputError(
            f"{n_groups} groups cannot be dealt into {len(shares)} parts without straddling.",
            "give data of more groups, or coarser parts.",
        )
    table = np.bincount(group * n_classes + codes, minlength=n_groups * n_classes).reshape(n_groups, n_classes)
    want = np.outer(shares, table.sum(axis=0))
    short, home, empty = want.copy(), np.empty(n_groups, dtype=np.intp), np.ones(len(shares), dtype=bool)
    shuffled = generator.permutation(n_groups)
    order = shuffled[np.argsort(-table.sum(axis=1)[shuffled], kind="stable")]
    for left, number in zip(range(n_groups, 0, -1), order, strict=True):
        gain = ((2 * short - table[number]) * table[number] / want).sum(axis=1)
        home[number] = np.argmax(np.where(empty | (left > empty.sum()), gain, -np.inf))
        short[home[number]] -= table[number]
        empty[home[number]] = False
    return home[group]


def _check(
    part: NDArray[np.intp],
    codes: NDArray[np.intp],
    names: NDArray[Any] | None,
    groups: NDArray[Any] | None,
    n_parts: int,
) -> None:
    """Prove what was promised: every class in every part, no group in two; rows are disjoint by construction."""
    seen = np.zeros((codes.max() + 1, n_parts), dtype=bool)
    seen[codes, part] = True
    if not seen.all():
        code = int(np.argmin(seen.all(axis=1)))
        raise _too_few(
            names, code, len(np.unique(groups[codes == code])) if groups is not None else 0, n_parts, "group"
        )
    if groups is not None:
        homes = {(group, home) for group, home in zip(groups.tolist(), part.tolist(), strict=True)}
        if len(homes) != len({group for group, _ in homes}):
            raise AssertionError("a group straddles two parts")  # a defect here, not in the data


def _too_few(names: NDArray[Any] | None, code: int, n: int, n_parts: int, unit: str = "example") -> BadInputError:
    if names is None:
        return BadInputError(f"{n} {unit}s do not fill {n_parts} parts.", "give more data or fewer parts.")
    return BadInputError(
        f"Class {names[code]} has {n} {unit}{'s' * (n != 1)}, too few to be in each of {n_parts} parts.",
        f"add {unit}s of it, merge or drop the class, or split without stratifying (stratify=False).",
    )


def _list(columns: NDArray[Any]) -> str:
    more = f" and {len(columns) - _NAMED} more" if len(columns) > _NAMED else ""
    return ", ".join(map(str, columns[:_NAMED])) + more
