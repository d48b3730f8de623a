"""Suite "quality": whether many leaves of a tree at a time search as well as one by one, with a run's trained network.

    python -m scripts.benchmark suite=quality checkpoint=runs/... search=puct search.worlds=3 search.simulations=30

The reference is the same search with one leaf of a tree at a time. It differs from itself when it draws other worlds:
that distance, seed to seed, is the yardstick.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inference.agent import network_player
from inference.local import LocalEvaluator
from inference.model import Model
from scoundrel_ray import rng
from scoundrel_ray.checkpoint import SavedWeights
from scoundrel_ray.checks import InvalidConfig
from scoundrel_ray.config import build
from scoundrel_ray.evaluation.deals import differences, scores_of_seats
from scoundrel_ray.evaluation.intervals import Estimate, mean
from scoundrel_ray.evaluation.match import play_games
from scoundrel_ray.evaluator import Evaluation, Evaluator
from scoundrel_ray.game import OVER, Game
from scoundrel_ray.network import load, make_network
from scoundrel_ray.players import SearchPlayer
from scoundrel_ray.rollout import Rollout, RolloutConfig, play_moves
from scoundrel_ray.run_directory import saved_config, trained_weights
from scoundrel_ray.search import SearchConfig
from scripts.benchmarks.figures import Figure

_POSITIONS = 500
_DEALS = 100
_SEED = 3_000_017
_SLACK = 0.02
_CACHED_ROWS = 10_000
_VARIANTS = [(leaves, loss) for leaves in (2, 4, 8) for loss in (0.0, 1.0)]


def run(config: dict[str, Any]) -> list[Figure]:
    """Every number of leaves, with virtual visits alone (virtual loss 0) and with virtual losses."""
    if config["checkpoint"] is None:
        raise InvalidConfig("checkpoint: got null, wanted a run directory, whose network is searched with")
    path = Path(config["checkpoint"])
    saved = saved_config(path)
    game = build("game", saved["game"], Game)
    weights = trained_weights(path, game)
    search = {**config["search"], "noise_share": 0.0}

    def player(**settings: Any) -> SearchPlayer:
        return network_player(game, weights.network, {**search, **settings}, weights.arrays, _POSITIONS)

    states = positions(game, player())
    reference = policies(player(leaves=1), states, 0)
    again = distance(reference, policies(player(leaves=1), states, 1))
    figures = []
    for leaves, loss in _VARIANTS:
        settings = {"leaves": leaves, "virtual_loss": loss}
        found = distance(reference, policies(player(**settings), states, 1))
        figures.append(
            Figure(
                f"{game.name}, {leaves} leaves a tree and step, virtual loss {loss:g}: policy",
                1.0 - found,
                "1 - total variation from one by one",
                "one by one, another seed",
                1.0 - again,
                wanted=1.0 - again - _SLACK,
            )
        )
        if game.seats > 1:
            ahead = played(game, player(**settings), player(leaves=1))
            figures.append(
                Figure(
                    f"{game.name}, {leaves} leaves a tree and step, virtual loss {loss:g}: points a game ahead of one "
                    f"by one, {_DEALS} deals, 95 % interval [{ahead.low:.2f}, {ahead.high:.2f}], upper end",
                    ahead.high,
                    "points",
                    wanted=0.0,
                    details={"mean": ahead.value},
                )
            )
    return [*figures, repeated(game, model_of(game, weights), search)]


class Remembering:
    """An evaluator that counts the leaves that it was asked before."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._seen: set[bytes] = set()
        self.asked = 0

    def submit(self, observations: np.ndarray) -> Any:
        """As of the evaluator."""
        self._seen.update(row.tobytes() for row in observations)
        self.asked += len(observations)
        return self._evaluator.submit(observations)

    def collect(self, ticket: Any) -> Evaluation:
        """As of the evaluator."""
        return self._evaluator.collect(ticket)

    @property
    def repeated(self) -> float:
        """Share of leaves that a cache of any size, emptied with each version of the weights, would have known."""
        return 1.0 - len(self._seen) / max(self.asked, 1)


def repeated(game: Game, model: Model, search: dict[str, Any]) -> Figure:
    """What an evaluation cache could save in self-play with one version of the weights."""
    evaluator = Remembering(LocalEvaluator(model))
    rollout = Rollout(game, build("search", search, SearchConfig), RolloutConfig(games=256), evaluator, (_SEED,))
    rollout.play(rows=_CACHED_ROWS, seconds=1000.0)
    rollout.close()
    return Figure(
        f"{game.name}, self-play of {_CACHED_ROWS} decisions: leaves that an unlimited evaluation cache would know",
        evaluator.repeated,
        "of all",
    )


def model_of(game: Game, weights: SavedWeights) -> Model:
    """A run's network, in float32."""
    network = make_network(weights.network, game)
    load(network, weights.arrays)
    return Model(network, precision="float32")


def positions(game: Game, player: SearchPlayer) -> np.ndarray:
    """Decisions drawn from games of the player with itself: [500, S]."""
    found: list[np.ndarray] = []
    count = _POSITIONS // 4
    states = np.stack([game.deal(rng.stream(_SEED, i)) for i in range(count)])
    streams = rng.streams(count, _SEED, 1)
    going, actions = np.arange(count), np.full(count, -1, dtype=np.int16)
    while len(going):
        seats = np.empty(len(going), dtype=np.int64)
        play_moves.launch(game.rules, states, going, actions, game.max_steps, seats)
        going = going[seats != OVER]
        found.extend(states[going])
        own = streams[going]
        actions = player.choose(states[going], own) if len(going) else actions[:0]
        streams[going] = own
    chosen = np.random.default_rng(_SEED).choice(len(found), _POSITIONS, replace=len(found) < _POSITIONS)
    return np.stack([found[i] for i in chosen])


def policies(player: SearchPlayer, states: np.ndarray, seed: int) -> np.ndarray:
    """What the searches recommend: [n, M] float32."""
    return player.decide(states, rng.streams(len(states), _SEED, 2, seed)).policy


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Mean total-variation distance of policies."""
    return float(np.abs(first - second).sum(axis=1).mean() / 2)


def played(game: Game, player: SearchPlayer, opponent: SearchPlayer) -> Estimate:
    """Points a game by which the first is ahead among copies of the second, deal by deal."""
    named: Mapping[str, Any] = {"variant": player, "reference": opponent}
    records = play_games(game, named, _SEED, 0, _DEALS * game.seats)
    return mean(differences(scores_of_seats(game, records).reshape(_DEALS, game.seats, game.seats)))
