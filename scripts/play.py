"""Play a game in the terminal, ask the agent for a hint, take moves back, watch agents or a saved game.

What the agent thinks of each choice is shown while it thinks.

python -m scripts.play game=scoundrel
python -m scripts.play game=connect_four seats=[human,agent]
python -m scripts.play game=blob seats=[human,agent,random,heuristic]    anybody in any seat
python -m scripts.play game=blob seats=[human,old] +player@players.old=trained players.old.weights=runs/a
python -m scripts.play seats=[agent] checkpoint=runs/...      watch the trained agent
python -m scripts.play ponder=true                            the agent thinks while you do
python -m scripts.play record=runs/games/scoundrel-7.json     watch a saved game, then go on from its end
python -m scripts.play record=runs/.../evaluation.jsonl number=17      the same of a game of an evaluation
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.live import Live
from rich.table import Table

from scoundrel_ray.game import Game
from scoundrel_ray.players import Player
from scoundrel_ray.playing.record import GameRecord, InvalidRecord, Thought, load_all, proved
from scoundrel_ray.playing.session import HUMAN, Choice, Session, View, Watch
from scoundrel_ray.runs.directory import saved_config
from scoundrel_ray.settings.build import build, composed
from scoundrel_ray.settings.checks import InvalidConfig, at_least, makeable, path_or_none, switch, writable
from scripts.entry import run

AGENT = "agent"  # the player that hints: the checkpoint's, or `player`
_HELP = "a number plays that choice; or one of the words hint, undo, save, quit, help"


class Terminal:
    """A session at the terminal.

    Args:
        session: the table.
        file: where the record is saved.
        console: that is printed to and read from.
    """

    def __init__(self, session: Session, file: Path, console: Console) -> None:
        self.session = session
        self.game = session.game
        self.file = file
        self.console = console

    def play(self) -> None:
        """Until the game is over or the person quits."""
        session = self.session
        while session.turn is not None:
            if session.awaits_person:
                if not self.ask(session.view(session.turn)):
                    return
            else:
                choice = self.thinking(session.move)
                name = self.game.action_names[choice.action]
                self.console.print(f"{choice.player} in seat {choice.seat}: [bold]{name}[/bold]")
        end = session.view(None)
        self.console.print(end.text, markup=False)
        for seat, (score, won) in enumerate(zip(end.scores or (), end.won or (), strict=True)):
            verdict = "won" if won else "did not win"
            self.console.print(f"seat {seat} ({end.names[seat]}): {score + 0.0:g} points, {verdict}")

    def ask(self, view: View) -> bool:
        """Show what the seat knows and may do, and ask until it has moved, or taken back; whether it plays on."""
        self.console.rule(f"seat {view.seat}")
        self.console.print(view.text, markup=False)
        for number, action in enumerate(view.legal, 1):
            self.console.print(f"  {number}  {self.game.action_names[action]}", markup=False)
        while True:
            self.session.think_ahead()
            try:
                word = self.console.input("[bold]> [/bold]").strip().lower()
            except EOFError:
                return False
            finally:
                self.session.settle()
            if word in ("quit", "q", "exit"):
                return False
            if word in ("undo", "u"):
                if not self.session.undo():
                    self.console.print("nothing to take back")
                return True
            if word.isdecimal() and 1 <= int(word) <= len(view.legal):
                self.session.play(view.legal[int(word) - 1])
                return True
            self.answer(word, view)

    def answer(self, word: str, view: View) -> None:
        """What changes nothing about the game."""
        if word in ("hint", "h"):
            choice = self.thinking(self.session.hint)
            if choice.thought is None and len(view.legal) == 1 and self.session.hints_are_searched:
                self.console.print("there is no choice")
            elif choice.thought is None:
                self.console.print(f"the agent would play {self.game.action_names[choice.action]}")
        elif word in ("help", "?"):
            self.console.print(_HELP, markup=False)
        elif word in ("save", "s"):
            self.session.record.save(self.file)
            self.console.print(f"saved {self.file}")
        else:
            wanted = f"1 to {len(view.legal)}, hint, undo, save, quit or help"
            self.console.print(f"got {word!r}, wanted {wanted}", markup=False)

    def thinking(self, decide: Callable[[Watch], Choice]) -> Choice:
        """The choice of `decide`, what is thought of it shown while it is searched, if it may be seen at all."""
        with contextlib.ExitStack() as stack:
            live: Live | None = None

            def show(choice: Choice) -> None:
                nonlocal live
                if choice.thought is not None:
                    live = live or stack.enter_context(Live(console=self.console, refresh_per_second=10))
                    live.update(table_of(self.game, choice.thought, choice.action))

            choice = decide(show)
            show(choice)
        if live is not None and not self.console.is_terminal:
            self.console.print()  # there, what was live ends without a line of its own
        return choice

    def watch(self) -> None:
        """Print the game so far move by move, with what was thought of each."""
        record = self.session.record
        thoughts = {each.move: each for each in record.thoughts}
        states = record.states(self.game)
        for number, action in enumerate(record.actions):
            self.console.rule(f"move {number + 1}")
            seat = self.game.seat(states[number])
            self.console.print(self.game.text(states[number], seat), markup=False)
            if number in thoughts:
                self.console.print(table_of(self.game, thoughts[number], action))
            self.console.print(f"seat {seat} plays [bold]{self.game.action_names[action]}[/bold]")


def table_of(game: Game, seen: Thought, chosen: int) -> Table:
    """A table of what a search said of each choice, and which it took."""
    table = Table("choice", "visits", "recommended", "value", title="the agent's view (values from -1 to 1)")
    policy = seen.policy or [visits / max(sum(seen.visits), 1) for visits in seen.visits]
    for action, visits, share, value in zip(seen.actions, seen.visits, policy, seen.values, strict=True):
        style = "bold green" if action == chosen else ""
        shown = "-" if value is None else f"{value:+.3f}"
        table.add_row(game.action_names[action], str(visits), f"{share:.1%}", shown, style=style)
    return table


def make_agent(config: dict[str, Any], game: Game) -> Player:
    """The checkpoint's agent, or the configured player."""
    run_directory = path_or_none("checkpoint", config["checkpoint"])
    if run_directory is not None:
        from inference.agent import trained

        wanted = {key: config[key] for key in ("simulations", "tree", "worlds")}
        return trained(game, run_directory, **wanted)
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


