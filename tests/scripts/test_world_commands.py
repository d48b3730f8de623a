"""Runs of worlds by their commands: trained, measured at their end beside others, and measured again later."""

import json

import pytest
from PIL import Image

HUNT = [
    "experiment=treasure_hunt",
    "agents=five",
    "world.agents=5",
    "world.turns=10",
    "world.spawn=0.1",
    "+agents.agent_1.weights={weights}",
    "+agents.agent_1.frozen=true",
    "network.width=8",
    "learner.precision=float32",
    "inference.precision=float32",
    "rollout.workers=1",
    "rollout.copies=8",
    "rollout.steps=400",
    "replay.min_rows=100",
    "steps=20",
    "minutes=5",
    "episodes.count=30",
    "episodes.shard=8",
    "+episodes.teams.mixed=[agent_0,random,rule,agent_1,agent_0]",
]


@pytest.mark.ray
def test_a_worlds_run_is_measured_at_its_end_and_again_later_with_the_same_result(run, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    code, _, err = run(
        "train", *(each for each in HUNT if "agent_1" not in each), f"run_dir={first}", "episodes.count=0"
    )
    assert code == 0, err
    assert not (first / "evaluation.png").exists()
    code, out, err = run("train", *(each.format(weights=f"{first}:agent_1") for each in HUNT), f"run_dir={second}")
    assert code == 0, err
    summary = json.loads((second / "summary.json").read_text())
    found = summary["evaluation"]
    assert found["episodes"] == 30 and set(found["returns"]) == {"trained", "random", "rule", "mixed"}
    assert set(found["versions"]) == {f"agent_{number}" for number in (0, 2, 3, 4)}  # the frozen one learned nothing
    for own in found["returns"].values():
        assert [*own] == [f"agent_{number}" for number in range(5)]
        assert all(each["low"] < each["mean"] < each["high"] for each in own.values())
    means = {team: sum(each["mean"] for each in own.values()) for team, own in found["returns"].items()}
    assert means["rule"] > means["random"] and set(found["lengths"].values()) == {10.0}
    assert "return in 30 held episodes" in out and "mixed" in out and "least" in out
    assert Image.open(second / "evaluation.png").size[0] > 100

    before = {each: each.read_bytes() for each in second.rglob("*") if each.is_file()}
    code, out, err = run("evaluate", f"checkpoint={second}", "games=30", "json=true")
    assert code == 0, err
    again = json.loads(out)  # and nothing else on stdout
    assert again["returns"] == found["returns"] and again["versions"] == found["versions"]
    assert {each: each.read_bytes() for each in before} == before
    assert len([*(second / "evaluations").rglob("evaluation.png")]) == 1
    code, out, err = run("evaluate", f"checkpoint={second}", "games=7", f"plot={tmp_path / 'own.png'}")
    assert code == 0 and "return in 7 held episodes" in out and (tmp_path / "own.png").exists(), err
    code, _, err = run("evaluate", f"checkpoint={second}", "simulations=8")
    assert code == 2 and err == "error: simulations: got 8 with a run of a world, wanted it left out\n"
