"""What a run keeps of each agent, how one is named, and what runs of before agents had names still give."""

import numpy as np
import pytest
from omegaconf import OmegaConf

from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.checkpoint import load_part, load_run, packed, weights_file
from scoundrel_ray.runs.directory import (
    agents_of,
    checkpoint_weights,
    named_weights,
    run_and_agent,
    start_weights,
    trained_weights,
    versions,
)
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.storage.durable import StorageError, write_file
from scoundrel_ray.storage.weights import load_weights, pack_weights, save_weights
from tests.runs.test_checkpoint import assert_same
from tests.test_network import game_of

SPEC = game_of("tic_tac_toe").spec
NETWORK = {"_target_": "x.Y", "width": 3}


def arrays_of(number):
    return {"a": np.full((2, 3), number, np.float32)}


def part(number):
    """Of an agent that learns."""
    return {
        "counters": {"steps": number, "version": number},
        "learner": {"learner": {"weights": arrays_of(number)}, "guises": {"words": {"state": str(2**100 + number)}}},
        "replay": {"rows": np.arange(number, dtype=np.int64), "next": number},
    }


def content_of(**more):
    """Of a run with two agents that learn, whose names begin alike, and one that does not."""
    agents = {"wide": part(7), "wide_2": part(9), "past": {"counters": {"steps": 0, "version": 0}}}
    weights = {name: pack_weights(arrays_of(n), SPEC, NETWORK, n) for n, name in enumerate(agents)}
    return {"agents": agents, "weights": weights, "counters": {"seconds": 1.5, "steps": 7}, **more}


@pytest.mark.parametrize("more", [{}, {"arena": {"best": {"wide": 3}, "history": [[1, 0.5]]}}], ids=["run", "arena"])
def test_a_runs_content_comes_back(tmp_path, more):
    content = content_of(**more)
    path = checkpoint.save(tmp_path, packed(content))
    got = load_run(path)
    counters = {**content["counters"], "agents": {name: each["counters"] for name, each in content["agents"].items()}}
    assert_same(got, {"agents": content["agents"], "counters": counters, **more})
    assert list(got["agents"]) == ["wide", "wide_2", "past"]
    for number, name in enumerate(content["agents"]):
        assert_same(load_weights(path / weights_file(name), SPEC).arrays, arrays_of(number))
    assert {file.name for file in path.iterdir() if file.suffix == ".safetensors"} >= {
        "wide.safetensors", "wide_2.safetensors", "past.safetensors"
    }  # fmt: skip


def test_an_agents_part_is_read_alone(tmp_path, monkeypatch):
    path = checkpoint.save(tmp_path, packed(content_of()))
    for name, number in (("wide", 7), ("wide_2", 9)):
        assert_same(load_part(path, name), part(number))
    for damaged in path.glob("wide_2.replay*"):
        damaged.unlink()
    assert_same(load_part(path, "wide"), part(7))
    with pytest.raises(StorageError, match="cannot read"):
        load_part(path, "wide_2")
    with pytest.raises(StorageError, match=r"it holds no 'past\.learner'"):
        load_part(path, "past")


# Runs of before agents had names.


@pytest.fixture
def earlier(tmp_path):
    """Such a run: its config has no agents, and its weights bear no name."""
    run = tmp_path / "old"
    run.mkdir()
    OmegaConf.save(
        OmegaConf.create({"game": {"_target_": "scoundrel_ray.games.tic_tac_toe.make"}}), run / "config.yaml"
    )
    old = part(5)
    for step in (4, 5):
        checkpoint.save(
            run,
            {
                "learner": old["learner"],
                "replay": old["replay"],
                "counters": {"steps": step},
                "weights.safetensors": pack_weights(arrays_of(step), SPEC, NETWORK, step),
            },
        )
    save_weights(run / "start.safetensors", arrays_of(1), SPEC, NETWORK)
    (run / "agents").mkdir()
    for step in (2, 3):
        write_file(run / "agents" / f"{step:08d}.safetensors", pack_weights(arrays_of(step), SPEC, NETWORK, step))
    return run