def _seats(named: Any, game: Game, players: Mapping[str, Any]) -> list[str]:
    """Who sits where, the seats that are not named filled with agents."""
    known = [HUMAN, AGENT, *players]
    if not isinstance(named, list) or len(named) > game.seats or any(name not in known for name in named):
        raise InvalidConfig(f"seats: got {named}, wanted up to {game.seats} of {', '.join(known)}")
    return named + [AGENT] * (game.seats - len(named))


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
        seats = _seats(settings["seats"], game, settings["players"])
        record = GameRecord(dict(game.section), [seed], players=seats)
    deal = "-".join(map(str, record.seed))
    seats = _seats(settings["seats"], game, settings["players"])
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
        players = {AGENT: make_agent(settings, game)}
        for name in set(seats) - {HUMAN, AGENT}:
            players[name] = build(f"players.{name}", settings["players"][name], Player, game)
        session = Session(game, record, seats, players, AGENT, settings["ponder"])
        terminal = Terminal(session, file, Console())
        terminal.console.print(f"{game.name}, seed {deal}; {_HELP}", markup=False)
        if makeable("save", file.parent).exists():  # before a game is played that could not be kept
            writable("save", file)
        try:
            if saved is not None:
                terminal.watch()
            terminal.play()
        finally:
            record.save(file)
            terminal.console.print(f"saved {file}")
    return 0


if __name__ == "__main__":
    run("play", play)
