"""Play a game in the terminal, ask the agent for a hint, take moves back, watch agents or a saved game.

What the agent thinks of each choice is shown while it thinks.

python -m scripts.play game=scoundrel
python -m scripts.play game=connect_four seats=[human,agent]
python -m scripts.play seats=[agent] checkpoint=runs/...      watch the trained agent
python -m scripts.play ponder=true                            the agent thinks while you do
python -m scripts.play record=runs/games/scoundrel-7.json     watch a saved game, then go on from its end
python -m scripts.play record=runs/.../evaluation.jsonl number=17      the same of a game of an evaluation
"""

from __future__ import annotations

import contextlib
import re
import secrets
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.live import Live
from rich.table import Table

from scoundrel_ray import rng
from scoundrel_ray.game import OVER, Game
from scoundrel_ray.players import Player, Searcher
from scoundrel_ray.playing.ponder import Ponderer
from scoundrel_ray.playing.record import GameRecord, InvalidRecord, Thought, load_all, proved, thought
from scoundrel_ray.runs.directory import saved_config
from scoundrel_ray.searches.forest import Decisions
from scoundrel_ray.settings.build import build, composed
from scoundrel_ray.settings.checks import InvalidConfig, at_least, path_or_none, switch, writable
from scripts.entry import run

_HELP = "a number plays that choice; or one of the words hint, undo, save, quit, help"


