"""Play a game in the terminal, ask the agent for a hint, take moves back, watch agents or a saved game.

python -m scripts.play game=scoundrel
python -m scripts.play game=connect_four seats=[human,agent]
python -m scripts.play seats=[agent] checkpoint=runs/...      watch the trained agent
python -m scripts.play record=runs/games/scoundrel-7.json     watch a saved game, then go on from its end
"""

from __future__ import annotations

import contextlib
import secrets
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from scoundrel_ray import rng
from scoundrel_ray.checks import InvalidConfig, at_least
from scoundrel_ray.config import build, plain
from scoundrel_ray.game import OVER, Game
from scoundrel_ray.players import Player, PositionPlayer, SearchPlayer
from scoundrel_ray.record import GameRecord, load
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
        scores = self.game.scores(states[-1])
        verdict = ["won" if score > self.game.win_above else "did not win" for score in scores]
        for seat, score in enumerate(scores):
            self.console.print(f"seat {seat} ({self.seats[seat]}): {score + 0.0:g} points, {verdict[seat]}")

    def show(self, state: np.ndarray, seat: int) -> None:
        """What the seat knows and may do."""
        self.console.rule(f"seat {seat}")
        self.console.print(self.game.text(state, seat), markup=False)
        for number, action in enumerate(self.game.legal(state), 1):
            self.console.print(f"  {number}  {self.game.action_names[action]}", markup=False)

    def ask(self, state: np.ndarray) -> int | str | None:
        """An action, "undo", or None to quit."""
        legal = self.game.legal(state)
        while True:
            try:
                word = self.console.input("[bold]> [/bold]").strip().lower()
            except EOFError:
                return None
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
        del self.record.actions[keep:]
        return states[: keep + 1]

    def hint(self, state: np.ndarray) -> None:
        """The agent's visits and values for each choice."""
        if not isinstance(self.agent, SearchPlayer | PositionPlayer):
            self.console.print(f"the agent would play {self.game.action_names[self.ask_agent(state)]}")
            return
        with self.console.status("thinking"):
            decisions = self.agent.decide(state[None], self._stream()[None])
        seat = self.game.seat(state)
        table = Table("choice", "visits", "recommended", "value", title="the agent's view (values from -1 to 1)")
        for i in range(int((decisions.actions[0] >= 0).sum())):
            visits = int(decisions.visits[0, i])
            value = f"{decisions.totals[0, i, seat] / visits:+.3f}" if visits else "-"
            action = int(decisions.actions[0, i])
            style = "bold green" if action == decisions.chosen[0] else ""
            name = self.game.action_names[action]
            table.add_row(name, str(visits), f"{decisions.policy[0, i]:.1%}", value, style=style)
        self.console.print(table)

    def ask_agent(self, state: np.ndarray) -> int:
        """The agent's action; a forced one is not searched."""
        legal = self.game.legal(state)
        if len(legal) == 1:
            return int(legal[0])
        return int(self.agent.choose(state[None], self._stream()[None])[0])

    def _stream(self) -> np.ndarray:
        """A stream of the decision's own, so that a hint does not depend on earlier ones."""
        return rng.stream(self.record.seed, 1, len(self.record.actions))


def watch(session: Session) -> None:
    """Print a saved game move by move."""
    states = session.record.states(session.game)
    for number, action in enumerate(session.record.actions):
        session.console.rule(f"move {number + 1}")
        seat = session.game.seat(states[number])
        session.console.print(session.game.text(states[number], seat), markup=False)
        session.console.print(f"seat {seat} plays [bold]{session.game.action_names[action]}[/bold]")


def make_agent(config: dict[str, Any], game: Game) -> Player:
    """The checkpoint's agent, or the configured player."""
    if config["checkpoint"] is not None:
        from inference.agent import player_of_run

        return player_of_run(Path(config["checkpoint"]), game, games=1, simulations=config["simulations"])
    section = dict(config["player"])
    if config["simulations"]:
        section |= {"simulations": config["simulations"], "time_ms": None}
    return build("player", section, Player, game)


def play(config: DictConfig) -> int:
    settings = plain(config)
    at_least("simulations", settings["simulations"], 0)
    if settings["record"] is not None:
        record, game = load(Path(settings["record"]))
    else:
        game = build("game", settings["game"], Game)
        seed = secrets.randbelow(2**31) if settings["seed"] is None else settings["seed"]
        at_least("seed", seed, 0)
        record = GameRecord(settings["game"], seed)
    seats = settings["seats"]
    if not isinstance(seats, list) or len(seats) > game.seats or any(s not in ("human", "agent") for s in seats):
        raise InvalidConfig(f"seats: got {seats}, wanted up to {game.seats} of human, agent")
    seats += ["agent"] * (game.seats - len(seats))
    file = Path(settings["save"] or f"runs/games/{game.name}-{record.seed}.json")
    with contextlib.ExitStack() as stack:
        if settings["checkpoint"] is None and settings["player"].get("executor") == "ray":
            from actors.cluster import connected

            stack.enter_context(connected())
        session = Session(game, record, seats, make_agent(settings, game), file, Console())
        session.console.print(f"{game.name}, seed {record.seed}; {_HELP}", markup=False)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            if settings["record"] is not None:
                watch(session)
            session.play()
        finally:
            record.save(file)
            session.console.print(f"saved {file}")
    return 0


if __name__ == "__main__":
    run("play", play)
