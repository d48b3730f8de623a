"""Pondering finds what would have been found later, and stops when told."""

import threading

import numpy as np
import pytest

from actors.shards import uct
from scoundrel_ray import rng
from scoundrel_ray.games import connect_four, scoundrel
from scoundrel_ray.playing.ponder import Ponderer

C4, SCOUNDREL = connect_four.make(), scoundrel.make()
PATIENCE_S = 300.0


def stream(moves):
    return rng.stream(3, moves)


class Counted:
    """A player that says when it has decided so many positions, and waits for its end after them."""

    def __init__(self, player, most):
        self.player = player
        self.left = most
        self.done = threading.Event()

    def decide(self, states, streams, watch=None):
        if self.left == 0:
            self.done.set()
            while True:
                watch(None)
        self.left -= 1
        return self.player.decide(states, streams, watch)

    def choose(self, states, streams):
        raise NotImplementedError


@pytest.mark.parametrize(("game", "positions"), [(C4, 4), (SCOUNDREL, 1)], ids=["c4", "scoundrel"])
def test_what_was_pondered_is_what_would_have_been_found(game, positions):
    player = uct(game, simulations=300, executor="sequential")
    agent = Counted(player, positions)
    ponderer = Ponderer(game, lambda seat: agent, stream)
    state = game.deal(rng.stream(1))
    ponderer.start(state, 0)
    if game is C4:
        assert agent.done.wait(PATIENCE_S)
    else:  # a choice may uncover what is hidden: no reply is looked at
        ponderer._thread.join(PATIENCE_S)
        assert not ponderer._thread.is_alive() and not agent.done.is_set()
    ponderer.stop()
    row = player.decide(state[None], stream(0)[None])
    for one, other in zip(ponderer.known(state, 0), row, strict=True):
        np.testing.assert_array_equal(one, other)
    assert ponderer.known(state, 1) is None
    if game is C4:
        likeliest = int(row.actions[0, np.argmax(row.visits[0])])
        after = game.step(state, likeliest)
        for one, other in zip(ponderer.known(after, 1), player.decide(after[None], stream(1)[None]), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_search_is_ended_when_nobody_wants_it_any_longer():
    player = uct(C4, time_ms=600_000, simulations=None, executor="sequential")
    ponderer = Ponderer(C4, lambda seat: player, stream)
    state = C4.deal(rng.stream(1))
    ponderer.start(state, 0)
    ponderer.stop()
    assert ponderer.known(state, 0) is None
    ponderer.start(state, 0)
    ponderer.start(state, 2)  # ends the first
    ponderer.stop()


def test_what_goes_wrong_meanwhile_is_told():
    class Broken:
        def decide(self, states, streams, watch=None):
            raise ValueError("broken")

        def choose(self, states, streams):
            raise NotImplementedError

    ponderer = Ponderer(C4, lambda seat: Broken(), stream)
    ponderer.start(C4.deal(rng.stream(1)), 0)
    with pytest.raises(ValueError, match="broken"):
        ponderer.stop()
    ponderer.stop()
