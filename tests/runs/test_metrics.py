"""Metrics between two reports, written as lines and events, read back, drawn."""

import json

import matplotlib.image
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scoundrel_ray.runs.metrics import MetricsLog, Window, draw_curves, newest, read


def report(step, **more):
    return {"minutes": step / 10, "learner/steps": step, "learner/loss": 1.0 / step, "rollout/score": None, **more}


def test_a_window_weighs_what_is_added():
    window = Window()
    window.add("score", 2.0, 3)
    window.add("score", -6.0)
    assert (window.total("score"), window.weight("score"), window.mean("score")) == (0.0, 4.0, 0.0)
    assert (window.total("other"), window.weight("other"), window.mean("other")) == (0.0, 0.0, None)


def scalars(run_dir, name):
    events = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_reports_come_back_as_lines_and_events(tmp_path):
    log = MetricsLog(tmp_path)
    reports = [report(1), report(2, **{"rollout/score": -3.5, "inference/batch_histogram": {"64": 3, "8": 1}})]
    for one in reports:
        log.write(one)
    log.close()
    assert read(tmp_path / "metrics.jsonl") == reports
    assert scalars(tmp_path, "learner/loss") == [(1, 1.0), (2, 0.5)]
    assert scalars(tmp_path, "rollout/score") == [(2, -3.5)]
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"histograms": 0})
    events.Reload()
    [histogram] = events.Histograms("inference/batch_histogram")
    value = histogram.histogram_value
    assert (histogram.step, list(value.bucket_limit), list(value.bucket)) == (2, [8.0, 64.0], [1.0, 3.0])


def test_the_newest_value_of_every_metric():
    reports = [report(1, **{"rollout/score": 4.0}), report(2), report(3, **{"learner/loss": None})]
    wanted = {"minutes": 0.3, "learner/steps": 3, "learner/loss": 0.5, "rollout/score": 4.0}
    assert newest(reports) == wanted


def test_an_empty_histogram_is_left_out(tmp_path):
    log = MetricsLog(tmp_path)
    log.write(report(1, **{"inference/batch_histogram": {}}))
    log.write(report(2, **{"inference/batch_histogram": {"8": 0}}))
    log.close()
    assert len(read(tmp_path / "metrics.jsonl")) == 2


def test_a_resumed_log_drops_what_was_lost(tmp_path):
    log = MetricsLog(tmp_path)
    for step in (10, 20, 30):
        log.write(report(step))
    log.close()
    log = MetricsLog(tmp_path, last_step=20)
    log.write(report(25))
    log.close()
    assert [line["learner/steps"] for line in read(tmp_path / "metrics.jsonl")] == [10, 20, 25]
    assert [step for step, _ in scalars(tmp_path, "learner/loss")] == [10, 20, 25]


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(report(1)) + "\n" + json.dumps(report(2))[:9])
    assert read(path) == [report(1)]
    log = MetricsLog(tmp_path, last_step=1)
    log.write(report(3))
    log.close()
    assert read(path) == [report(1), report(3)]


@pytest.mark.parametrize("count", [0, 1, 30])
def test_curves_are_drawn(tmp_path, count):
    draw_curves([report(step) for step in range(1, count + 1)], tmp_path / "curves.png", "a run")
    height, width, _ = matplotlib.image.imread(tmp_path / "curves.png").shape
    assert height > 600 and width > 1000
