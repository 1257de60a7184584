"""The server process: `python -m training.federated.server FOLDER`.

    FOLDER/recipe.toml          what is trained, and how
    FOLDER/weights.safetensors  the weights before the first round
    FOLDER/server.pem, key.pem  its certificate and key
    FOLDER/clients/NN.pem       the public key of each client
    FOLDER/fit.safetensors      rows of the server's own, for the rule `lowest-loss` alone
    FOLDER/address.json         where it listens, once it does
    FOLDER/rounds/NNN.safetensors, NNN.json   weights after each round, and who was summed with whom
    FOLDER/refused.json         why it ended, if it failed
    FOLDER/entry.json           instead of clients/, where clients enrol (`http_requests`)
    FOLDER/enrolled.json        who has

1. Connected clients are drawn into groups of three or more, with the system's entropy.
2. Each group runs its own SecAgg+ workflow of Flower, all at once. The result is the mean of the
   group's updates; the update of a single client is never in this process.
3. A rule over the groups' means moves the weights.
4. If too few groups answered, the round is repeated with those that did; if there are too few of
   them, the run ends.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from flwr.app import ConfigRecord, Context, RecordDict
from flwr.common import FitIns, Parameters, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.compat.common.recorddict_compat import parameters_to_arrayrecord
from flwr.server import LegacyContext, SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import Strategy
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.supercore.app_utils import start_parent_process_monitor
from safetensors.numpy import load_file

from sealgate.reasons import Reason, SealgateError
from training.data import Weights, read_weights, write_weights, write_whole
from training.federated.aggregation import Vector, draw_groups, join
from training.federated.enrolment import weights_digest
from training.federated.flower_fleet import FleetGrid, FlowerFleet
from training.federated.http_requests import ENROLLED, ENTRY, EntryTerms, RemoteClients
from training.federated.launch import TRIED
from training.recipe.federated import (
    LOWEST,
    MODULUS,
    QUANTA,
    TRIES,
    FederatedRecipe,
    FederatedSection,
)

LOOPBACK = "127.0.0.1"
# The largest request brings a masked vector, eight bytes a weight.
_LEAST_BODY, _A_WEIGHT = 1 << 20, 16
_ARRIVAL = 300.0
_PAUSE = 0.1
Groups = tuple[tuple[int, ...], ...]


class _Asked(Strategy):
    """Flower's strategy for one group: whom to ask, and the resulting sum."""

    def __init__(self, told: Parameters, proxies: Sequence[GridClientProxy]) -> None:
        self._told, self._proxies = told, proxies
        self.mean: Vector | None = None

    def configure_fit(self, server_round: int, *_: Any) -> list[tuple[GridClientProxy, FitIns]]:
        told = FitIns(self._told, {"round": server_round})
        return [(proxy, told) for proxy in self._proxies]

    def aggregate_fit(self, _: int, results: Any, failures: Any) -> tuple[None, dict]:
        # The workflow gives every client the same parameters here: the mean of all of them.
        if results and not failures:
            (self.mean,) = parameters_to_ndarrays(results[0][1].parameters)
        return None, {}

    def initialize_parameters(self, client_manager: Any) -> None:
        return None

    def configure_evaluate(self, *_: Any, **__: Any) -> list:
        return []

    def aggregate_evaluate(self, *_: Any, **__: Any) -> tuple[None, dict]:
        return None, {}

    def evaluate(self, *_: Any, **__: Any) -> None:
        return None


class FlowerLinks(Protocol):
    """The part of `training.federated.flower_fleet.FleetGrid` that rounds use."""

    silent: set[int]

    @property
    def run(self) -> Any: ...

    def get_node_ids(self) -> Iterable[int]: ...


