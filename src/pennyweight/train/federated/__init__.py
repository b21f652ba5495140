"""Training on data that stays where it is: each tenant in a process of its own, rounds of updates between them."""

from pennyweight.train.federated.outcome import Federated, Round
from pennyweight.train.federated.run import Aside, run, run_among
from pennyweight.train.federated.spec import FederatedSpec, Privacy

__all__ = ["Aside", "Federated", "FederatedSpec", "Privacy", "Round", "run", "run_among"]
