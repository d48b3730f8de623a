"""Suite "signature": one hash for every game with every search, for self-play and for training in turn.

A change that is to alter no result leaves all of them equal; one that does alter results says which, and the new ones,
in its commit. Hashes are of all bits, so they are compared on one machine: another processor rounds otherwise.

Positions are fixed, and the evaluator is arithmetic on what is observed, so no network's rounding takes part in the
searches. Self-play and training in turn use one process, one thread and fixed numbers of rows.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.evaluator import Evaluation, Evaluator
from scoundrel_ray.experience.lockstep import play_moves
from scoundrel_ray.experience.replay import UniformReplay
from scoundrel_ray.experience.selfplay import SelfPlay, SelfPlaySource
from scoundrel_ray.game import Game
from scoundrel_ray.search import Search, SearchConfig
from scoundrel_ray.searches.gumbel import Gumbel
from scoundrel_ray.searches.puct import Puct
from scoundrel_ray.searches.uct import Uct
from scoundrel_ray.settings.build import build
from scoundrel_ray.streams import Purpose
from scripts.measuring.figures import Signatures

_POSITIONS = 8  # of a game, some deals deep
_SEED = 7
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

_TRAINED = "blob"
_GAMES: dict[str, dict[str, Any]] = {
    "scoundrel": {},
    "scoundrel, other rules": {"weapon_limit": "below", "avoided": "shuffled", "losing_score": "clamped"},
    "blob": {},
    "blob, a game for 3 to 5": {"players": [3, 4, 5], "cards": 3, "mode": "game"},
    "connect_four": {},
    "tic_tac_toe": {},
}
_SEARCHES: dict[str, SearchConfig] = {
    "uct, one tree": Uct(simulations=200, tree="shared"),
    "uct, three worlds, rules of thumb": Uct(simulations=60, tree="per_world", worlds=3, playouts="heuristic"),
    "uct, four at a time": Uct(simulations=200, tree="shared", leaves=4),
    "uct, reuse": Uct(simulations=100, tree="shared", reuse=True),
    "puct, one tree": Puct(simulations=48, tree="shared"),
    "puct, three worlds, four leaves": Puct(simulations=32, tree="per_world", worlds=3, leaves=4, virtual_loss=1.0),
    "puct, reuse": Puct(simulations=32, tree="shared", reuse=True),
    "gumbel, one tree": Gumbel(simulations=32, tree="shared"),
    "gumbel, three worlds, not rescaled": Gumbel(
        simulations=32, tree="per_world", worlds=3, rescale=False, value_scale=0.5
    ),
}


def run(settings: Mapping[str, Any]) -> Signatures:
    """A hash for every case, and one of all."""
    hashes = {}
    for title, options in _GAMES.items():
        name = title.partition(",")[0]
        game = build("game", {"_target_": f"scoundrel_ray.games.{name}.make", **options}, Game)
        for search_title, search in _SEARCHES.items():
            hashes[f"{title}: {search_title}"] = of_search(game, search)
        hashes[f"{title}: self-play"] = of_self_play(game)
    game = build("game", {"_target_": f"scoundrel_ray.games.{_TRAINED}.make"}, Game)
    hashes[f"{_TRAINED}: training in turn"] = of_training(game)
    whole = hashlib.sha256("".join(hashes.values()).encode()).hexdigest()[:16]
    return Signatures({**hashes, "all of these": whole})


class Arithmetic:
    """An evaluator whose answers are a function of each observation alone, exact on every machine.

    Args:
        game: whose observations are evaluated.
    """

    def __init__(self, game: Game) -> None:
        self._game = game

    def submit(self, observations: np.ndarray) -> Evaluation:
        """The answer itself: logits in [-2, 2) and values in [-1, 1), in steps of 1 / 64."""
        keys = np.zeros(len(observations), dtype=np.uint64)
        for column in observations.T:
            keys = (keys ^ column.astype(np.int64).view(np.uint64)) * _MULTIPLIER
            keys ^= keys >> np.uint64(29)
        outputs = self._game.actions + self._game.seats
        drawn = np.empty((len(observations), outputs), dtype=np.float32)
        for i in range(outputs):
            keys = (keys + np.uint64(i + 1)) * _MULTIPLIER
            keys ^= keys >> np.uint64(31)
            drawn[:, i] = (keys >> np.uint64(57)).astype(np.float32) / np.float32(64.0) - np.float32(1.0)
        return Evaluation((2 * drawn[:, : self._game.actions], drawn[:, self._game.actions :]), 1)

    def collect(self, ticket: Evaluation) -> Evaluation:
        """The ticket."""
        return ticket


def positions(game: Game) -> np.ndarray:
    """[_POSITIONS, S] decisions: row i is some i moves into a game, drawn uniformly."""
    states = []
    for i in range(_POSITIONS):
        dice = np.random.default_rng([_SEED, i])
        for attempt in itertools.count():
            state = game.deal(rng.stream(_SEED, i, attempt))[None].copy()
            seats = np.empty(1, dtype=np.int64)
            action = np.array([-1], dtype=np.int16)
            for _ in range(i + 1):
                play_moves(game.rules, state, np.zeros(1, dtype=np.int64), action, game.max_steps, seats)
                if seats[0] < 0:
                    break
                action = dice.choice(game.legal(state[0]), 1).astype(np.int16)
            if seats[0] >= 0:
                states.append(state[0])
                break
    return np.stack(states)


def of_search(game: Game, settings: SearchConfig) -> str:
    """Hash of two decisions in a row from every position, all searched side by side."""
    search, digest = Search(game, settings, _POSITIONS), hashlib.sha256()
    evaluator = Arithmetic(game)
    states, streams = positions(game), rng.streams(_POSITIONS, _SEED, 99)
    games = np.arange(_POSITIONS, dtype=np.int64)
    for _ in range(2):
        search.begin(games, states[games], streams[games].copy())
        search.run(lambda observations: evaluator.submit(observations).outputs)
        finished = search.finished()
        assert finished.tolist() == games.tolist()
        own = streams[games]
        decisions = search.decide(games, np.ones(len(games), dtype=np.float32), own)
        streams[games] = own
        for array in (*decisions, own):
            digest.update(np.ascontiguousarray(array).tobytes())
        seats = np.empty(len(games), dtype=np.int64)
        play_moves(game.rules, states, games, decisions.chosen, game.max_steps, seats)
        going = seats >= 0
        search.advance(games[going], decisions.chosen[going], states[games[going]])
        games = games[going]
        if not len(games):
            break
    digest.update(states.tobytes())
    return digest.hexdigest()[:16]


def self_play(game: Game, search: SearchConfig, evaluator: Evaluator, **settings: Any) -> SelfPlay:
    """A worker's self-play of one agent."""
    path, of_search = type(search), vars(search)
    source = SelfPlaySource(game.section, {"_target_": f"{path.__module__}.{path.__qualname__}", **of_search}, settings)
    return source.collector({"agent": source.role}, {"agent": evaluator}, _SEED, (0, 0))


