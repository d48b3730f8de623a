"""Settings that lie in files of others run no code that is not installed, unless the user names its module."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scoundrel_ray.games import tic_tac_toe
from scoundrel_ray.playing.record import GameRecord, load_all, save_all
from scoundrel_ray.runs.directory import saved_config
from scoundrel_ray.settings import handed
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.storage.weights import load_weights, save_weights

EVIL = "runs.given.evil.make"


@pytest.fixture
def allowed(monkeypatch):
    """The modules that are allowed, emptied for a test."""
    found = set()
    monkeypatch.setattr(handed, "_allowed", found)
    handed._is_installed.cache_clear()
    yield found
    handed._is_installed.cache_clear()


@pytest.fixture
def given(tmp_path, monkeypatch):
    """A directory from somebody else: a module in it leaves a mark when it is imported."""
    place = tmp_path / "runs" / "given"
    place.mkdir(parents=True)
    (place / "evil.py").write_text(
        f"from pathlib import Path\nfrom scoundrel_ray.game import Game\nPath({str(tmp_path / 'mark')!r}).touch()\n"
        "def make() -> Game: ...\n"
    )
    (place.parent / "__init__.py").write_text((place / "evil.py").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield place
    assert not (tmp_path / "mark").exists()  # nothing of it was imported
    assert not any(name == "runs" or name.startswith("runs.") for name in sys.modules)


LINE = (
    "game._target_: got 'runs.given.evil.make' from {}, wanted a module that is installed: code of others may lie "
    "there; if it is yours, allow it with modules=[runs.given.evil]"
)


def test_the_settings_of_a_run_import_nothing_of_its_directory(given, allowed):
    path = given / "config.yaml"
    path.write_text(f"game: {{_target_: {EVIL}}}\n")
    with pytest.raises(InvalidConfig) as refused:
        saved_config(given)
    assert str(refused.value) == LINE.format(path)
    handed.allow("runs.given.evil")
    assert saved_config(given)["game"] == {"_target_": EVIL}


def test_a_record_imports_nothing_of_its_directory(given, allowed):
    path = given / "games.jsonl"
    save_all(path, [GameRecord({"_target_": EVIL}, [1])])
    with pytest.raises(InvalidConfig) as refused:
        load_all(path)
    assert str(refused.value) == LINE.format(f"{path}, line 1")
    handed.allow("runs.given.evil")
    assert len(load_all(path)) == 1


def test_a_network_of_a_weights_file_is_not_imported_either(given, allowed):
    spec = tic_tac_toe.make().spec
    path = given / "w.safetensors"
    save_weights(path, {"w": np.zeros(2, np.float32)}, spec, {"_target_": "runs.given.evil.Net"})
    with pytest.raises(InvalidConfig, match=r"^network._target_: got 'runs.given.evil.Net' from .*w.safetensors"):
        load_weights(path, spec)
    handed.allow("runs.given")
    assert load_weights(path, spec).network == {"_target_": "runs.given.evil.Net"}


@pytest.mark.parametrize(
    "target",
    ["scoundrel_ray.games.blob.make", "numpy.random.default_rng", "subprocess.Popen", "learners.alphazero.AlphaZero",
     "nowhere_at_all.make", "torch.nn.Linear", "sys.exit"],
)  # fmt: skip
def test_what_is_installed_or_nowhere_is_left_to_the_check_of_its_kind(allowed, target):
    handed.check_targets("file", {"deep": [{"own": {"_target_": target}}]})


@pytest.mark.parametrize("target", ["evil.make", "runs.given.make", "../evil.make", "", "evil"])
def test_what_lies_elsewhere_is_refused_however_deep(allowed, tmp_path, monkeypatch, target):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "runs").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = {"agents": {"a": {"learner": {"parts": [{}, {"_target_": target}]}}}}
    if target in ("", "../evil.make"):  # no module's name: nothing could be imported
        return handed.check_targets("file", settings)
    with pytest.raises(InvalidConfig, match=r"^agents.a.learner.parts\[1\]._target_: got '"):
        handed.check_targets("file", settings)


def test_a_directory_that_takes_the_name_of_an_installed_package_is_not_installed(allowed, tmp_path, monkeypatch):
    (tmp_path / "rich_evil.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(handed, "_editable", lambda: {"rich_evil": (tmp_path / "elsewhere",)})
    with pytest.raises(InvalidConfig):
        handed.check_targets("file", {"_target_": "rich_evil.make"})
    handed._is_installed.cache_clear()
    monkeypatch.setattr(handed, "_editable", lambda: {"rich_evil": (tmp_path,)})  # installed in place
    handed.check_targets("file", {"_target_": "rich_evil.make"})


def test_a_module_that_the_users_own_settings_name_is_allowed_and_no_neighbour_of_it(allowed):
    handed.allow_targets({"game": {"_target_": "my.games.make"}, "network": {"_target_": "rich.x"}})
    assert allowed == {"my.games", "rich"}
    assert handed._is_allowed("my.games.other") and handed._is_allowed("my.games.deep.make")
    assert not any(map(handed._is_allowed, ["my.evil.make", "my.gamesome.make", "my.games"]))


def test_our_own_packages_count_as_ours_where_they_lie_and_nowhere_else(allowed, tmp_path):
    """A directory beside the command that is called as one of ours, and found first, is not."""
    (tmp_path / "learners").mkdir()
    (tmp_path / "learners" / "__init__.py").write_text("raise SystemExit('imported')\n")
    root = Path(handed.__file__).parents[2]
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(root)!r}]\n"
        "from scoundrel_ray.settings import handed\n"
        "handed.check_targets('file', {'_target_': 'learners.alphazero.AlphaZero'})\n"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 1 and "InvalidConfig: _target_: got 'learners.alphazero.AlphaZero'" in told.stderr
