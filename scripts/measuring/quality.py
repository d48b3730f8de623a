"""Whether many leaves of a tree at a time search as well as one by one, with a run's trained network.

The reference is the same search with one leaf of a tree at a time, in float32. It differs from itself when it draws
other worlds: that distance, seed to seed, is the yardstick. One row is of the network in bfloat16, with which self-play
searches wherever that is faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.agent import network_player
from inference.errors import NonFiniteOutput
from inference.local import LocalEvaluator
from inference.model import Model
from scoundrel_ray import rng
from scoundrel_ray.evaluation.deals import differences, scores_of_seats
from scoundrel_ray.evaluation.intervals import Estimate, mean
from scoundrel_ray.evaluation.match import play_games
from scoundrel_ray.evaluator import Evaluation, Evaluator
from scoundrel_ray.experience.lockstep import play_moves
from scoundrel_ray.experience.selfplay import SelfPlaySource
from scoundrel_ray.game import OVER, Game
from scoundrel_ray.network import load, make_network
from scoundrel_ray.players import SearchPlayer
from scoundrel_ray.runs.directory import run_and_agent, saved_config, trained_weights
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.spec import random_observations
from scoundrel_ray.storage.weights import SavedWeights
from scripts.measuring.figures import Figure

_POSITIONS = 500
_DEALS = 400
_SEED = 3_000_017
_SLACK = 0.02
_CACHED_ROWS = 10_000
_VARIANTS = [(leaves, loss) for leaves in (2, 4, 8) for loss in (0.0, 1.0)]


def quality_figures(checkpoint: str, search: Mapping[str, Any]) -> list[Figure]:
    """Figures of every number of leaves, with virtual visits alone (virtual loss 0) and with virtual losses; then of
    bfloat16, and of what an evaluation cache would know.

    Args:
        checkpoint: directory of the run whose network is searched with.
        search: section of the search.
    """
    path, agent = run_and_agent(checkpoint)
    game = build("game", saved_config(path)["game"], Game)
    weights = trained_weights(path, game.spec, agent)
    noise = {name: 0.0 for name in ("noise_share", "noise_scale") if name in search}
    search = {**search, **noise}

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
                    f"by one, {_DEALS} deals, mean and 95 % interval {ahead.signed()}; its upper end",
                    ahead.high,
                    "points",
                    wanted=0.0,
                    details={"mean": ahead.value, "lower end": ahead.low},
                )
            )
    half = model_of(game, weights, "bfloat16")
    if works(half, game):
        one_by_one = build("search", {**search, "leaves": 1}, SearchConfig)
        asked = SearchPlayer(game, one_by_one, LocalEvaluator(half), _POSITIONS)
        same, other = (1.0 - distance(reference, policies(asked, states, seed)) for seed in (0, 1))
        figures.append(
            Figure(
                f"{game.name}, one by one, bfloat16 beside float32: policy",
                same,
                "1 - total variation from float32",
                "one by one in float32, another seed",
                1.0 - again,
                wanted=1.0 - again - _SLACK,
                details={"with another seed": other},
            )
        )
    return [*figures, *repeated(game, model_of(game, weights, "float32"), search)]


def works(model: Model, game: Game) -> bool:
    """Whether the device can evaluate in the model's precision."""
    try:
        model.evaluate(random_observations(game.spec, 1))
    except NonFiniteOutput:
        raise
    except RuntimeError:
        return False
    return True


class Remembering:
    """An evaluator that counts leaves that it could have remembered.

    Args:
        evaluator: that answers.

    Attributes:
        asked: leaves.
        within: those that repeat another of the same message.
        earlier: those, the first of their kind in their message, that repeat one of an earlier message.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._seen: set[bytes] = set()
        self.asked = self.within = self.earlier = 0

    def submit(self, observations: np.ndarray) -> Any:
        """As of the evaluator."""
        rows = {row.tobytes() for row in observations}
        self.asked += len(observations)
        self.within += len(observations) - len(rows)
        self.earlier += len(rows & self._seen)
        self._seen |= rows
        return self._evaluator.submit(observations)

    def collect(self, ticket: Any) -> Evaluation:
        """As of the evaluator."""
        return self._evaluator.collect(ticket)


def repeated(game: Game, model: Model, search: dict[str, Any]) -> list[Figure]:
    """What an evaluation cache of any size could save in self-play with one version of the weights: within a message,
    for which nothing need be kept, and beyond it.
    """
    evaluator = Remembering(LocalEvaluator(model))
    source = SelfPlaySource(game.section, search, {"games": 256})
    worker = source.collector({"agent": source.role}, {"agent": evaluator}, _SEED, (0, 0))
    worker.play(rows=_CACHED_ROWS, seconds=1000.0)
    worker.close()
    counts = {"another of the same message": evaluator.within, "one of an earlier message": evaluator.earlier}
    return [
        Figure(
            f"{game.name}, self-play of {_CACHED_ROWS} decisions, the same weights: leaves that repeat {what}",
            count / max(evaluator.asked, 1),
            "of all",
        )
        for what, count in counts.items()
    ]


def model_of(game: Game, weights: SavedWeights, precision: str) -> Model:
    """A run's network."""
    network = make_network(weights.network, game.spec)
    load(network, weights.arrays)
    return Model(network, precision=precision)


def positions(game: Game, player: SearchPlayer) -> np.ndarray:
    """Decisions drawn from games of the player with itself: [_POSITIONS, S]."""
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
