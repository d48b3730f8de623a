"""Metrics between two reports, written as lines and events, read back, drawn."""

import json

import matplotlib.image
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scoundrel_ray.runs.metrics import MetricsLog, Window, draw_curves, newest, panels, read


def report(step, **more):
    own = {"learner/agent/loss": 1.0 / step, "rollout/agent/score": None}
    return {"minutes": step / 10, "steps": step, **own, **more}


def test_a_window_weighs_what_is_added():
    window = Window()
    window.add("score", 2.0, 3)
    window.add("score", -6.0)
    assert (window.total("score"), window.weight("score"), window.mean("score")) == (0.0, 4.0, 0.0)
    assert (window.total("other"), window.weight("other"), window.mean("other")) == (0.0, 0.0, None)


def test_an_emptied_window_knows_the_names_and_counts_nothing():
    window = Window()
    window.add("loss", 2.0)
    window.add("score", 5.0, 3)
    fresh = window.emptied()
    assert fresh.names == ["loss", "score"] == window.names
    assert [(fresh.total(name), fresh.weight(name), fresh.mean(name)) for name in fresh.names] == [(0.0, 0.0, None)] * 2
    fresh.add("td_error", 1.0)
    fresh.add("loss", 4.0)
    assert fresh.emptied().names == ["loss", "score", "td_error"]
    assert (fresh.mean("loss"), window.mean("loss")) == (4.0, 2.0)


def scalars(run_dir, name):
    events = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_reports_come_back_as_lines_and_events(tmp_path):
    log = MetricsLog(tmp_path)
    reports = [report(1), report(2, **{"rollout/agent/score": -3.5, "inference/batch_histogram": {"64": 3, "8": 1}})]
    for one in reports:
        log.write(one)
    assert read(tmp_path / "metrics.jsonl") == reports
    assert scalars(tmp_path, "learner/agent/loss") == [(1, 1.0), (2, 0.5)]
    assert scalars(tmp_path, "rollout/agent/score") == [(2, -3.5)]
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"histograms": 0})
    events.Reload()
    [histogram] = events.Histograms("inference/batch_histogram")
    value = histogram.histogram_value
    assert (histogram.step, list(value.bucket_limit), list(value.bucket)) == (2, [8.0, 64.0], [1.0, 3.0])


def test_the_newest_value_of_every_metric():
    reports = [report(1, **{"rollout/agent/score": 4.0}), report(2), report(3, **{"learner/agent/loss": None})]
    wanted = {"minutes": 0.3, "steps": 3, "learner/agent/loss": 0.5, "rollout/agent/score": 4.0}
    assert newest(reports) == wanted


def test_an_empty_histogram_is_left_out(tmp_path):
    log = MetricsLog(tmp_path)
    log.write(report(1, **{"inference/batch_histogram": {}}))
    log.write(report(2, **{"inference/batch_histogram": {"8": 0}}))
    assert len(read(tmp_path / "metrics.jsonl")) == 2


def test_a_resumed_log_drops_what_was_lost(tmp_path):
    log = MetricsLog(tmp_path)
    for step in (10, 20, 30):
        log.write(report(step))
    log = MetricsLog(tmp_path, last_step=20)
    log.write(report(25))
    assert [line["steps"] for line in read(tmp_path / "metrics.jsonl")] == [10, 20, 25]
    assert [step for step, _ in scalars(tmp_path, "learner/agent/loss")] == [10, 20, 25]


def test_a_resumed_log_drops_lines_of_the_same_steps_that_were_written_later(tmp_path):
    """A learner may wait while games go on: their number would go backwards."""
    log = MetricsLog(tmp_path)
    for games in (1, 2, 3):
        log.write({**report(10), "minutes": games / 10, "rollout/games": games})
    MetricsLog(tmp_path, last_step=10, minutes=0.2)
    assert [line["rollout/games"] for line in read(tmp_path / "metrics.jsonl")] == [1, 2]


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(report(1)) + "\n" + json.dumps(report(2))[:9])
    assert read(path) == [report(1)]
    log = MetricsLog(tmp_path, last_step=1)
    log.write(report(3))
    assert read(path) == [report(1), report(3)]


@pytest.mark.parametrize("count", [0, 1, 30])
def test_curves_are_drawn(tmp_path, count):
    draw_curves([report(step) for step in range(1, count + 1)], tmp_path / "curves.png", "a run")
    height, width, _ = matplotlib.image.imread(tmp_path / "curves.png").shape
    assert height > 300 and width > 1000


def of_agents(step, *agents, **more):
    return {
        "minutes": step / 10,
        "steps": step,
        "inference/leaves_per_s": 100.0,
        "inference/batch_histogram": {"8": 1},
        **{f"learner/{name}/{metric}": 1.0 / step for name in agents for metric in ("loss", "td_error", "steps")},
        **{f"rollout/{name}/score": 0.5 for name in agents},
        **more,
    }


def test_whatever_a_learner_gives_is_drawn():
    """A panel for each word that its metrics end in; counts are not drawn, nor what was never told."""
    own = {"learner/agent/policy_loss": 1.0, "learner/agent/q": 3.0, "learner/agent/silent": None}
    reports = [of_agents(1, "agent"), of_agents(2, "agent", **own)]
    assert panels(reports) == [
        ("loss", ["learner/agent/loss", "learner/agent/policy_loss"]),
        ("error", ["learner/agent/td_error"]),
        ("q", ["learner/agent/q"]),
        ("self-play score", ["rollout/agent/score"]),
        ("leaves a second", ["inference/leaves_per_s"]),
    ]
    assert panels([]) == []


def test_agents_share_the_panels():
    shown = dict(panels([of_agents(1, "wide", "narrow")]))
    assert shown["loss"] == ["learner/wide/loss", "learner/narrow/loss"]
    assert shown["error"] == ["learner/wide/td_error", "learner/narrow/td_error"]
    assert shown["self-play score"] == ["rollout/wide/score", "rollout/narrow/score"]


def test_curves_of_several_agents_bear_their_names(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    labels, plot = [], Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda self, *a, **more: labels.append(more["label"]) or plot(self, *a, **more))
    draw_curves([of_agents(step, "wide", "narrow") for step in (1, 2)], tmp_path / "two.png", "two")
    assert {"wide loss", "narrow loss", "wide td error", "narrow td error", "wide score"} <= set(labels)
    labels.clear()
    draw_curves([of_agents(step, "agent") for step in (1, 2)], tmp_path / "one.png", "one")
    assert {"loss", "td error", "score"} <= set(labels)
