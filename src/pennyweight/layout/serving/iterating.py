"""Every iteration of a server run one by one: slow, exact for what `layout.queueing` assumes, and its yardstick."""

from __future__ import annotations

import numpy as np

from pennyweight.layout.serving.queueing import Arrivals, Queued, Server

_LEAST = 1e-9


def simulate(arrivals: Arrivals, server: Server) -> Queued:
    """Run every iteration of every replica: requests join as there is room, in order, their prompts in chunks."""
    ttft_s, tpot_s = np.zeros(len(arrivals.at_s)), np.zeros(len(arrivals.at_s))
    busy_s, end_s = 0.0, 0.0
    for replica in range(server.replicas):
        mine = np.arange(replica, len(arrivals.at_s), server.replicas)
        done = _Replica(server, *(each[mine].tolist() for each in (arrivals.at_s, arrivals.prompt, arrivals.output)))
        first, last = done.run()
        ttft_s[mine] = np.array(first) - arrivals.at_s[mine] + server.fixed_s
        tpot_s[mine] = (np.array(last) - np.array(first)) / np.maximum(arrivals.output[mine] - 1, 1)
        busy_s, end_s = busy_s + done.busy_s, max(end_s, *last)
    seconds = max(end_s - float(arrivals.at_s[0]), _LEAST)
    return Queued(ttft_s, tpot_s, busy_s / seconds / server.replicas, seconds)


class _Replica:
    """One server, iteration by iteration."""

    def __init__(self, server: Server, at_s: list[float], prompt: list[float], output: list[float]) -> None:
        self.server, self.at_s, self.output = server, at_s, output
        self.left = list(prompt)  # prompt tokens not yet seen
        self.first = [0.0] * len(at_s)
        self.last = [0.0] * len(at_s)
        self.running: dict[int, float] = {}
        self.joining: list[int] = []
        self.busy_s = 0.0

    def run(self) -> tuple[list[float], list[float]]:
        """When the first and the last token of each request came."""
        now, coming = 0.0, 0
        while coming < len(self.at_s) or self.running or self.joining:
            if not self.running and not self.joining:
                now = max(now, self.at_s[coming])
            while coming < len(self.at_s) and self.at_s[coming] <= now and self._room():
                self.joining.append(coming)
                coming += 1
            now = self._iterate(now)
        return self.first, self.last

    def _room(self) -> bool:
        return len(self.running) + len(self.joining) < self.server.most

    def _iterate(self, now: float) -> float:
        """One iteration: a chunk of prompts, and a token for every running request."""
        chunk, done = float(self.server.chunk), []
        for request in self.joining:
            taken = min(self.left[request], chunk)
            self.left[request] -= taken
            chunk -= taken
            if self.left[request] <= 0:
                done.append(request)
            if chunk <= 0:
                break
        prompts = self.server.chunk - chunk
        beside = len(self.running) + len(done)
        seconds = self.server.step_s + self.server.request_s * beside + prompts * self.server.prompt_token_s
        now += seconds
        self.busy_s += seconds
        self._advance(now)
        for request in done:
            self.joining.remove(request)
            self.first[request] = self.last[request] = now
            if self.output[request] > 1:
                self.running[request] = self.output[request] - 1
        return now

    def _advance(self, now: float) -> None:
        for request in list(self.running):
            self.running[request] -= 1
            if self.running[request] <= 0:
                del self.running[request]
                self.last[request] = now