def test_an_earlier_run_cannot_be_gone_on_with_and_says_so_in_one_line(earlier):
    path = checkpoint.latest(earlier)
    for read in (load_run, lambda path: load_part(path, "agent")):
        with pytest.raises(StorageError) as error:
            read(path)
        assert "\n" not in str(error.value) and str(path) in str(error.value)
    with pytest.raises(StorageError, match=r"^cannot go on from .*: it was written before agents had names; "):
        load_run(path)


def test_the_weights_of_an_earlier_run_are_still_read(earlier):
    assert agents_of(earlier) == [None]
    assert run_and_agent(str(earlier)) == (earlier, None)
    assert_same(trained_weights(earlier, SPEC, None).arrays, arrays_of(5))
    assert_same(named_weights(str(earlier), SPEC).arrays, arrays_of(5))
    assert_same(start_weights(earlier, SPEC, None).arrays, arrays_of(1))
    assert [load_weights(path).version for path in versions(earlier, None)] == [2, 3]
    assert [load_weights(path).version for path in checkpoint_weights(earlier, None)] == [4, 5]


# An agent of a run by its name.


def made_run(path, agents):
    path.mkdir(parents=True)
    OmegaConf.save(OmegaConf.create({"game": {"_target_": "x"}, "agents": agents}), path / "config.yaml")
    return path


def test_a_runs_only_learner_need_not_be_named(tmp_path):
    run = made_run(tmp_path / "a", {"wide": {}, "past": {"frozen": True, "weights": "x"}})
    assert agents_of(run) == ["wide"]
    assert run_and_agent(str(run)) == run_and_agent(f"{run}:wide") == (run, "wide")
    assert run_and_agent(str(run), several=True) == (run, "wide")
    bare = made_run(tmp_path / "b", {"wide": None})
    assert run_and_agent(str(bare)) == (bare, "wide")


def test_of_several_one_is_named(tmp_path):
    run = made_run(tmp_path / "a", {"wide": {}, "narrow": {}})
    for name in ("wide", "narrow"):
        assert run_and_agent(f"{run}:{name}") == run_and_agent(f"{run}:{name}", several=True) == (run, name)
    assert run_and_agent(str(run), several=True) == (run, None)


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        ("a", r"it has agents wide, narrow, wanted .*a:<agent>$"),
        ("a:deep", r"got agent 'deep', wanted one of wide, narrow$"),
        ("a:past", r"got agent 'past', wanted one of wide, narrow$"),
        ("none", "cannot read .*config.yaml"),
        ("none:wide", "cannot read .*config.yaml"),
    ],
)
def test_no_such_agent_is_one_line(tmp_path, suffix, message):
    made_run(tmp_path / "a", {"wide": {}, "narrow": {}, "past": {"frozen": True, "weights": "x"}})
    with pytest.raises(InvalidConfig, match=rf"^run {tmp_path}/.*: {message}") as error:
        run_and_agent(str(tmp_path / suffix))
    assert "\n" not in str(error.value)


def test_a_directory_with_a_colon_is_a_run(tmp_path):
    run = made_run(tmp_path / "a:wide", {"agent": {}})
    assert run_and_agent(str(run)) == (run, "agent")
    assert run_and_agent(f"{run}:agent") == (run, "agent")


def test_weights_are_those_of_the_named_agent(tmp_path):
    run = made_run(tmp_path / "a", {"wide": {}, "wide_2": {}, "past": {"frozen": True, "weights": "x"}})
    path = checkpoint.save(run, packed(content_of()))
    for number, name in enumerate(("wide", "wide_2")):
        assert_same(named_weights(f"{run}:{name}", SPEC).arrays, arrays_of(number))
        assert checkpoint_weights(run, name) == [path / f"{name}.safetensors"]
    assert_same(named_weights(str(path / "past.safetensors"), SPEC).arrays, arrays_of(2))
    with pytest.raises(StorageError, match="made for another game"):
        named_weights(f"{run}:wide", game_of("connect_four").spec)