def of_self_play(game: Game) -> str:
    """Hash of the rows and scores of some hundred decisions."""
    search = Puct(simulations=8, tree="per_world", worlds=2)
    worker = self_play(game, search, Arithmetic(game), games=8, bootstrap=0.25, target_temperature=0.5)
    rows, report = worker.play(rows=300, seconds=3600.0)
    return _digest({"rows": rows["agent"], "scores": report["scores"]})


def of_training(game: Game) -> str:
    """Hash of the weights after a short training: play, store, learn and publish in turn."""
    from inference.local import LocalEvaluator
    from inference.model import Model
    from learners.alphazero import AlphaZeroConfig
    from scoundrel_ray.network import make_network

    section = {
        "_target_": "scoundrel_ray.networks.residual_mlp.ResidualMLP",
        "width": 32,
        "blocks": 1,
        "value_width": 32,
    }
    settings = AlphaZeroConfig(batch_size=64, average=0.9, warmup_steps=10)
    learner = settings.make(make_network(section, game.spec, _SEED), _SEED)
    dtype, stream = settings.row_dtype(game.spec), rng.stream(_SEED, Purpose.SAMPLES)
    replay = UniformReplay(capacity=2000, min_rows=400).make(dtype, stream)
    model = Model(make_network(section, game.spec), precision="float32", threads=1)
    model.load(learner.weights(), 0)
    worker = self_play(game, Gumbel(simulations=8, tree="shared"), LocalEvaluator(model), games=16)
    for _ in range(6):
        rows, _report = worker.play(rows=400, seconds=3600.0)
        replay.insert(rows["agent"])
        for _ in range(8):
            batch = replay.sample(settings.batch_size)
            assert batch is not None
            learner.step(batch)
        model.load(learner.weights(), learner.version)
    return _digest(learner.weights())


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:16]