class FederatedRounds:
    """Moves the weights round by round; `numbers` are those that the clients go by, and `loss`
    tells what weights come to, for the rule `lowest-loss`.
    """

    def __init__(
        self,
        asked: FederatedSection,
        weights: Weights,
        grid: FlowerLinks,
        numbers: Sequence[int],
        loss: Callable[[Vector], float] = lambda _: 0.0,
    ) -> None:
        self._asked, self._grid, self._loss = asked, grid, loss
        self._numbers = tuple(numbers)
        self._draws = random.SystemRandom()
        self.weights = weights

    def follow(self, number: int) -> dict[str, Any]:
        """One round; returns which clients, by place, were summed together, which groups broke, and
        how often it was tried.

        Raises SealgateError(CLIENTS_TOO_FEW).
        """
        broken: list[tuple[int, ...]] = []
        for tries in range(1, TRIES + 1):
            # 1.
            groups = self._draw()
            # 2.
            with ThreadPoolExecutor(len(groups)) as threads:
                means = list(threads.map(lambda group: self._sum(number, group), groups))
            broken += [group for group, mean in zip(groups, means, strict=True) if mean is None]
            found = [mean for mean in means if mean is not None]
            if len(found) < self._asked.least_groups:
                # 4.
                continue
            # 3.
            moves = join(
                self._asked.rule, found, self._asked.trim, lambda to: self._loss(self.weights + to)
            )
            self.weights = (self.weights + moves).astype(np.float32)
            summed = [group for group, mean in zip(groups, means, strict=True) if mean is not None]
            groups_told = {"groups": self._places(summed), "broken": self._places(broken)}
            return {"round": number, **groups_told, "tries": tries}
        raise SealgateError(Reason.CLIENTS_TOO_FEW, f"round {number}: {self._places(broken)} broke")

    def wait(self) -> None:
        """Until all clients are there; after five minutes, without those that are not."""
        ends = time.monotonic() + max(self._asked.patience, _ARRIVAL)
        while set(self._numbers) - set(self._grid.get_node_ids()) and time.monotonic() < ends:
            time.sleep(_PAUSE)

    def _draw(self) -> Groups:
        there = set(self._grid.get_node_ids()) - self._grid.silent
        present = [number for number in self._numbers if number in there]
        if len(present) < self._asked.least_groups * self._asked.group:
            raise SealgateError(
                Reason.CLIENTS_TOO_FEW, f"{len(present)} of {len(self._numbers)} clients answer"
            )
        return draw_groups(present, self._asked.group, self._draws)

    def _sum(self, number: int, group: tuple[int, ...]) -> Vector | None:
        """The mean of the group's updates; None where the sum did not come about."""
        run = self._grid.run.run_id
        told = ndarrays_to_parameters([self.weights])
        strategy = _Asked(told, [GridClientProxy(one, self._grid, run) for one in group])
        context = LegacyContext(
            Context(run, 1, {}, RecordDict(), {}),
            strategy=strategy,
            client_manager=SimpleClientManager(),
        )
        context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord(
            {Key.CURRENT_ROUND: number}
        )
        context.state.array_records[MAIN_PARAMS_RECORD] = parameters_to_arrayrecord(told, True)
        workflow = SecAggPlusWorkflow(
            # All of the group, or nothing: see `training.federated.client_process`.
            num_shares=1.0,
            reconstruction_threshold=1.0,
            max_weight=1.0,
            clipping_range=self._asked.clip,
            quantization_range=QUANTA,
            modulus_range=MODULUS,
            timeout=self._asked.patience,
        )
        try:
            workflow(self._grid, context)
        except Exception as error:
            # Flower's code, on what a client may have made up.
            print(f"{self._places([group])}: {error!r}", file=sys.stderr, flush=True)
            return None
        mean = strategy.mean
        if mean is None or mean.shape != self.weights.shape or not np.isfinite(mean).all():
            return None
        return mean

    def _places(self, groups: Sequence[tuple[int, ...]]) -> list[list[int]]:
        return [sorted(self._numbers.index(number) for number in group) for group in groups]


def serve(folder: Path) -> None:
    """All rounds of the recipe in `folder`. Raises CLIENTS_TOO_FEW, STORAGE_FULL."""
    recipe = FederatedRecipe.read(folder / "recipe.toml")
    asked, loss = recipe.federated, _loss(folder, recipe)
    weights = read_weights(folder / "weights.safetensors")
    keys = [path.read_bytes() for path in sorted((folder / "clients").glob("*.pem"))]
    fleet = FlowerFleet(keys, _LEAST_BODY + _A_WEIGHT * weights.size, asked.clients)
    own = folder / "server.pem", folder / "key.pem"
    place, grid = folder / "address.json", FleetGrid(fleet)
    if not (folder / ENTRY).exists():
        with fleet.serve(LOOPBACK, *own) as address:
            write_whole(place, json.dumps({"address": address}).encode())
            rounds = FederatedRounds(asked, weights, grid, fleet.numbers, loss)
            _follow(folder, asked, rounds)
        return
    terms = EntryTerms.read(folder / ENTRY)
    clients = RemoteClients(terms, fleet.admit, folder / ENROLLED)
    with fleet.serve(terms.host, *own, terms.port, clients.routes()) as address:
        write_whole(place, json.dumps({"address": address}).encode())
        clients.wait()
        rounds = FederatedRounds(asked, weights, grid, fleet.numbers, loss)
        with clients.informing(lambda: weights_digest(rounds.weights), lambda: len(grid.silent)):
            _follow(folder, asked, rounds, clients.begin)


def _loss(folder: Path, recipe: FederatedRecipe) -> Callable[[Vector], float]:
    """The loss of weights on the server's own rows, for the rule that asks for it."""
    if recipe.federated.rule != LOWEST:
        return lambda _: 0.0
    # Torch takes seconds to import.
    from training.federated.shards import Shard, TrialLoss

    tensors = load_file(folder / TRIED)
    rows = Shard(tensors["x"], tensors["y"], 0)
    return TrialLoss(recipe, rows, int(tensors["classes"][0]))


def _follow(
    folder: Path,
    asked: FederatedSection,
    rounds: FederatedRounds,
    begin: Callable[[int], None] = lambda _: None,
) -> None:
    rounds.wait()
    for number in range(1, asked.rounds + 1):
        begin(number)
        told = rounds.follow(number)
        write_weights(folder / "rounds" / f"{number:03d}.safetensors", rounds.weights)
        write_whole(folder / "rounds" / f"{number:03d}.json", json.dumps(told).encode())


def main(folder: Path) -> None:
    """`serve`, with a refusal left in the folder for who started this process, and no longer than
    that one lives.
    """
    start_parent_process_monitor(os.getppid())
    try:
        serve(folder)
    except SealgateError as refusal:
        told = {"reason": refusal.reason.name, "detail": refusal.detail}
        write_whole(folder / "refused.json", json.dumps(told).encode())
        sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
