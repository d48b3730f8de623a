"""Rules and kernels: one compilation for all games, plain Python twins, and nothing heavy imported with them."""

import importlib
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from numba import types

from scoundrel_ray import compiled, rng
from scoundrel_ray.compiled import Rule, kernel, rule
from scoundrel_ray.game import RULES, Game, InvalidGame, Rules
from scoundrel_ray.games import connect_four, tic_tac_toe
from tests.conformance import broken_games

GAMES = [connect_four.make, tic_tac_toe.make, broken_games.game]


@kernel(types.int64(RULES, types.int32[::1], types.uint64[::1], types.int16[::1]))
def steps_to_the_end(rules, state, stream, legal):
    """Steps of a random game; it ends in `state`."""
    rules.deal(state, stream)
    steps = 0
    while rules.seat(state) >= 0:
        count = rules.legal(state, legal)
        rules.step(state, legal[rng.below(stream, count)])
        steps += 1
    return steps


def in_python(game, state, stream):
    """The same with the rules called one by one."""
    legal = np.empty(game.max_legal, dtype=np.int16)
    game.rules.deal(state, stream)
    steps = 0
    while game.rules.seat(state) >= 0:
        game.rules.step(state, legal[rng.below(stream, game.rules.legal(state, legal))])
        steps += 1
    return steps


@pytest.mark.parametrize("entry", [steps_to_the_end, steps_to_the_end.launch], ids=["checked", "launch"])
def test_one_kernel_takes_the_rules_of_every_game(entry):
    for make in GAMES:
        game = make()
        for seed in range(20):
            state, stream = game.blank(), rng.stream(seed)
            slow_state, slow_stream = state.copy(), stream.copy()
            steps = entry(game.rules, state, stream, np.empty(game.max_legal, dtype=np.int16))
            assert 0 < steps <= game.max_steps
            assert steps == in_python(game, slow_state, slow_stream)
            assert state.tolist() == slow_state.tolist()
            assert stream.tolist() == slow_stream.tolist()
    assert len(steps_to_the_end.signatures) == 1


def test_a_kernel_refuses_other_types():
    game = tic_tac_toe.make()
    with pytest.raises(TypeError, match="No matching definition"):
        steps_to_the_end(game.rules, game.blank().astype(np.int64), rng.stream(0), np.empty(9, dtype=np.int16))
    assert len(steps_to_the_end.signatures) == 1


@pytest.mark.parametrize("make", GAMES, ids=["connect four", "tic-tac-toe", "two cards"])
def test_every_rule_has_a_python_twin_and_an_address(make):
    for name, each in make().rules._asdict().items():
        assert isinstance(each, Rule), name
        assert callable(each.py_func)
        assert not isinstance(each.py_func, Rule)
        assert each.address != 0
        assert each.__doc__ == each.py_func.__doc__


BYTES = types.int64(types.int32[::1])


@rule(BYTES, makes_arrays=False)
def bytes_of(state):
    return state.view(np.int8).sum()


@rule(BYTES)
def bytes_of_a_copy(state):
    return state.copy().view(np.int8).sum()


@kernel(types.int64(compiled.RuleType(BYTES), types.int32[:, ::1]))
def bytes_of_all(of_one, states):
    total, kept = 0, compiled.borrowed(states)
    for row in range(len(states)):
        total += of_one(kept[row])
        kept[row, 0] = -1
    return total


@pytest.mark.parametrize("each", [bytes_of, bytes_of_a_copy])
def test_a_borrowed_array_is_the_same_array_in_kernels_and_in_python(each):
    states = np.arange(12, dtype=np.int32).reshape(3, 4)
    assert bytes_of_all(each, states) == 66
    assert states[:, 0].tolist() == [-1] * 3
    assert compiled.borrowed(states) is states


def test_a_rule_that_makes_no_arrays_is_held_to_it():
    with pytest.raises(Exception, match="NRT required but not enabled"):

        @rule(BYTES, makes_arrays=False)
        def copies(state):
            return len(state.copy())

    @rule(BYTES)
    def may_copy(state):
        return len(state.copy())

    assert may_copy(np.zeros(3, np.int32)) == 3


def test_the_twin_gives_the_same():
    game = tic_tac_toe.make()
    state = game.deal(rng.stream(0))
    assert game.rules.step.py_func(state, 4) == 0
    assert game.rules.step(game.deal(rng.stream(0)), 4) == 0
    assert game.rules.step.py_func(state, 4) == game.rules.step(state, 4) == 1
    assert game.rules.seat.py_func(state) == game.rules.seat(state) == 1


@pytest.mark.parametrize("send", [pickle.dumps, lambda each: pickle.dumps({"rules": [each]})], ids=["alone", "within"])
def test_a_rule_refuses_to_be_pickled(send):
    with pytest.raises(TypeError) as error:
        send(tic_tac_toe.step)
    assert str(error.value) == (
        "rule step holds a machine address and cannot be sent to another process; "
        "send the game's config and build it there"
    )


def test_a_game_refuses_to_be_pickled():
    with pytest.raises(TypeError, match="rule deal holds a machine address and cannot be sent to another process"):
        pickle.dumps(tic_tac_toe.make())


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"seat": lambda state: 0}, "rule seat is function, wanted a function compiled with @rule(SEAT)"),
        ({"seat": tic_tac_toe.step}, f"rule seat has signature {compiled.STEP}, wanted {compiled.SEAT}"),
    ],
    ids=["plain function", "other signature"],
)
def test_a_game_refuses_what_is_no_such_rule(rules, message):
    with pytest.raises(InvalidGame, match=re.escape(f"game two cards: {message}")):
        broken_games.game(**rules)


def test_a_rule_with_other_arguments_is_named():
    with pytest.raises(TypeError, match=r"^rule step\(state\) has 1 arguments, wanted .*int64"):

        @compiled.rule(compiled.STEP)
        def step(state):
            return 0


def test_a_rule_is_compiled_with_its_signature_alone():
    @rule(compiled.SEAT)
    def seat(state):
        """Doc."""
        return state[0]

    assert seat(np.array([5], dtype=np.int32)) == seat.py_func([5]) == 5
    assert seat.__name__ == "seat"
    assert seat.__doc__ == "Doc."
    with pytest.raises(TypeError):
        seat(np.array([5.0]))


def test_rules_are_in_the_order_of_their_type():
    assert RULES.fields == Rules._fields
    assert [each.signature for each in tic_tac_toe.make().rules] == [part.signature for part in RULES.types]
    assert isinstance(tic_tac_toe.make(), Game)


@pytest.mark.parametrize("game", ["connect_four", "scoundrel", "tic_tac_toe"])
def test_a_game_loads_from_the_cache_in_another_process(game):
    """Numba aborts there for a function that calls itself: its cached code lacks a symbol."""
    module = f"scoundrel_ray.games.{game}"
    importlib.import_module(module)  # so that the cache is filled
    code = f"from scoundrel_ray import rng; from {module} import make; print(len(make().deal(rng.stream(0))))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr.splitlines()[0]
    assert int(result.stdout) > 0


@pytest.mark.parametrize(
    "module",
    [
        "scoundrel_ray.experience.selfplay",
        "scoundrel_ray.search",
        "scoundrel_ray.players",
        "scoundrel_ray.settings.build",
    ],
)
def test_workers_import_neither_torch_nor_ray(module):
    """They take 330 MB with torch, 150 MB without."""
    code = f"import sys, {module}; print(sorted({{'torch', 'ray'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
