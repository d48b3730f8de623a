"""Benchmark figures: ratios, what is reached, and what is shown of them."""

from rich.console import Console

from scripts.measuring.environment import environment
from scripts.measuring.figures import Figure, Figures
from scripts.measuring.timing import least_seconds

BOTH = Figure("a", 300.0, "leaves/s", "peer", 100.0, wanted=200.0, wanted_ratio=4.0)
ALONE = Figure("b", 300.0, "leaves/s", "a peer that is not installed", None, wanted_ratio=2.0)


def test_what_is_wanted_is_reached_only_if_all_of_it_is():
    assert BOTH.ratio == 3.0 and BOTH.reached is False
    assert Figure("a", 300.0, "leaves/s", "peer", 100.0, wanted=200.0, wanted_ratio=3.0).reached is True
    assert ALONE.ratio is None and ALONE.reached is None  # nothing to compare with, nothing claimed


def test_less_is_better_where_a_most_is_given():
    big, small = (Figure("memory", value, "MB", most=1500.0) for value in (1501.0, 1500.0))
    assert big.reached is False and small.reached is True
    console = Console(record=True, width=200)
    console.print(Figures([big]).table())
    assert "at most 1,500 MISSED" in console.export_text()


def test_the_first_call_warms_up_and_is_not_counted():
    calls = []
    assert least_seconds(lambda: calls.append(1), 3) >= 0.0
    assert len(calls) == 4


def test_zero_is_wanted_in_so_many_words():
    console = Console(record=True, width=200)
    console.print(Figures([Figure("a", 0.2, "points", wanted=0.0), Figure("b", -0.2, "points", wanted=0.0)]).table())
    cells = [line.split("│")[-2].split() for line in console.export_text().splitlines() if "points" in line]
    assert cells == [["0", "reached"], ["0", "MISSED"]]


def test_figures_are_shown_and_drawn(tmp_path):
    console = Console(record=True, width=200)
    console.print(Figures([BOTH, ALONE]).table())
    text = console.export_text()
    assert "3 x" in text and "MISSED" in text
    Figures([BOTH, ALONE]).draw(tmp_path / "plot.png", "title")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    assert environment()["cores"] >= 1
