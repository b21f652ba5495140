"""The privacy budget: how much noise it asks for, what has been spent of it, when it would be exceeded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import BadInputError, MissingExtraError

if TYPE_CHECKING:
    from pennyweight.train.federated.spec import Privacy

_MARGIN = 1e-9


@final
class Budget:
    """What `steps` looks at a sample, each row in it with the chance `share`, may expose in all.

    Opacus' accountant of Rényi differential privacy adds them up (Mironov 2017; Mironov, Talwar and Zhang 2019).
    Raises `MissingExtraError` without Opacus.
    """

    def __init__(self, privacy: Privacy, share: float, steps: int) -> None:
        self.privacy, self._share = privacy, min(1.0, share)
        try:
            from opacus.accountants import RDPAccountant
            from opacus.accountants.utils import get_noise_multiplier
        except ImportError as error:
            raise MissingExtraError.of("Opacus", "privacy") from error
        self._make = RDPAccountant
        self._steps = 0
        self.noise = privacy.noise or _least(get_noise_multiplier, privacy, self._share, steps)

    def after(self, more: int = 0) -> float:
        """The epsilon spent, if there were so many more steps."""
        steps = self._steps + more
        if not steps:
            return 0.0
        accountant: Any = self._make()
        accountant.history = [(self.noise, self._share, steps)]
        return float(_quietly(lambda: accountant.get_epsilon(delta=self.privacy.delta)))

    def allows(self, steps: int = 1) -> bool:
        """Whether so many more steps keep within the budget."""
        return self.after(steps) <= self.privacy.epsilon * (1 + _MARGIN)

    def spend(self, steps: int = 1) -> None:
        """Say that so many steps were made."""
        self._steps += steps


def _least(search: Any, privacy: Privacy, share: float, steps: int) -> float:
    wanted = {"target_epsilon": privacy.epsilon, "target_delta": privacy.delta, "sample_rate": share, "steps": steps}
    try:
        return float(_quietly(lambda: search(**wanted, accountant="rdp", epsilon_tolerance=privacy.epsilon * 1e-3)))
    except ValueError as error:
        raise BadInputError(
            f"No noise keeps {steps} steps within epsilon {privacy.epsilon:g}.", "use fewer rounds or more epsilon."
        ) from error


def _quietly(work: Any) -> Any:
    """Opacus warns when the best order is the last it tries, which makes epsilon larger than it is, not wrong."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return work()
