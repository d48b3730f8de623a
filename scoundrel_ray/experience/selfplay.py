"""Self-play: games in lockstep, in groups: one is searched while the others are evaluated.

Several agents may share a table. Every decision is searched with the network of the agent that decides, and its row
goes to that agent. Plain objects without Ray; actors/rollout.py puts them on a cluster.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scoundrel_ray.evaluator import Evaluator
from scoundrel_ray.experience import curriculum
from scoundrel_ray.experience.groups import Groups
from scoundrel_ray.experience.lockstep import HALVES, Lockstep
from scoundrel_ray.experience.rows import chosen, decision_dtype
from scoundrel_ray.experience.seating import Seating
from scoundrel_ray.experience.source import Progress, Requests, Role
from scoundrel_ray.game import Game
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.searches.suitable import checked_parameters
from scoundrel_ray.settings.build import build, settings_of
from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting, at_least, within, within_section
from scoundrel_ray.spec import Head, Spec, search_heads
from scoundrel_ray.symmetry import Symmetries


@dataclass(frozen=True)
class RolloutConfig:
    """Settings of a worker's self-play.

    Attributes:
        workers: rollout actors.
        games: games in lockstep in each worker.
        threads: of a worker's kernels.
        temperature: exponent of visit counts when a move is drawn (PUCT and UCT).
        temperature_steps: decisions of a game drawn so; later ones play the most visited action.
        target_temperature: exponent 1 / T of the search's policy before it becomes a target: below 1 sharpens it.
        bootstrap: share of the search's own value in the value target; the rest is the game's outcome.
        rows: least rows that a worker gathers before it returns them.
        seconds: longest time it gathers, so that slow games still report.
    """

    workers: int = 2
    games: int = 512
    threads: int = 1
    temperature: float = 1.0
    temperature_steps: int = 1000
    target_temperature: float = 1.0
    bootstrap: float = 0.0
    rows: int = 4096
    seconds: float = 5.0

    def __post_init__(self) -> None:
        at_least("workers", self.workers, 1)
        at_least("games", self.games, 2)
        at_least("threads", self.threads, 1)
        at_least("temperature_steps", self.temperature_steps, 0)
        at_least("rows", self.rows, 1)
        within("temperature", self.temperature, 0.0, 100.0)
        within("target_temperature", self.target_temperature, 0.01, 100.0)
        within("bootstrap", self.bootstrap, 0.0, 1.0)
        within("seconds", self.seconds, 0.01, 3600.0)
        if self.games % HALVES:
            raise InvalidSetting("games", f"got {self.games}, wanted an even number (two halves)")


@dataclass(frozen=True)
class SelfPlaySource:
    """Settings of self-play as a source of experience.

    Attributes:
        game, search: sections with `_target_`.
        rollout: section of a worker's settings.
        curriculum: stages of the search by learner steps (see `scoundrel_ray.experience.curriculum`).
        seats: the agent of each seat, by name; None to draw seats anew for every game.
    """

    game: Mapping[str, Any]
    search: Mapping[str, Any]
    rollout: Mapping[str, Any] = field(default_factory=dict)
    curriculum: Sequence[Mapping[str, Any]] = ()
    seats: Sequence[str] | None = None

    @functools.cached_property
    def built_game(self) -> Game:
        """The rules."""
        return build("game", self.game, Game)

    @functools.cached_property
    def settings(self) -> RolloutConfig:
        """Checked settings of a worker."""
        return settings_of("rollout", self.rollout, RolloutConfig)

    def search_at(self, learner_steps: int) -> SearchConfig:
        """The search after `learner_steps` steps."""
        section = curriculum.section_at(self.search, self.curriculum, learner_steps)
        return build("search", section, SearchConfig)

    @property
    def spec(self) -> Spec:
        """What networks and rows must know of the game."""
        return self.built_game.spec

    @property
    def role(self) -> Role:
        """Of an agent that learns from searched decisions."""
        return Role(decision_dtype(self.spec), {})

    @property
    def name(self) -> str:
        """Of the game."""
        return self.built_game.name

    def specs(self, agents: Sequence[str]) -> dict[str, Spec]:
        """What networks and rows must know of the game: the same for all agents."""
        return dict.fromkeys(agents, self.spec)

    def heads(self, spec: Spec, behaviour: Mapping[str, Any]) -> tuple[Head, ...]:
        """What searches ask (see `Source.heads`)."""
        if behaviour:
            raise InvalidConfig(
                f"its experience acts by {behaviour.get('_target_')}, and {self.name}'s agents by a search; "
                "wanted a learner of searched decisions, such as learner=alphazero"
            )
        return search_heads(spec)

    def rows(self, spec: Spec, behaviour: Mapping[str, Any]) -> np.dtype:
        """Type of a searched decision."""
        return decision_dtype(spec)

    @property
    def symmetries(self) -> Symmetries | None:
        """Symmetries of the game."""
        return self.built_game.symmetries

    def check(self, agents: Sequence[str]) -> None:
        """Refuse settings that cannot be used with these agents (see `Source.check`)."""
        curriculum.check(self.curriculum, self.search)
        stages = [
            (f"curriculum[{place}]", curriculum.section_at(self.search, self.curriculum, stage[curriculum.STEPS]))
            for place, stage in enumerate(self.curriculum)
        ]
        for key, section in (("search", self.search), *stages):
            with within_section(key):
                checked_parameters(self.built_game, build(key, section, SearchConfig))
        with within_section("source"):
            if self.seats is not None and (isinstance(self.seats, str) or not isinstance(self.seats, Sequence)):
                raise InvalidSetting("seats", f"got {self.seats!r}, wanted a list of agents, one for each seat")
            Seating(agents, self.built_game.seats, self.seats)
        _ = self.settings

    def requests(self, learner_steps: int, agents: Sequence[str]) -> Requests:
        """A request for each group of games under way (see `Groups`): all leaves of one step of half of the trees."""
        search = self.search_at(learner_steps)
        leaves = search.parameters(self.built_game).leaves
        return Requests(max(HALVES, len(agents)), self.settings.games // HALVES * search.trees_per_game * leaves)

    def collector(
        self, agents: Mapping[str, Role], evaluators: Mapping[str, Evaluator], seed: int, path: Sequence[int]
    ) -> SelfPlay:
        """A worker's self-play (see `Source.collector`)."""
        return SelfPlay(self, agents, evaluators, seed, path)


