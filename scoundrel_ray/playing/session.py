"""A table at which people and players sit, as data: what a terminal or a page in a browser shows and asks.

    session = Session(game, record, ["human", "agent"], {"agent": player}, adviser="agent")
    session.view(0)             what seat 0 is shown, and may do if it is its turn
    session.hint(watch)         what the adviser would do; `watch` is told while it is searched
    session.play(action)        a person's move
    session.move(watch)         the move of the player whose turn it is
    session.undo()              back to the person's choice before

Nothing here prints, reads or waits for a person. One caller at a time.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.game import OVER, Game
from scoundrel_ray.players import Player, Searcher
from scoundrel_ray.playing.ponder import Ponderer
from scoundrel_ray.playing.record import GameRecord, Thought, thought
from scoundrel_ray.searches.forest import Decisions

HUMAN = "human"


class WrongTurn(ValueError):
    """A move, a hint or a view that is not to be had at this moment; nothing was changed."""


@dataclass(frozen=True)
class View:
    """What one seat is shown.

    Attributes:
        seat: whose view it is; None of one who sees all, once the game is over.
        turn: the seat to move; None once the game is over.
        names: who sits where.
        text: the game's own picture.
        observation: what the seat knows, by field (see `game.Field`); empty for one who sees all.
        legal: actions that the seat may play now; empty if it is not its turn.
        moves: actions played so far.
        scores: of the seats that play, in the game's points; None while the game goes on.
        won: which of them have won; None while the game goes on.
    """

    seat: int | None
    turn: int | None
    names: list[str]
    text: str
    observation: dict[str, list[int]]
    legal: list[int]
    moves: int
    scores: list[float] | None = None
    won: list[bool] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """What a player chose, or would choose by now.

    Attributes:
        seat: that decides.
        player: name of who chose.
        action: chosen.
        thought: what its search says of every choice; None for a choice that was not searched, and for one whose
            thoughts would show others at the table a hidden hand.
    """

    seat: int
    player: str
    action: int
    thought: Thought | None = None


Watch = Callable[[Choice], None]


class Session:
    """A game in progress.

    Every decision draws from a stream of its own, by its number in the game: neither hints nor what was taken back
    change what a player does later.

    Args:
        game: the rules.
        record: of the game so far, fresh or to go on with; it grows with the game.
        seats: who sits where: HUMAN, or a name of `players`.
        players: by name.
        adviser: name of the player that hints.
        ponder: whether players think while a person does (see `think_ahead`).

    Attributes:
        game, seats: as given.
        record: as given; it holds what players thought, and is not for those who play.

    Raises:
        ValueError: for a seat that nobody is known to sit in, or an adviser that ponders but does not search.
        IllegalAction: for a record that the game refuses.
    """

    def __init__(
        self,
        game: Game,
        record: GameRecord,
        seats: Sequence[str],
        players: Mapping[str, Player],
        adviser: str,
        ponder: bool = False,
    ) -> None:
        known = (HUMAN, *players)
        if len(seats) != game.seats or any(name not in known for name in seats):
            raise ValueError(f"seats: got {list(seats)}, wanted {game.seats} of {', '.join(known)}")
        self.game = game
        self.record = record
        self.seats = list(seats)
        self._players = dict(players)
        self._adviser = adviser
        if ponder and not self.hints_are_searched:
            raise ValueError(f"ponder: got true, but the {adviser} does not search")
        self._states = record.states(game)
        self._ponderer = Ponderer(game, self._searcher, self._stream) if ponder else None
        self._note_end()

    @property
    def state(self) -> np.ndarray:
        """The present state: [S] int32. It holds what is hidden: not for those who play."""
        return self._states[-1]

    @property
    def turn(self) -> int | None:
        """The seat to move; None once the game is over."""
        seat = self.game.seat(self.state)
        return None if seat == OVER else seat

    @property
    def awaits_person(self) -> bool:
        """Whether the game goes on and a person is to move."""
        seat = self.game.seat(self.state)
        return seat != OVER and self.seats[seat] == HUMAN

    @property
    def hints_are_searched(self) -> bool:
        """Whether the adviser searches, so that its hints come with thoughts wherever there is a choice."""
        return isinstance(self._players[self._adviser], Searcher)

    @property
    def keeps_thoughts(self) -> bool:
        """Whether players keep their thoughts to themselves, as they would show a person the hand of another seat."""
        return self.game.hidden and HUMAN in self.seats

    def view(self, seat: int | None) -> View:
        """What a seat is shown; None is one who sees all.

        Raises:
            WrongTurn: for one who would see all before the end of a game that hides something.
            ValueError: for a seat that does not play.
        """
        if seat is not None and not 0 <= seat < self.game.players(self.state):
            raise ValueError(f"seat: got {seat}, wanted one of the {self.game.players(self.state)} that play")
        turn, names = self.turn, list(self.record.players or self.seats)
        if seat is None and turn is not None and self.game.hidden:
            raise WrongTurn("all is shown when the game is over, and not before")
        observation = {} if seat is None else self._observation(seat)
        legal = self.game.legal(self.state).tolist() if turn is not None and seat == turn else []
        view = View(seat, turn, names, self.game.text(self.state, seat), observation, legal, len(self.record.actions))
        if turn is not None:
            return view
        players, scores = self.game.players(self.state), self.game.scores(self.state)
        return replace(view, scores=scores[:players].tolist(), won=self.game.won(scores)[:players].tolist())

    def _observation(self, seat: int) -> dict[str, list[int]]:
        entries, found, at = self.game.observe(self.state, seat).tolist(), {}, 0
        for field in self.game.observation:
            found[field.name] = entries[at : at + field.size]
            at += field.size
        return found

    def play(self, action: int) -> Choice:
        """A person's move, which is made.

        Raises:
            WrongTurn: if no person is to move.
            IllegalAction: if the rules do not allow it. Nothing was changed then either.
        """
        seat, action = self._persons_turn(), operator.index(action)
        self.settle()
        self._advance(action)
        return Choice(seat, HUMAN, action)

    def move(self, watch: Watch | None = None) -> Choice:
        """The move of the player whose turn it is, which is made; a forced one is not searched.

        Args:
            watch: told now and then what the player would choose by now, unless it keeps its thoughts.

        Raises:
            WrongTurn: if the game is over or a person is to move.
        """
        seat = self.turn
        if seat is None or self.awaits_person:
            raise WrongTurn("the game is over" if seat is None else f"a person is to move, in seat {seat}")
        self.settle()
        open_to_all = not self.keeps_thoughts
        choice = self._choose(self.seats[seat], watch if open_to_all else None)
        if choice.thought is not None:
            self.record.thoughts.append(choice.thought)
        self._advance(choice.action)
        return choice if open_to_all else Choice(seat, choice.player, choice.action)

    def hint(self, watch: Watch | None = None) -> Choice:
        """What the adviser would do in the place of the person whose turn it is; a forced move is not searched.

        Args:
            watch: told now and then what it would choose by now.

        Raises:
            WrongTurn: if no person is to move.
        """
        self._persons_turn()
        self.settle()
        return self._choose(self._adviser, watch)

    def undo(self) -> int:
        """Number of actions taken back: those since a person's last choice, and that; 0 if no person has chosen yet."""
        self.settle()
        actions, thoughts = self.record.actions, self.record.thoughts
        for keep in reversed(range(len(actions))):
            if self.seats[self.game.seat(self._states[keep])] == HUMAN:
                taken = len(actions) - keep
                del actions[keep:], self._states[keep + 1 :]
                thoughts[:] = [each for each in thoughts if each.move < keep]
                self.record.scores = []
                return taken
        return 0

    def think_ahead(self) -> None:
        """Have the players think, until `settle`, while the person whose turn it is does; only if they ponder."""
        if self._ponderer is not None and self.awaits_person and len(self.game.legal(self.state)) > 1:
            self._ponderer.start(self.state, len(self.record.actions))

    def settle(self) -> None:
        """End what `think_ahead` began; what was found by then is kept.

        Raises:
            Exception: what went wrong in a player meanwhile.
        """
        if self._ponderer is not None:
            self._ponderer.stop()

    def _persons_turn(self) -> int:
        seat = self.turn
        if seat is None or not self.awaits_person:
            raise WrongTurn("the game is over" if seat is None else f"{self.seats[seat]} is to move, in seat {seat}")
        return seat

    def _choose(self, name: str, watch: Watch | None) -> Choice:
        """The choice of a named player in the present state."""
        state, moves, player = self.state, len(self.record.actions), self._players[name]
        seat, legal = self.game.seat(state), self.game.legal(state)
        if len(legal) == 1:
            return Choice(seat, name, int(legal[0]))
        if not isinstance(player, Searcher):
            return Choice(seat, name, int(player.choose(state[None], self._stream(moves)[None])[0]))

        def choice(row: Decisions) -> Choice:
            return Choice(seat, name, int(row.chosen[0]), thought(self.game, state, moves, row, 0))

        decided = None if self._ponderer is None else self._ponderer.known(state, moves)
        if decided is None:
            watch_row = None if watch is None else lambda row: watch(choice(row))
            decided = player.decide(state[None], self._stream(moves)[None], watch_row)
        return choice(decided)

    def _advance(self, action: int) -> None:
        self._states.append(self.game.step(self.state, action))
        self.record.actions.append(int(action))
        self._note_end()

    def _note_end(self) -> None:
        if self.turn is None:
            self.record.scores = self.game.scores(self.state).tolist()

    def _stream(self, moves: int) -> np.ndarray:
        """The stream of the decision after so many actions."""
        return rng.stream(*self.record.seed, 1, moves)

    def _searcher(self, seat: int) -> Searcher | None:
        """Who thinks ahead for a seat: the adviser for a person; None where nobody searches."""
        name = self.seats[seat]
        player = self._players[self._adviser if name == HUMAN else name]
        return player if isinstance(player, Searcher) else None
