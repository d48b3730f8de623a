"""Every game of conf/game, in every reading of its rules, keeps the contract; broken games are found out."""

import dataclasses
import importlib
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from scoundrel_ray import rng
from scoundrel_ray.conformance import check_game
from scoundrel_ray.game import Game, InvalidGame
from scoundrel_ray.settings.build import build
from tests.conformance import broken_games

CONF = Path(__file__).parents[2] / "conf" / "game"
SIZES = {  # of games whose options are numbers; small, as they are played through
    "blob": [
        {"players": 3, "cards": 17},
        {"players": 8, "cards": 6},
        {"players": [3, 6], "cards": 3},
        {"mode": "game", "players": 3, "cards": 2},
        {"mode": "game", "players": [3, 4], "cards": 2, "one_card_rounds": "players_and_one"},
    ]
}


def section(name) -> Any:
    return OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))


def options_of(path):
    """OPTIONS (name -> values) of a game's module, or of one that it takes its names from; {} where it has none."""
    module = importlib.import_module(path.rpartition(".")[0])
    modules = [module, *(part for _, part in inspect.getmembers(module, inspect.ismodule))]
    return next((part.OPTIONS for part in modules if hasattr(part, "OPTIONS")), {})


def readings():
    """(config name, changed options) of every game: as configured, with each other value of each option, in sizes."""
    for name in sorted(path.stem for path in CONF.glob("*.yaml")):
        yield name, {}
        for key, values in options_of(section(name)["_target_"]).items():
            yield from ((name, {key: value}) for value in values if value != section(name)[key])
        yield from ((name, changes) for changes in SIZES.get(name, []))


def label(value):
    return value if isinstance(value, str) else "-".join(map(str, value.values())) or "as configured"


@pytest.mark.parametrize(("name", "changes"), list(readings()), ids=label)
def test_game_keeps_the_contract(name, changes):
    """With the compiled rules compared with their plain Python in some thousand states."""
    game = build("game", {**section(name), **changes}, Game)
    share = max(1, game.seats - 1)  # states of many seats take long: each seat is observed and redealt
    check_game(game, games=(60 if changes else 1000) // share, seed=1, twins=(8 if changes else 100) // share)


def test_every_option_of_scoundrel_is_found():
    found = {key for name, changes in readings() for key in changes if name == "scoundrel"}
    assert found == set(section("scoundrel")) - {"_target_"}


def test_all_options_at_once():
    """The least official reading of everything, as options could hide each other's faults."""
    options = options_of(section("scoundrel")["_target_"])
    changes = {key: values[-1] for key, values in options.items()}
    check_game(build("game", {**section("scoundrel"), **changes}, Game), games=100, seed=2, twins=8)


def test_the_unbroken_game_keeps_the_contract():
    check_game(broken_games.game(), games=200, twins=20)


@pytest.mark.parametrize("name", broken_games.BROKEN)
def test_a_broken_promise_is_named(name):
    broken = broken_games.BROKEN[name]
    game = broken_games.game(**broken.rules, **broken.attributes)
    with pytest.raises(InvalidGame) as error:
        check_game(game, games=50, twins=5)
    message = str(error.value)
    assert message.startswith(f"game two cards: {broken.says}"), message
    assert broken.wanted in message
    assert "\n" not in message


def test_the_message_reproduces_the_state():
    """The calls that it lists lead to two states that differ in what the seat cannot know, and in what it is told."""
    game = broken_games.game(heuristic=broken_games.heuristic_peeks)
    with pytest.raises(InvalidGame) as error:
        check_game(game, games=50, seed=3, twins=0)
    _, _, where = str(error.value).partition("; state: ")
    calls, _, actions = where.partition(", actions ")
    first, _, second = calls.partition(", redeal")
    state = game.deal(rng.stream(*numbers(first)))
    seat, *path = numbers(second.partition(" after ")[0])
    for action in numbers(actions):
        state = game.step(state, action)
    other = game.redeal(state, seat, rng.stream(*path))
    bids = [game.rules.heuristic(each, rng.stream(0)) for each in (state, other)]
    assert f"rule heuristic gave {bids[1]}, wanted {bids[0]}, as before redeal for seat {seat}" in str(error.value)
    assert (game.observe(state, seat) == game.observe(other, seat)).all()
    assert np.flatnonzero(state != other).tolist() == [3 - seat]


def numbers(text):
    return [int(word) for word in "".join(c if c.isdigit() else " " for c in text).split()]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seats": 0}, "seats is 0, wanted an integer >= 1"),
        ({"max_steps": 1.5}, "max_steps is 1.5, wanted an integer >= 1"),
        ({"max_legal": 1025}, "max_legal is 1025, wanted at most 1024"),
        ({"actions": 40_000}, "actions is 40000, wanted at most 32767"),
        ({"header": (1,) * 99}, "a header of 99 in a state of"),
        ({"observation": ()}, "wanted at least one field of observation"),
        ({"action_names": ("same", "same")}, "wanted .* different action names"),
        ({"value_knots": ((0.0, -1.0), (0.0, 1.0))}, "ascending scores"),
    ],
)
def test_sizes_that_kernels_have_no_room_for_are_refused(change, says):
    with pytest.raises(InvalidGame, match=f"game two cards: .*{says}"):
        dataclasses.replace(broken_games.game(), **change)