class SelfPlay:
    """A worker's self-play.

    Args:
        source: what is played and how.
        agents: by name.
        evaluators: by name; empty for a search that asks no network.
        seed: of the run.
        path: of the random streams: worker and incarnation. A restarted worker must be given another.
    """

    def __init__(
        self,
        source: SelfPlaySource,
        agents: Mapping[str, Role],
        evaluators: Mapping[str, Evaluator],
        seed: int,
        path: Sequence[int],
    ) -> None:
        self.game = source.built_game
        self.settings = source.settings
        self._source = source
        self._agents = dict(agents)
        self._search = source.search_at(0)
        if self._search.parameters(self.game).needs_evaluator and not set(agents) <= set(evaluators):
            raise InvalidConfig("search: this one asks a network for each agent, and was given none")
        seating = Seating([*agents], self.game.seats, source.seats)
        self._lockstep = Lockstep(self.game, self._search, self.settings.games, self.settings, seating, seed, (*path,))
        asked = [evaluators[name] for name in agents if name in evaluators]
        self._groups = Groups(self._lockstep, asked, len(agents))
        self._first_at = 0.0

    def prepare(self, progress: Progress) -> None:
        """Search as the curriculum says from now on, also in the games under way (see `Collector.prepare`).

        Raises:
            EvaluatorGone: if the last answers under other settings do not come.
        """
        search = self._source.search_at(progress.learner_steps)
        if search == self._search:
            return
        self._search = search
        self._groups.drop()
        self._lockstep.search_by(search)

    def ask_through(self, evaluators: Mapping[str, Evaluator]) -> None:
        """Ask other evaluators from now on; nothing may be under way."""
        self._groups.evaluators = [evaluators[name] for name in self._agents]

    def collect(self, timed: bool = True) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Rows and report of one stretch (see `Collector.collect`)."""
        return self.play(seconds=None if timed else float("inf"))

    def play(
        self, rows: int | None = None, seconds: float | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Rows of the games finished in this call, by agent, and what it took.

        Args:
            rows: return once this many are gathered in all (default: the settings').
            seconds: or once this time has passed and at least one game is finished (default: the settings').

        Returns:
            rows: [n] for each agent that learns; whole games alone.
            report: see `scoundrel_ray.experience.source.Report`. It also has scores [games, P] float32 and owners
                [games, P] int8 (see `Seating`); games dealt (without deals that left nothing to decide) and finished
                since the start; and games under_way now.
        """
        rows = self.settings.rows if rows is None else rows
        seconds = self.settings.seconds if seconds is None else seconds
        start = time.perf_counter()
        report: dict[str, Any] = {"decisions": 0, "leaves": 0, "messages": 0, "wait_s": 0.0}
        gathered, self._first_at = 0, 0.0
        while gathered < rows and not (gathered and time.perf_counter() - start > seconds):
            self._advance(report)
            gathered = self._lockstep.gathered
            if gathered and not self._first_at:
                self._first_at = time.time()
        found, row_owners, scores, owners = self._lockstep.take()
        by_agent = {
            name: chosen(found if len(self._agents) == 1 else found[row_owners == number], role.rows)
            for number, (name, role) in enumerate(self._agents.items())
            if role.rows is not None
        }
        counts = np.bincount(row_owners, minlength=len(self._agents))
        report |= {
            "episodes": len(scores),
            "first_at": self._first_at,
            "agents": self._agent_metrics(scores, owners),
            "own_steps": {name: int(count) for name, count in zip(self._agents, counts, strict=True)},
            "scores": scores,
            "owners": owners,
            "dealt": self._lockstep.begun,
            "finished": self._lockstep.finished,
            "under_way": self._lockstep.under_way,
            "total_s": time.perf_counter() - start,
        }
        return by_agent, report

    def _agent_metrics(self, scores: np.ndarray, owners: np.ndarray) -> dict[str, dict[str, tuple[float, float]]]:
        """Score and win rate of each agent in the first of its seats, each with its number of games.

        Over all seats an agent that plays itself would always win a game and lose the others.
        """
        won, metrics = self.game.won(scores), {}
        for number, name in enumerate(self._agents):
            mine = owners == number
            games = np.flatnonzero(mine.any(axis=1))
            if len(games):
                first = mine[games].argmax(axis=1)
                metrics[name] = {
                    "score": (float(scores[games, first].astype(np.float64).mean()), len(games)),
                    "win_rate": (float(won[games, first].mean()), len(games)),
                }
        return metrics

    def _advance(self, report: dict[str, Any]) -> None:
        """Ask for the next leaves; first collect the oldest group's answers and play what is decided, if it must be."""
        leaves = self._groups.ask()
        if leaves is None:
            before = time.perf_counter()
            games = self._groups.answer()
            report["wait_s"] += time.perf_counter() - before
            report["decisions"] += self._lockstep.settle(games)
            leaves = self._groups.ask() or 0
        report["messages"] += leaves > 0
        report["leaves"] += leaves

    def close(self) -> None:
        """End the search's threads."""
        self._lockstep.close()
