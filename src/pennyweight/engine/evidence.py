"""What the runs of a search answer: on the select split as often as wanted, on the certify split only when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.core import Run
    from pennyweight.data.splits import Arrays
    from pennyweight.engine.engine import Engine


@final
class Evidence:
    """The outcomes that certification asks for; every answer is computed once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        splits = engine.job.material.splits
        self._select, self._certify = splits.select, splits.certify
        self._known: dict[tuple[str, str], NDArray[Any]] = {}

    @property
    def y_select(self) -> NDArray[Any]:
        """True answers of the select split."""
        y: NDArray[Any] = self._select.y
        return y

    @property
    def y_certify(self) -> NDArray[Any]:
        """True answers of the certify split."""
        y: NDArray[Any] = self._certify.y
        return y

    @property
    def groups_select(self) -> NDArray[Any] | None:
        """Groups of the select split."""
        groups: NDArray[Any] | None = self._select.groups
        return groups

    @property
    def groups_certify(self) -> NDArray[Any] | None:
        """Groups of the certify split."""
        groups: NDArray[Any] | None = self._certify.groups
        return groups

    def seen(self, run: Run) -> NDArray[Any]:
        """What the run answers on the select split."""
        return self._answer("select", run, self._select)

    def fresh(self, run: Run) -> NDArray[Any]:
        """What the run answers on the certify split."""
        return self._answer("certify", run, self._certify)

    def _answer(self, split: str, run: Run, rows: Arrays) -> NDArray[Any]:
        key = (split, run.artifact)
        if key not in self._known:
            self._known[key] = self._engine.answers(run, rows)
        return self._known[key]
