"""Missions on worker processes: the same records from any number of them, whichever die."""

import json
import time

import psutil
import pytest

from actors.missions import RunnerConfig, run
from scoundrel_ray.missions.lineup import lineups
from scoundrel_ray.missions.mission import Mission, MissionConfig
from scoundrel_ray.missions.prepare import prepared, section_of
from scoundrel_ray.missions.record import key_of, line_of
from scoundrel_ray.missions.wrappers import BACKENDS
from tests.missions.test_episode import WORLDS

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]
OWN = "tests.missions.own_policies"
KNOWN = {name: {"_target_": f"scoundrel_ray.missions.drivers.{name}"} for name in ("random", "rule")}


def records(policies, names=("hunt", "pole"), count=12, workers=2, size=None, note=None, **config):
    """Records in order; with a size of 1 no episodes are played side by side."""
    configs = {name: MissionConfig(WORLDS[name]) for name in names}
    missions = {name: Mission(name, config) for name, config in configs.items()}
    lined = lineups(policies)
    ready = {
        (name, lineup.member): [
            (each.title, each.share, prepared(each, section_of(each, KNOWN), mission)) for each in lineup.policies
        ]
        for name, mission in missions.items()
        for lineup in lined.each
    }
    todo, found = {played: range(count) for played in ready}, []
    config.setdefault("block_s", 0.0 if size == 1 else 1e9)
    agents = {name: each.world.agents for name, each in missions.items()}
    run(configs, ready, agents, todo, 7, workers, RunnerConfig(**config), note or found.extend)
    return sorted(found, key=key_of)


def bad(what, **data):
    return {"policy": f"{OWN}.Bad", "data": {"what": what, **data}, "name": "own"}


def test_records_are_the_same_from_any_number_of_workers_and_any_blocks():
    policies = ["random", {"policy": f"{OWN}.Remembers"}, {"policy": f"{OWN}.Rows"}]
    one = records(policies, workers=1)
    assert [key_of(each)[::2] for each in one] == [(name, k) for name in ("hunt", "pole") for k in range(12)]
    assert {each["policy"] for each in one[0]["agents"].values()} == {"random", f"{OWN}.Remembers", f"{OWN}.Rows"}
    assert all(each["failure"] is None for each in one)
    others = [records(policies, workers=3), records(policies, size=1)]
    for other in [*others, *(records(policies, workers=1, backend=way) for way in BACKENDS)]:
        assert b"".join(map(line_of, other)) == b"".join(map(line_of, one))


def test_members_of_a_group_play_in_turn():
    found = records([{"group": "g", "of": ["random", "rule"]}], names=("hunt",), count=2)
    assert [(each["member"], each["episode"]) for each in found] == [
        ("random", 0), ("random", 1), ("rule", 0), ("rule", 1)
    ]  # fmt: skip
    assert {agent["policy"] for agent in found[2]["agents"].values()} == {"rule"}


def test_who_kills_its_process_loses_its_own_episode_alone():
    good = records([bad("")])
    found = records([bad("dies")])
    assert [line_of(each) for each in found if each["episode"] != 2] == [
        line_of(each) for each in good if each["episode"] != 2
    ]
    for each in (each for each in found if each["episode"] == 2):
        assert each["failure"]["kind"] == "worker" and "(3 times)" in each["failure"]["message"]
        assert all(agent["return"] is None for agent in each["agents"].values())


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_failures_do_not_depend_on_the_backend(backend):
    for what in ("raises", "dies"):
        own = {"policy": f"{OWN}.Bad", "data": {"what": what, "episode": 1}, "name": "own"}
        plainly = records([own], names=("hunt",), count=2)
        assert records([own], names=("hunt",), count=2, backend=backend) == plainly
        assert [each["failure"] is None for each in plainly] == [True, False]


def test_who_kills_its_process_once_changes_nothing(tmp_path):
    own = {"policy": f"{OWN}.DiesOnce", "name": "own", "data": {"file": str(tmp_path / "died")}}
    found = records([own], names=("hunt",))
    assert (tmp_path / "died").exists()
    assert json.dumps(found) == json.dumps(records([own], names=("hunt",)))
    assert all(each["failure"] is None for each in found)


def test_who_hangs_is_given_up_at_its_deadline():
    good, found = (
        records([bad(what)], names=("hunt",), step_deadline_s=limit) for what, limit in (("", 0), ("hangs", 3))
    )
    assert [line_of(each) for each in found[:2] + found[3:]] == [line_of(each) for each in good[:2] + good[3:]]
    assert found[2]["failure"]["kind"] == "deadline"
    assert found[2]["failure"]["message"] == "a step was not over within its deadline"


def test_children_end_with_their_worker_whatever_they_are_at():
    before = children()
    found = records([bad("hangs")], names=("hunt",), workers=1, backend="process", step_deadline_s=3.0)
    assert [each["episode"] for each in found if each["failure"]] == [2]
    end = time.monotonic() + 60
    while children() - before:
        assert time.monotonic() < end, "a child outlived its worker"
        time.sleep(0.1)


def children():
    """Ids of all children of workers on this machine that this test may have started."""
    found = set()
    for each in psutil.process_iter(["pid", "cmdline"]):
        if any("scoundrel_ray.missions.processes" in part for part in each.info["cmdline"] or ()):
            found.add(each.info["pid"])
    return found


def test_a_batch_that_fails_as_a_whole_is_played_one_by_one():
    found = records([{"policy": f"{OWN}.ShortRows", "data": {"what": "list"}}], names=("pole",), count=3)
    assert ["act_batch gave" in each["failure"]["message"] for each in found] == [True] * 3


def test_workers_have_one_hash_seed_whatever_the_callers_is():
    found = records([{"policy": "tests.missions.own_policies.OfHashes", "name": "own"}], names=("pole",), size=1)
    assert len({each["agents"]["agent"]["length"] for each in found}) >= 1
    again = records([{"policy": "tests.missions.own_policies.OfHashes", "name": "own"}], names=("pole",), workers=1)
    assert found == again and all(each["failure"] is None for each in found)


def test_what_the_listener_raises_ends_everything():
    def note(_records):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        records(["random"], note=note)


def test_who_draws_from_the_processs_generators_draws_the_same_whoever_does_so_too():
    """Of batches, other policies, workers and blocks, none moves another's draws."""
    own = {"policy": f"{OWN}.Global", "name": "own"}
    alone = records([own], size=1, workers=1)
    assert all(each["failure"] is None for each in alone)
    for other in (records([own], workers=2), records([own], backend="process")):
        assert [line_of(each) for each in other] == [line_of(each) for each in alone]
    assert len({each["hash"] for each in alone}) == len(alone)
