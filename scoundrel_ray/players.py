"""Players: small objects that choose an action for each of many positions at once.

A player sees a whole state but acts on what its seat knows: searches redeal, heuristics read known parts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from numba import types

from scoundrel_ray import rng
from scoundrel_ray.compiled import kernel
from scoundrel_ray.decision.shards import PositionSearch, Watch
from scoundrel_ray.evaluator import Evaluator
from scoundrel_ray.game import MOST_LEGAL, RULES, Game, InvalidGame, no_opinion
from scoundrel_ray.search import Search, SearchConfig
from scoundrel_ray.searches.forest import Decisions
from scoundrel_ray.searches.suitable import check_evaluator
from scoundrel_ray.settings.build import target_of

Arrays = Mapping[str, np.ndarray]
T = TypeVar("T")


class Player(Protocol):
    """Chooses for the seat to move."""

    def choose(self, states: np.ndarray, streams: np.ndarray) -> np.ndarray:
        """Actions [G] int16 for states [G, S] with at least two legal actions; advances streams [G, 4]."""
        ...


@runtime_checkable
class Searcher(Player, Protocol):
    """A player that can say more than its choice."""

    def decide(self, states: np.ndarray, streams: np.ndarray, watch: Watch | None = None) -> Decisions:
        """Visits and values beside the chosen actions, a row for each state; advances streams.

        Args:
            states: [G, S] int32, each with at least two legal actions.
            streams: [G, 4] uint64.
            watch: called now and then with what the search says so far; what it raises ends the search.
        """
        ...


@kernel(types.int64(RULES, types.int64, types.int32[:, ::1], types.uint64[:, ::1], types.int16[::1]))
def choose_by_rule(rules, heuristic, states, streams, out):
    """Fill out [G]: the game's heuristic if asked and it has an opinion, else a uniform draw; -1 is success."""
    legal = np.empty(MOST_LEGAL, np.int16)
    for g in range(states.shape[0]):
        action = -1
        if heuristic:
            action = rules.heuristic(states[g], streams[g])
        if action < 0:
            count = rules.legal(states[g], legal)
            if count < 1:
                return g
            action = np.int64(legal[rng.below(streams[g], count)])
        out[g] = action
    return -1


class RulePlayer:
    """Plays the game's heuristic, or uniformly at random.

    Args:
        game: the rules.
        heuristic: False for uniform play.
    """

    def __init__(self, game: Game, heuristic: bool) -> None:
        self.game = game
        self.heuristic = heuristic

    def choose(self, states: np.ndarray, streams: np.ndarray) -> np.ndarray:
        out = np.empty(len(states), dtype=np.int16)
        wrong = choose_by_rule(
            self.game.rules, int(self.heuristic), np.ascontiguousarray(states, np.int32), streams, out
        )
        if wrong >= 0:
            raise InvalidGame(f"game {self.game.name}: no legal action in a game that is not over")
        return out


class SearchPlayer:
    """Searches every position, with an evaluator or by playouts.

    Args:
        game: the rules.
        search_config: settings of its search.
        evaluator: None for a search by playouts.
        games: most positions at once; more are searched in turn.
        threads: of the search.
        temperature: of the visit counts that a move is drawn from; 0 plays the best.

    Raises:
        InvalidConfig: for an evaluator that the search would not ask, and a search that wants one and has none.
    """

    def __init__(
        self,
        game: Game,
        search_config: SearchConfig,
        evaluator: Evaluator | None,
        games: int,
        threads: int = 1,
        temperature: float = 0.0,
    ) -> None:
        check_evaluator(game, search_config, evaluator is not None)
        self.search = Search(game, search_config, games, threads)
        self.evaluator = evaluator
        self.games = games
        self.temperature = temperature

    def choose(self, states: np.ndarray, streams: np.ndarray) -> np.ndarray:
        return self.decide(states, streams).chosen

    def decide(self, states: np.ndarray, streams: np.ndarray, watch: Watch | None = None) -> Decisions:
        """See `Searcher`."""
        parts = [
            self._decide(states[i : i + self.games], streams[i : i + self.games], watch)
            for i in range(0, len(states), self.games)
        ]
        return parts[0] if len(parts) == 1 else joined(parts)

    def _decide(self, states: np.ndarray, streams: np.ndarray, watch: Watch | None) -> Decisions:
        """Decisions for at most `games` positions, searched together."""
        games = np.arange(len(states), dtype=np.int64)
        temperatures = np.full(len(games), self.temperature, dtype=np.float32)
        self.search.forget(np.arange(self.games))
        self.search.begin(games, states, streams)
        show = None if watch is None else lambda: watch(self.search.decide(games, temperatures, streams.copy()))
        self.search.run(self._evaluate if self.evaluator else None, show)
        self.search.finished()
        return self.search.decide(games, temperatures, streams)

    def _evaluate(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self.evaluator is not None
        evaluation = self.evaluator.collect(self.evaluator.submit(observations))
        return evaluation.logits, evaluation.values

    def close(self) -> None:
        """End the search's threads."""
        self.search.close()


class PositionPlayer:
    """Searches one position after another, each on as many cores as its search has.

    Args:
        position: the search.
    """

    def __init__(self, position: PositionSearch) -> None:
        self.position = position

    def choose(self, states: np.ndarray, streams: np.ndarray) -> np.ndarray:
        return self.decide(states, streams).chosen

    def decide(self, states: np.ndarray, streams: np.ndarray, watch: Watch | None = None) -> Decisions:
        """See `Searcher`."""
        return joined(
            [self.position.decide(state, stream, watch) for state, stream in zip(states, streams, strict=True)]
        )

    def close(self) -> None:
        """Give back threads or actors."""
        self.position.close()


def joined(parts: Sequence[Decisions]) -> Decisions:
    """The rows of all, in order."""
    return Decisions(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def uniform(game: Game) -> RulePlayer:
    """A player that draws uniformly from the legal actions."""
    return RulePlayer(game, heuristic=False)


def heuristic(game: Game) -> RulePlayer:
    """A player that follows the game's rules of thumb."""
    return RulePlayer(game, heuristic=True)


def baselines_for(game: Game, sections: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The named players without those that follow rules of thumb, if the game has no such rules."""
    mute = game.rules.heuristic is no_opinion
    rule = f"{heuristic.__module__}.{heuristic.__name__}"
    return [name for name in names if not (mute and sections[name].get("_target_") == rule)]


class Participant(NamedTuple):
    """A player as a config names it, made ready for other processes, which need none of this node's files.

    Attributes:
        section: plain settings, `_target_` included, that the player is built from.
        arrays: further settings that are arrays by name, such as weights; apart, so that they are sent by reference.
        recorded: what records say of the player.
    """

    section: dict[str, Any]
    arrays: dict[str, Arrays]
    recorded: dict[str, Any]


def participant(key: str, section: Mapping[str, Any], game: Game, **defaults: Any) -> Participant:
    """The participant that a player's section names.

    Args:
        key: of the section, for messages.
        section: with `_target_`.
        game: to play.
        defaults: settings of those players that read files and have left them null.

    Raises:
        InvalidConfig, StorageError: naming the key or the file, for what cannot be used.
    """
    read = getattr(target_of(key, section, Player), "read_by", None)
    if read is None:
        return Participant(dict(section), {}, dict(section))
    return read(key, section, game, **defaults)


def read_by(read: Callable[..., Participant]) -> Callable[[T], T]:
    """A decorator for a `_target_` that reads files.

    Args:
        read: returns what `participant` is to return; takes the same arguments.
    """

    def mark(make: T) -> T:
        vars(make)["read_by"] = read
        return make

    return mark
