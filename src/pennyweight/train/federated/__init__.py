"""Training on data that stays where it is: each tenant in a process of its own, rounds of updates between them."""

from pennyweight.train.federated.privacy import Privacy
from pennyweight.train.federated.run import Aside, Federated, Round, run, run_among
from pennyweight.train.federated.spec import FederatedSpec

__all__ = ["Aside", "Federated", "FederatedSpec", "Privacy", "Round", "run", "run_among"]