@dataclass
class Session:
    """A game at the terminal: its record, who sits where, and the agent that plays and hints."""

    game: Game
    record: GameRecord
    seats: list[str]
    agent: Player
    file: Path
    console: Console
    ponderer: Ponderer | None = None

    def play(self) -> None:
        """Until the game is over or the person quits; the record is saved either way."""
        states = self.record.states(self.game)
        while (seat := self.game.seat(states[-1])) != OVER:
            if self.seats[seat] == "agent":
                action = self.ask_agent(states[-1])
                self.console.print(f"agent in seat {seat}: [bold]{self.game.action_names[action]}[/bold]")
            else:
                self.show(states[-1], seat)
                answer = self.ask(states[-1])
                if answer is None:
                    return
                if answer == "undo":
                    states = self.undo(states)
                    continue
                action = int(answer)
            self.record.actions.append(action)
            states.append(self.game.step(states[-1], action))
        self.console.print(self.game.text(states[-1], None), markup=False)
        self.record.scores = self.game.scores(states[-1]).tolist()
        scores = self.game.scores(states[-1])
        verdict = ["won" if won else "did not win" for won in self.game.won(scores)]
        names = self.record.players or self.seats
        for seat, score in enumerate(scores[: self.game.players(states[-1])]):
            self.console.print(f"seat {seat} ({names[seat]}): {score + 0.0:g} points, {verdict[seat]}")

    def show(self, state: np.ndarray, seat: int) -> None:
        """What the seat knows and may do."""
        self.console.rule(f"seat {seat}")
        self.console.print(self.game.text(state, seat), markup=False)
        for number, action in enumerate(self.game.legal(state), 1):
            self.console.print(f"  {number}  {self.game.action_names[action]}", markup=False)

    def ask(self, state: np.ndarray) -> int | str | None:
        """An action, "undo", or None to quit; the agent ponders meanwhile if it was asked to."""
        legal = self.game.legal(state)
        while True:
            if self.ponderer is not None and len(legal) > 1:
                self.ponderer.start(state, len(self.record.actions))
            try:
                word = self.console.input("[bold]> [/bold]").strip().lower()
            except EOFError:
                return None
            finally:
                if self.ponderer is not None:
                    self.ponderer.stop()
            if word in ("quit", "q", "exit"):
                return None
            if word in ("undo", "u"):
                return "undo"
            if word in ("hint", "h"):
                self.hint(state)
            elif word in ("help", "?"):
                self.console.print(_HELP, markup=False)
            elif word in ("save", "s"):
                self.record.save(self.file)
                self.console.print(f"saved {self.file}")
            elif word.isdecimal() and 1 <= int(word) <= len(legal):
                return int(legal[int(word) - 1])
            else:
                wanted = f"1 to {len(legal)}, hint, undo, save, quit or help"
                self.console.print(f"got {word!r}, wanted {wanted}", markup=False)

    def undo(self, states: list[np.ndarray]) -> list[np.ndarray]:
        """The states before the person's last own choice; the deal stays as it was."""
        keep = len(self.record.actions)
        while keep > 0:
            keep -= 1
            before = states[keep]
            if self.seats[self.game.seat(before)] != "agent":
                break
        else:
            self.console.print("nothing to take back")
            return states
        del self.record.actions[keep:]
        self.record.thoughts = [each for each in self.record.thoughts if each.move < keep]
        return states[: keep + 1]

    def hint(self, state: np.ndarray) -> None:
        """The agent's visits and values for each choice."""
        if not isinstance(self.agent, Searcher):
            self.console.print(f"the agent would play {self.game.action_names[self.ask_agent(state)]}")
        elif len(self.game.legal(state)) > 1:
            self.think(state)
        else:
            self.console.print("there is no choice")

    def ask_agent(self, state: np.ndarray) -> int:
        """The agent's action; a forced one is not searched."""
        legal = self.game.legal(state)
        if len(legal) == 1:
            return int(legal[0])
        moves = len(self.record.actions)
        if not isinstance(self.agent, Searcher):
            return int(self.agent.choose(state[None], self._stream(moves)[None])[0])
        # Its view of a hand that the others at the table may not see.
        decisions = self.think(state, shown=not (self.game.hidden and "human" in self.seats))
        self.record.thoughts.append(thought(self.game, state, moves, decisions, 0))
        return int(decisions.chosen[0])

    def think(self, state: np.ndarray, shown: bool = True) -> Decisions:
        """The agent's decision; if shown, while it is searched."""
        assert isinstance(self.agent, Searcher)
        moves = len(self.record.actions)
        decisions = None if self.ponderer is None else self.ponderer.known(state, moves)
        if not shown:
            return decisions or self.agent.decide(state[None], self._stream(moves)[None])
        with Live(console=self.console, refresh_per_second=10) as live:
            if decisions is None:
                decisions = self.agent.decide(
                    state[None], self._stream(moves)[None], lambda row: live.update(self.view(state, row))
                )
            live.update(self.view(state, decisions))
        if not self.console.is_terminal:
            self.console.print()  # there, what was live ends without a line of its own
        return decisions

    def view(self, state: np.ndarray, decisions: Decisions) -> Table:
        """A table of the agent's visits and values in `state`."""
        now = thought(self.game, state, len(self.record.actions), decisions, 0)
        return table_of(self.game, now, int(decisions.chosen[0]))

    def _stream(self, moves: int) -> np.ndarray:
        """A stream of the decision's own, so that a hint does not depend on earlier ones."""
        return rng.stream(*self.record.seed, 1, moves)

    def ponder(self) -> None:
        """Have the agent think while a person does."""
        if not isinstance(self.agent, Searcher):
            raise InvalidConfig("ponder: got true, but the agent does not search")
        self.ponderer = Ponderer(self.game, self.agent, self._stream)


def table_of(game: Game, seen: Thought, chosen: int) -> Table:
    """What a search said of each choice, and which it took."""
    table = Table("choice", "visits", "recommended", "value", title="the agent's view (values from -1 to 1)")
    policy = seen.policy or [visits / max(sum(seen.visits), 1) for visits in seen.visits]
    for action, visits, share, value in zip(seen.actions, seen.visits, policy, seen.values, strict=True):
        style = "bold green" if action == chosen else ""
        shown = "-" if value is None else f"{value:+.3f}"
        table.add_row(game.action_names[action], str(visits), f"{share:.1%}", shown, style=style)
    return table


