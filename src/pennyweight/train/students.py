"""Students of another shape: fresh networks that a model factory offers besides the one it makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    Factory = Callable[[], nn.Module]


def offered(make_model: Any) -> dict[str, Factory]:
    """The factories of students by name: what `make_model.students` is, or gives when called; none if it has none.

    Raises `BadInputError` if that is no mapping of names to functions.
    """
    students = getattr(make_model, "students", {})
    students = students() if callable(students) else students
    is_mapping = isinstance(students, Mapping) and all(isinstance(name, str) and name for name in students)
    if not is_mapping or not all(map(callable, students.values())):
        raise BadInputError(
            f"The students of the model's factory are {str(students)[:60]!r}, no mapping of names to functions.",
            'let students give {"small": make_small}.',
        )
    return dict(students)


def fresh(make: Factory, seed: int, what: str = "make_model") -> nn.Module:
    """A network made by `make` under `seed`; raises `BadInputError` naming `what` if it makes something else."""
    import torch

    if isinstance(make, torch.nn.Module):
        raise BadInputError(
            f"{what} is a {type(make).__name__} itself, not a function that makes one.",
            "pass a function, so that every training begins with a fresh network.",
        )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = make()
    if not isinstance(model, torch.nn.Module):
        raise BadInputError(
            f"{what} gives a {type(model).__name__}, not a torch.nn.Module.",
            "pass a function that makes the module, such as the class itself.",
        )
    return model
