"""Flower's own rules on cuts that it is given, in an environment of its own; run by bench.federated, not by hand.

Flower's strategy does the rounds and its messages are serialised as its transport would; the clients train one after
another in this process, by the plain PyTorch loop of Flower's tutorial.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.serde import message_to_proto
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx
from flwr.supercore.task_identity import TaskIdentity

if TYPE_CHECKING:
    from collections.abc import Iterable


def main() -> None:
    logging.getLogger("flwr").setLevel(logging.ERROR)
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # as a server that Flower starts has
    torch.set_num_threads(1)
    orders = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps([course(order) for order in orders]), encoding="utf-8")


def course(order: dict[str, Any]) -> list[dict[str, float]]:
    """The accuracy after each round of one order, and all bytes up to there."""
    torch.manual_seed(order["seed"])
    data = np.load(order["data"])
    grid, told = Here(data, order), []
    held = torch.from_numpy(data["held_x"]), torch.from_numpy(data["held_y"])

    def evaluate(_number: int, arrays: ArrayRecord) -> MetricRecord:
        model = network(arrays)
        with torch.no_grad():
            right = float((model(held[0]).argmax(1) == held[1]).double().mean())
        told.append({"quality": right, "byte": grid.byte})
        return MetricRecord({"accuracy": right})

    start = network()
    with torch.no_grad():
        start.weight.copy_(torch.from_numpy(data["weight"]))
        start.bias.copy_(torch.from_numpy(data["bias"]))
    strategy(order).start(grid, ArrayRecord(start.state_dict()), num_rounds=order["rounds"], evaluate_fn=evaluate)
    return told[1:]  # the first is before any round


def strategy(order: dict[str, Any]) -> Any:
    """Flower's own, asking everybody."""
    everybody = {"fraction_train": 1.0, "fraction_evaluate": 0.0, "min_available_nodes": 2}
    kinds: dict[str, Any] = {
        "fedavg": lambda: FedAvg(**everybody),
        "fedavgm": lambda: FedAvgM(**everybody, server_momentum=order["mu"]),
        "fedprox": lambda: FedProx(**everybody, proximal_mu=order["mu"]),
        "fedadam": lambda: FedAdam(**everybody, eta=order["mu"], tau=1e-3),
    }
    return kinds[order["rule"]]()


def network(arrays: ArrayRecord | None = None) -> torch.nn.Linear:
    model = torch.nn.Linear(64, 10)
    if arrays is not None:
        model.load_state_dict(arrays.to_torch_state_dict())
    return model


class Here(Grid):
    """A grid of clients in this process that counts the bytes of all messages as Flower serialises them."""

    def __init__(self, data: Any, order: dict[str, Any]) -> None:
        self._data, self._order = data, order
        self.byte = 0

    def set_run(self, run: Any) -> None:
        """Nothing: there is one run."""

    @property
    def run(self) -> Any:
        """There is one run."""
        return None

    def create_message(self, content: Any, message_type: str, dst_node_id: int, group_id: str, ttl: Any = None) -> Any:
        """A message as Flower makes it."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All clients, from 1."""
        return range(1, self._order["clients"] + 1)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Not used by the strategy."""
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Not used by the strategy."""
        raise NotImplementedError

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Every client's answer."""
        del timeout
        answers = []
        for message in messages:
            content = self._trained(message.metadata.dst_node_id - 1, message.content)
            answer = Message(content, reply_to=message)
            self.byte += sum(len(message_to_proto(each).SerializeToString()) for each in (message, answer))
            answers.append(answer)
        return answers

    def _trained(self, client: int, content: RecordDict) -> RecordDict:
        x, y = (torch.from_numpy(self._data[f"{name}_{client}"]) for name in ("x", "y"))
        config = content.config_records.get("config", ConfigRecord())
        model = network(content.array_records["arrays"])
        start = [each.detach().clone() for each in model.parameters()]
        rule = torch.optim.SGD(model.parameters(), lr=self._order["lr"])
        total = 0.0
        for _ in range(self._order["epochs"]):
            for rows in torch.randperm(len(y)).split(self._order["batch"]):
                rule.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
                total = float(loss.detach())
                near = sum((a - b).square().sum() for a, b in zip(model.parameters(), start, strict=True))
                (loss + float(config.get("proximal-mu", 0.0)) / 2 * near).backward()
                rule.step()
        metrics = MetricRecord({"train_loss": total, "num-examples": len(y)})
        return RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})


if __name__ == "__main__":
    main()