def watch(session: Session) -> None:
    """Print a saved game move by move, with what was thought of each."""
    thoughts = {each.move: each for each in session.record.thoughts}
    states = session.record.states(session.game)
    for number, action in enumerate(session.record.actions):
        session.console.rule(f"move {number + 1}")
        seat = session.game.seat(states[number])
        session.console.print(session.game.text(states[number], seat), markup=False)
        if number in thoughts:
            session.console.print(table_of(session.game, thoughts[number], action))
        session.console.print(f"seat {seat} plays [bold]{session.game.action_names[action]}[/bold]")


def make_agent(config: dict[str, Any], game: Game) -> Player:
    """The checkpoint's agent, or the configured player."""
    run_directory = path_or_none("checkpoint", config["checkpoint"])
    if run_directory is not None:
        from inference.agent import player_of_run

        wanted = {key: config[key] for key in ("simulations", "tree", "worlds")}
        return player_of_run(run_directory, game, games=1, **wanted)
    section = dict(config["player"])
    if config["simulations"]:
        section |= {"simulations": config["simulations"], "time_ms": None}
    return build("player", section, Player, game)


def chosen_record(path: Path, number: int) -> tuple[GameRecord, Game]:
    """Record `number` of a file, from 1, and its game, replayed once to prove it."""
    records = load_all(path)
    if number > len(records):
        raise InvalidRecord(f"number: got {number}, wanted up to {len(records)}, the games in {path}")
    record = records[number - 1]
    return record, proved(f"{path}, game {number}", record)


def _seats(named: Any, game: Game) -> list[str]:
    """Who sits where, the seats that are not named filled with agents."""
    if not isinstance(named, list) or len(named) > game.seats or any(s not in ("human", "agent") for s in named):
        raise InvalidConfig(f"seats: got {named}, wanted up to {game.seats} of human, agent")
    return named + ["agent"] * (game.seats - len(named))


def play(config: DictConfig) -> int:
    settings = composed(config)
    at_least("simulations", settings["simulations"], 0)
    at_least("number", settings["number"], 1)
    switch("ponder", settings["ponder"])
    saved = path_or_none("record", settings["record"])
    if saved is not None:
        record, game = chosen_record(saved, settings["number"])
    else:
        trained = path_or_none("checkpoint", settings["checkpoint"])
        # A game that was asked for is not passed over: one that the agent was not trained for is refused.
        asked = any(re.match(r"[+~]*game\b", override) for override in HydraConfig.get().overrides.task)
        section = settings["game"] if trained is None or asked else saved_config(trained)["game"]
        game = build("game", section, Game)
        seed = secrets.randbelow(2**31) if settings["seed"] is None else settings["seed"]
        at_least("seed", seed, 0)
        record = GameRecord(dict(game.section), [seed], players=_seats(settings["seats"], game))
    deal = "-".join(map(str, record.seed))
    seats = _seats(settings["seats"], game)
    file = path_or_none("save", settings["save"]) or Path(f"runs/games/{game.name}-{deal}.json")
    for key in ("tree", "worlds"):
        if settings[key] is not None and settings["checkpoint"] is None:
            raise InvalidConfig(f"{key}: got one without a checkpoint, wanted player.{key}")
    if settings["ponder"] and settings["checkpoint"] is None and settings["player"].get("executor") == "ray":
        raise InvalidConfig("ponder: got true with player.executor ray, whose searches cannot be broken off")
    with contextlib.ExitStack() as stack:
        if settings["checkpoint"] is None and settings["player"].get("executor") == "ray":
            from actors.cluster import connected

            stack.enter_context(connected())
        session = Session(game, record, seats, make_agent(settings, game), file, Console())
        session.console.print(f"{game.name}, seed {deal}; {_HELP}", markup=False)
        if settings["ponder"]:
            session.ponder()
        file.parent.mkdir(parents=True, exist_ok=True)
        writable("save", file)  # before a game is played that could not be kept
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            if saved is not None:
                watch(session)
            session.play()
        finally:
            record.save(file)
            session.console.print(f"saved {file}")
    return 0


if __name__ == "__main__":
    run("play", play)
