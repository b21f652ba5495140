"""Pack what workers that train together send each other; what that leaves out is sent the next time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.core import YES, Form, Lever, Stage, no
from pennyweight.errors import BadInputError
from pennyweight.train.distributed.join import check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_CHOICES = ("bf16", "int8", "int4", "powersgd:2+bf16", "topk:0.1+int8", "topk:0.1+onebit")


@final
@dataclass(frozen=True, slots=True)
class DistributedCompress(Lever):
    """Gradients, or the moves of a round, in fewer bits, fewer numbers or lower rank, with error feedback.

    `way` joins parts with "+": which numbers are sent, how each is written, whether the bytes are deflated.
    """

    way: str = "int8"

    stage: ClassVar[Stage] = Stage.TRAIN
    source: ClassVar[str] = (
        "Karimireddy et al. 2019, Error Feedback Fixes SignSGD (arXiv:1901.09847); Aji and Heafield 2017, Sparse "
        "Communication for Distributed Gradient Descent (arXiv:1704.05021); Vogels et al. 2019, PowerSGD "
        "(arXiv:1905.13727)"
    )
    trust: ClassVar[float] = 0.1

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Half the bits, a quarter, an eighth, two columns of each matrix, and the largest tenth in few bits."""
        yield from (each for each in map(cls, _CHOICES) if each.fits(job.spec))

    def fits(self, spec: Spec) -> Verdict:
        """Fits teams that tell each other float32, except through a server or in shards."""
        team = spec.train.team
        if spec.form is not Form.MODULE or team.workers < 2:
            return no("only one worker trains; give the training a team, with TeamSpec(workers=2)")
        if team.compress:
            return no(f"what is sent is packed already, as {team.compress}")
        if team.sync.partition(":")[0] in {"async", "shard"}:
            return no(f"gradients cannot be packed where workers agree by {team.sync}")
        try:
            check(self.rewrite(spec).train.team)
        except BadInputError as error:
            return no(f"this is no way to pack: {error.fix}")
        return YES if self.way else no("nothing would be packed; name a way, such as int8")

    def rewrite(self, spec: Spec) -> Spec:
        """Fewer bytes for what is sent."""
        train = spec.train
        return replace(spec, train=replace(train, team=replace(train.team, compress=self.way)))

    def pull(self, work: Work) -> Work:
        """Change the settings that training will follow."""
        return work.having(spec=self.rewrite(work.spec))
