"""Every game of conf/game plays as its playthroughs say; see tests/games/playthrough.py for how to write them anew."""

from pathlib import Path

import pytest

from tests.games.playthrough import DIRECTORY, PLAYTHROUGHS, path_of, write

CONF = Path(__file__).parents[2] / "conf" / "game"


@pytest.mark.parametrize("name", PLAYTHROUGHS)
def test_a_game_is_played_and_shown_as_its_playthrough_says(name):
    # Line by line, so that a failure names the first that differs.
    assert write(name).splitlines() == path_of(name).read_text(encoding="utf-8").splitlines()


def test_every_game_has_a_playthrough_and_every_text_is_compared():
    assert {playthrough.game for playthrough in PLAYTHROUGHS.values()} == {path.stem for path in CONF.glob("*.yaml")}
    assert {path.stem for path in DIRECTORY.iterdir()} == set(PLAYTHROUGHS)
