"""Searches of many decisions in lockstep, whose leaves an evaluator outside evaluates.

    search.begin(games, states, streams)          start a decision in each of these games
    while (observations := search.select()) is not None:
        search.backup(logits, values)             as the evaluator said
        games = search.finished()                 whose budget is spent: read, play, begin their next decision
    decisions = search.decide(games, temperatures, streams)

One file serves a test, a laptop and a GPU across the network, because the search never calls an evaluator. UCT answers
its own leaves by playouts: `select` then spends whole budgets at once and gives no leaves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from scoundrel_ray.game import Game, InvalidGame
from scoundrel_ray.searches import kernels, playouts, reuse
from scoundrel_ray.searches.choice import GUMBEL, UCT, Parameters, halving_table
from scoundrel_ray.searches.forest import Decisions, Forest, allocate, blank_decisions
from scoundrel_ray.searches.suitable import check_memory, checked_parameters


class SearchConfig(Protocol):
    """A member of conf/search: checked settings that can make a search."""

    @property
    def simulations(self) -> int: ...

    @property
    def trees_per_game(self) -> int: ...

    @property
    def reuse(self) -> bool: ...

    def parameters(self, game: Game) -> Parameters: ...


class Search:
    """Searches of up to `games` positions at once over one forest.

    Legend: B leaves in a step, O observation size, A actions, P seats, G games asked about, S state size.

    Args:
        game: the rules.
        config: of a search in `scoundrel_ray.searches` (or a user's own with the same attributes).
        games: most decisions at once.
        threads: kernels release the GIL; results are the same for any number.

    Raises:
        InvalidSetting: for settings that make no sense together in this game.
        MemoryError: if the forest would not fit, before anything is allocated.
    """

    def __init__(self, game: Game, config: SearchConfig, games: int, threads: int = 1) -> None:
        parameters = checked_parameters(game, config)
        check_memory(game, config, parameters, games)
        self.game = game
        self.config = config
        self.parameters = parameters
        self.trees_per_game = config.trees_per_game
        trees = games * self.trees_per_game
        schedule = halving_table(parameters.considered, config.simulations) if parameters.kind == GUMBEL else None
        self.forest: Forest = allocate(
            game, trees, config.simulations, parameters.leaves, bool(parameters.shared), schedule
        )
        leaves = 0 if parameters.kind == UCT else trees * parameters.leaves
        self._observations = np.empty((leaves, game.observation_size), dtype=np.int8)
        self._knots = game.knots
        self._moved = np.empty(self.forest.edge.shape[1] if config.reuse else 0, dtype=np.int32)
        self._active = np.zeros(games, dtype=bool)
        flights = parameters.leaves if parameters.kind == UCT and parameters.leaves > 1 else 0
        self._under_way = np.empty((flights, game.state_size), dtype=np.int32)
        self._forked = np.empty((flights, 4), dtype=np.uint64)
        self._played_out = np.empty((flights, game.seats), dtype=np.float32)
        self.threads = max(1, min(threads, flights or trees))
        self._all_trees = np.arange(trees, dtype=np.int64)
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def begin(self, games: np.ndarray, states: np.ndarray, streams: np.ndarray) -> None:
        """Start a decision in each of `games`.

        Args:
            games: [G] int64, places in the forest.
            states: [G, S] int32, each with at least one legal action; hidden parts are redealt before they are used.
            streams: [G, 4] uint64, advanced; see `scoundrel_ray.rng.stream`.
        """
        games = np.ascontiguousarray(games, dtype=np.int64)
        if not self.config.reuse:
            self.forget(games)
        self._check(
            kernels.begin.launch(
                self.game.rules, self.forest, self.parameters, self.trees_per_game, self.config.simulations, games,
                np.ascontiguousarray(states, dtype=np.int32), _checked(streams, len(games)),
            )
        )  # fmt: skip
        self._active[games] = True

    def forget(self, games: np.ndarray) -> None:
        """Empty the trees of `games`: the next decision there starts anew."""
        for tree in range(self.trees_per_game):
            self.forest.nodes[games * self.trees_per_game + tree] = 0

    def select(self, games: np.ndarray | None = None) -> np.ndarray | None:
        """Observations of the leaves to evaluate now: [B, O] int8, valid until the next call; None if none.

        Args:
            games: [G] int64, ascending, whose trees are searched on; None for all. Their last leaves must have been
                given to `backup`; leaves of other games may wait meanwhile.
        """
        trees = self._trees(games)
        if self.parameters.kind == UCT:
            self._play_out(trees)
            return None
        leaves, chunks = self.parameters.leaves, _split(len(trees), self.threads)
        counts = self._each(
            chunks,
            lambda low, high: kernels.select.launch(
                self.game.rules, self.forest, self.parameters, self._knots, trees[low:high],
                self._observations[low * leaves : high * leaves],
            )
        )  # fmt: skip
        if min(counts) < 0:
            self._check(-min(counts))
        parts = [
            self._observations[low * leaves : low * leaves + count]
            for (low, _), count in zip(chunks, counts, strict=True)
            if count
        ]
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _trees(self, games: np.ndarray | None) -> np.ndarray:
        """All trees of `games`: [trees] int64."""
        return self._all_trees[self._places(games)]

    def _places(self, games: np.ndarray | None) -> Any:
        """What takes the trees of `games` out of an array; a slice, which copies nothing, where they lie in a row."""
        if games is None:
            return slice(None)
        if len(games) and games[-1] - games[0] == len(games) - 1:
            return slice(games[0] * self.trees_per_game, (games[-1] + 1) * self.trees_per_game)
        return self._all_trees.reshape(-1, self.trees_per_game)[games].ravel()

    def _play_out(self, trees: np.ndarray) -> None:
        """Spend the budgets of `trees` on playouts: tree beside tree on the threads, or playouts of one after another.

        Raises:
            InvalidGame: if a rule failed.
        """
        if self.parameters.leaves == 1:
            statuses = self._each(
                _split(len(trees), self.threads),
                lambda low, high: playouts.run_playouts.launch(
                    self.game.rules, self.forest, self.parameters, self._knots, trees[low:high]
                ),
            )
            self._check(max(statuses))
            return
        for tree in trees[(self.forest.started[trees] < self.forest.budget[trees]) & (self.forest.nodes[trees] > 0)]:
            while count := playouts.walk.launch(
                self.game.rules, self.forest, self.parameters, tree, self._under_way, self._forked
            ):
                self._check(-count)
                statuses = self._each(
                    _split(count, self.threads),
                    lambda low, high: playouts.play_outs.launch(
                        self.game.rules, self.parameters, self._knots, self._under_way[low:high],
                        self._forked[low:high], self._played_out[low:high],
                    ),
                )  # fmt: skip
                self._check(max(statuses))
                playouts.credit.launch(self.forest, tree, count, self._played_out)

    def backup(self, logits: np.ndarray, values: np.ndarray, games: np.ndarray | None = None) -> None:
        """Give the leaves that `select` gave of `games` their evaluations: logits [B, A] and values [B, P], float32."""
        trees = self._trees(games)
        ends = np.cumsum(self.forest.leaf_count[trees])
        wanted = int(ends[-1])
        if logits.shape != (wanted, self.game.actions) or values.shape != (wanted, self.game.seats):
            raise ValueError(
                f"search backup: logits {logits.shape} and values {values.shape}, wanted "
                f"({wanted}, {self.game.actions}) and ({wanted}, {self.game.seats})"
            )
        logits = np.ascontiguousarray(logits, dtype=np.float32)
        values = np.ascontiguousarray(values, dtype=np.float32)

        def back_up(low: int, high: int) -> int:
            start = int(ends[low - 1]) if low else 0
            return kernels.backup.launch(
                self.forest, self.parameters, trees[low:high], logits[start:], values[start:]
            )  # fmt: skip

        self._each(_split(len(trees), self.threads), back_up)

    def finished(self, games: np.ndarray | None = None) -> np.ndarray:
        """Games whose decision is ready, of `games` or of all: [G] int64, ascending; each is named once."""
        trees, forest = self._places(games), self.forest
        spent = (forest.started[trees] >= forest.budget[trees]) & (forest.leaf_count[trees] == 0)
        spent &= (forest.nodes[trees] > 0) & (forest.node["ready"][trees, 0] == 1)
        ready = spent.reshape(-1, self.trees_per_game).all(axis=1)
        if games is None:
            found = np.flatnonzero(ready & self._active)
        else:
            found = games[ready & self._active[games]]
        self._active[found] = False
        return found

    def decide(self, games: np.ndarray, temperatures: np.ndarray, streams: np.ndarray) -> Decisions:
        """What the finished searches of `games` recommend, and the action each plays.

        Args:
            games: [G] int64.
            temperatures: [G] float32; 0 plays the most visited action. Gumbel has its own noise and ignores it.
            streams: [G, 4] uint64, advanced.
        """
        decisions = blank_decisions(self.game, len(games))
        self._check(
            kernels.decide.launch(
                self.forest, self.parameters, self.trees_per_game, np.ascontiguousarray(games, dtype=np.int64),
                np.ascontiguousarray(temperatures, dtype=np.float32), _checked(streams, len(games)),
                decisions,
            )
        )  # fmt: skip
        return decisions

    def advance(self, games: np.ndarray, played: np.ndarray, states: np.ndarray) -> None:
        """Keep what the trees know of the decisions `states` [G, S] that `played` [G] led to, if the search reuses."""
        if not self.config.reuse:
            return
        self._check(
            reuse.advance.launch(
                self.game.rules, self.forest, self.parameters, np.ascontiguousarray(games, dtype=np.int64),
                np.ascontiguousarray(played, dtype=np.int16), np.ascontiguousarray(states, dtype=np.int32),
                self._moved,
            )
        )  # fmt: skip

    def run(
        self,
        evaluate: Callable[[np.ndarray], tuple[np.ndarray, ...]] | None = None,
        watch: Callable[[], None] | None = None,
    ) -> None:
        """Finish all decisions under way; evaluate([B, O]) -> (logits, values) is wanted by all searches but UCT.

        `watch` is called after every step of those that want it.
        """
        while (observations := self.select()) is not None:
            if evaluate is None:
                raise ValueError("this search has leaves to evaluate and was given no evaluator")
            self.backup(*evaluate(observations))
            if watch is not None:
                watch()

    def close(self) -> None:
        """End the threads."""
        if self._pool:
            self._pool.shutdown()

    def _each(self, chunks: Sequence[tuple[int, int]], work: Callable[[int, int], int]) -> list[int]:
        """Results of work(low, high) over the chunks, in order."""
        if self._pool is None or len(chunks) == 1:
            return [work(*chunk) for chunk in chunks]
        pool = self._pool
        futures: dict[int, Future[int]] = {}

        # Each thread wakes the next: woken by a caller that is about to sleep, two would share the core that is left.
        def start(i: int) -> int:
            if i + 1 < len(chunks):
                futures[i + 1] = pool.submit(start, i + 1)
            return work(*chunks[i])

        futures[0] = pool.submit(start, 0)
        return [futures[i].result() for i in range(len(chunks))]

    def _check(self, status: int) -> None:
        if status == kernels.BAD_RULE:
            raise InvalidGame(
                f"game {self.game.name}: a rule failed during a search (no legal action before the end of the game, or "
                "deal, redeal, step or returns gave a status); scoundrel_ray.conformance.check_game tells which"
            )
        if status == kernels.TOO_LONG:
            raise InvalidGame(f"game {self.game.name}: a game went on for more than max_steps = {self.game.max_steps}")


def _checked(streams: np.ndarray, count: int) -> np.ndarray:
    """The streams themselves, which a kernel advances in place: they must be as it expects them."""
    if streams.dtype != np.uint64 or streams.shape != (count, 4) or not streams.flags.c_contiguous:
        raise ValueError(f"streams: got {streams.dtype} {streams.shape}, wanted contiguous uint64 ({count}, 4)")
    return streams


def _split(trees: int, threads: int) -> Sequence[tuple[int, int]]:
    """Even ranges of trees, one a thread, none empty."""
    parts = max(1, min(threads, trees))
    edges = [trees * i // parts for i in range(parts + 1)]
    return list(itertools.pairwise(edges))


def search_one(
    search: Search,
    state: np.ndarray,
    stream: np.ndarray,
    evaluate: Callable[[np.ndarray], tuple[np.ndarray, ...]] | None = None,
    temperature: float = 0.0,
) -> Decisions:
    """The decision for a single position, searched in the forest's first place."""
    games = np.zeros(1, dtype=np.int64)
    search.begin(games, state[None], stream[None])
    search.run(evaluate)
    search.finished()
    return search.decide(games, np.full(1, temperature, dtype=np.float32), stream[None])


def first_row(decisions: Decisions) -> dict[str, Any]:
    """The first row of `decisions` without its padding, by name."""
    count = int((decisions.actions[0] >= 0).sum())
    row = {name: getattr(decisions, name)[0] for name in Decisions._fields}
    return {k: v[:count] if k in ("actions", "visits", "priors", "policy", "totals") else v for k, v in row.items()}
