"""Train agents, then measure them: of games against what they started from, of worlds beside random players and rules.

python -m scripts.train                                Scoundrel, on this machine's cores
python -m scripts.train experiment=connect_four        settings that belong together: conf/experiment
python -m scripts.train experiment=treasure_hunt       ten agents in one world, each with a learner of its own
python -m scripts.train resume=runs/...                go on with a run, with its own settings
python -m scripts.train -m rollout.games=128,256,512   one run for each, in turn
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from scoundrel_ray.evaluation import standings
from scoundrel_ray.experience.selfplay import SelfPlaySource
from scoundrel_ray.experience.source import Source
from scoundrel_ray.game import Game
from scoundrel_ray.machine import library_versions
from scoundrel_ray.notices import warn
from scoundrel_ray.players import baselines_for
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.directory import (
    CURVES,
    EVALUATION,
    METRICS,
    PAUSE,
    SUMMARY,
    RunDirectory,
    fresh_path,
    newest_checkpoint,
    saved_config,
    start_weights,
    trained_weights,
)
from scoundrel_ray.runs.metrics import draw_curves, newest, read
from scoundrel_ray.runs.plan import RunPlan, source_of
from scoundrel_ray.runs.progress import ProgressBar
from scoundrel_ray.runs.settings import TrainConfig, train_config
from scoundrel_ray.settings.build import composed
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.storage.durable import StorageError
from scripts.entry import INTERRUPTED, run, wide_console
from scripts.matches import agent_section, participants
from scripts.notes import TOLD_ALONE, elo_note, state_note

# What may be changed when a run goes on; everything else is what its weights and curves stand for.
_MAY_CHANGE = ("minutes", "steps", "report_s", "checkpoint_s", "keep", "evaluation.", "episodes.", "cluster.")
_MAY_CHANGE += ("rollout.workers", "source.seats")  # who sits where, for agents that join
_FRESH = {"counters": {"steps": 0}}  # of an agent that joins


def train(config: DictConfig) -> int:
    """One run, or the rest of one; exit code."""
    console = wide_console()
    settings = composed(config)
    if settings["resume"] is not None:
        path = Path(settings["resume"])
        settings = _resumed_settings(path)
    else:
        path = None
    checked = train_config(settings)
    source = source_of(checked)
    from actors.checking import checked_plan

    plan = checked_plan(checked, source)
    if path is None:
        path = Path(settings["run_dir"] or fresh_path(Path(settings["runs"]), source.name))
        directory = RunDirectory.new(path, settings)
        restored = None
    else:
        directory = RunDirectory(path)
        newest_checkpoint(path)  # told if there is none
        restored = checkpoint.newest_whole(path, checkpoint.load_run)
        _check_unfinished(path, checked, restored)
        for name, spec in source.specs([*checked.agents]).items():
            if name in checked.learning and name in restored["agents"]:
                start_weights(path, spec, name)  # wanted at the end, and better missed now
        directory.write_config(settings)
    with contextlib.closing(directory):
        try:
            describe(console, settings, checked, path)
            return _train_and_measure(console, checked, source, plan, directory, restored)
        except BaseException:
            directory.abandon()
            raise


def _check_unfinished(path: Path, config: TrainConfig, restored: Mapping[str, Any]) -> None:
    """Refuse to go on with a run that has nothing left to do: its agent would be replaced by another."""
    minutes = restored["counters"]["trained_s"] / 60
    steps = min(restored["agents"].get(name, _FRESH)["counters"]["steps"] for name in config.learning)
    least = [f"minutes above {minutes:.3g}"] if minutes >= config.minutes else []
    least += [f"steps above {steps}"] if config.steps and steps >= config.steps else []
    if least:
        raise InvalidConfig(
            f"resume: {path} is at its end, {minutes:.3g} of {config.minutes:g} minutes and {steps} steps; "
            f"wanted {' and '.join(least)}, or measure it with: python -m scripts.evaluate checkpoint={path}"
        )


def _resumed_settings(path: Path) -> dict[str, Any]:
    """A run's own settings, with what the command line may change."""
    saved = saved_config(path)
    if "agents" not in saved:
        raise InvalidConfig(
            f"resume: {path} is a run of before agents had names; scoundrel_ray 0.1 goes on with it, and its weights "
            "can be evaluated and played"
        )
    settings = OmegaConf.create(saved)
    for override in HydraConfig.get().overrides.task:
        key, _, value = override.partition("=")
        if key in ("resume", "modules"):
            continue
        joins = key.startswith("+agents.") and key.split(".")[1] not in saved["agents"]
        if not joins and not key.startswith(_MAY_CHANGE):
            raise InvalidConfig(
                f"{key}: cannot change in a run that goes on; {', '.join(_MAY_CHANGE)} can, and +agents.<name> may join"
            )
        try:
            OmegaConf.update(settings, key.lstrip("+"), OmegaConf.from_dotlist([f"x={value}"]).x, force_add=joins)
        except Exception as error:
            raise InvalidConfig(f"{key}: cannot set to {value!r}: {str(error).splitlines()[0]}") from error
    return composed(settings)


def describe(console: Console, settings: Mapping[str, Any], config: TrainConfig, path: Path) -> None:
    """Resolved settings, actors and directory of a run, before it starts."""
    from actors.graph import actor_graph

    shown = {key: value for key, value in settings.items() if key not in ("runs", "run_dir", "resume", "modules")}
    # What the source takes from other sections is shown there.
    shown["source"] = {key: value for key, value in settings["source"].items() if value != settings.get(key, ())}
    console.print(OmegaConf.to_yaml(OmegaConf.create(shown)), markup=False, highlight=False)
    table = Table("actor", "count", "CPUs", "GPUs", "sends", title="actors")
    for row in actor_graph(config):
        table.add_row(row["actor"], str(row["count"]), f"{row['cpus']:g}", f"{row['gpus']:g}", row["sends"])
    console.print(table)
    console.print(f"run directory: {path}", markup=False, soft_wrap=True)


@contextlib.contextmanager
def _stopping(training: Any, console: Console) -> Iterator[None]:
    """A block in which the first Ctrl-C or SIGTERM lets the run save and end, and the second ends it at once."""

    def stop(_number: int, _frame: Any) -> None:
        if training.stopped:
            raise KeyboardInterrupt
        training.stop()
        console.print("stopping: saving the last state (once more to leave at once)")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _train_and_measure(
    console: Console,
    config: TrainConfig,
    source: Source,
    plan: RunPlan,
    directory: RunDirectory,
    restored: Mapping[str, Any] | None,
) -> int:
    from actors.cluster import connected
    from actors.training import Training

    started_at = psutil.Process().create_time()
    with connected(config.cluster.cpus):
        training = Training(config, source, directory, restored, plan)
        with _stopping(training, console), ProgressBar("training", console, config.report_s) as bar:
            note, elo = "starting actors", ""

            def show(report: dict[str, Any] | None) -> None:
                nonlocal note, elo
                if report is not None:
                    elo = elo_note(report) or elo
                    note = state_note(report, config.learning) + elo
                bar.show(
                    training.share, f"paused until {directory.path / PAUSE} is removed" if training.paused else note
                )

            training.run(show)
        supervisor = training.supervisor
        reports = read(directory.path / METRICS)
        try:
            draw_curves(reports, directory.path / CURVES, f"{source.name}: {directory.path.name}")
        except StorageError as error:  # a picture more or less: the run's figures are worth more
            warn(__name__, str(error))
        minutes = supervisor.trained_s / 60
        console.print(f"trained {minutes:.1f} min, {_steps(supervisor, config)} steps, {supervisor.games} games")
        if training.stopped:
            console.print(f"saved; go on with: python -m scripts.train resume={directory.path}", soft_wrap=True)
            return INTERRUPTED
        status = supervisor.status()
        summary: dict[str, Any] = {
            "game": source.name,
            "steps": supervisor.steps,
            "games": supervisor.games,
            "minutes": supervisor.trained_s / 60,
            "restarts": supervisor.restarts,
            "agents": {name: supervisor.told(name) for name in config.agents},
            "warnings": status["warnings"],
            "last_report": newest(reports),
            "libraries": library_versions(),
        }
        if supervisor.first_game_at is not None:
            summary["seconds_to_first_game"] = supervisor.first_game_at - started_at
        if _is_measured(config, source):
            try:
                summary["evaluation"] = _measured(console, config, source, directory)
            except KeyboardInterrupt:  # what was trained is saved
                directory.write_json(SUMMARY, summary)
                console.print(
                    f"saved; evaluate with: python -m scripts.evaluate checkpoint={directory.path}", soft_wrap=True
                )
                return INTERRUPTED
        elif "evaluation" in (before := directory.read_json(SUMMARY)):
            summary["evaluation"] = before["evaluation"]  # of weights that it names
        directory.write_json(SUMMARY, summary)
    written = [name for name in (SUMMARY, CURVES, EVALUATION) if (directory.path / name).exists()]
    console.print(f"written to {directory.path}: {', '.join(written)}", soft_wrap=True)
    return 0


def _is_measured(config: TrainConfig, source: Source) -> bool:
    return bool(config.evaluation.games if isinstance(source, SelfPlaySource) else config.episodes.count)


def _measured(console: Console, config: TrainConfig, source: Source, directory: RunDirectory) -> dict[str, Any]:
    """What the agents of a run are worth, printed, drawn and returned."""
    if isinstance(source, SelfPlaySource):
        return measure(console, config, source.built_game, directory)
    from scripts.episodes import measure_episodes

    return measure_episodes(console, config, source, directory.path, directory.path / EVALUATION)


def _steps(supervisor: Any, config: TrainConfig) -> str:
    """Steps of the agent, or of each by name."""
    steps = {name: supervisor.agents[name].steps for name in config.learning}
    if len(steps) > TOLD_ALONE:
        return f"{min(steps.values())} to {max(steps.values())}"
    return str(supervisor.steps) if len(steps) == 1 else ", ".join(f"{name} {own}" for name, own in steps.items())


def measure(console: Console, config: TrainConfig, game: Game, directory: RunDirectory) -> dict[str, Any]:
    """Standings of the trained agents over held deals, beside what they started from, the baselines and each other.

    They are printed, drawn and returned.
    """
    from actors.evaluation import evaluate

    alone = len(config.learning) == 1
    trained = {("trained" if alone else name): name for name in config.learning}
    start = {shown: "start" if alone else f"{name}_start" for shown, name in trained.items()}
    saved = {}
    for shown, name in trained.items():
        saved[shown] = trained_weights(directory.path, game.spec, name)
        saved[start[shown]] = start_weights(directory.path, game.spec, name)
    assert config.evaluation_search is not None
    agents = {shown: agent_section(each, config.evaluation_search) for shown, each in saved.items()}
    baselines = baselines_for(game, config.evaluation.players, config.evaluation.baselines)
    meets = {shown: [*(o for o in trained if o != shown), start[shown], *baselines] for shown in trained}
    matches = [match for shown, others in meets.items() for match in standings.pairings(game, shown, others)]
    matches = list(dict.fromkeys(matches))
    sections = {**config.evaluation.players, **agents}
    names = list(dict.fromkeys(name for match in matches for name in match))
    players = participants(game, sections, names, config.evaluation)
    before = time.monotonic()
    with ProgressBar("evaluation", console) as bar:
        scores = evaluate(game, players, matches, config.evaluation, lambda done, total: bar.show(done / total))
    found = standings.standings(game, scores)
    verdicts = [standings.verdict(game, scores, shown, other) for shown, others in meets.items() for other in others]
    standings.show(console, game, found, verdicts)
    standings.draw(found, directory.path / EVALUATION, f"{game.name}: {found[0].deals} held deals")
    return {
        "versions": {name: saved[shown].version for shown, name in trained.items()},
        "standings": [standing.as_dict() for standing in found],
        "verdicts": verdicts,
        "seconds": time.monotonic() - before,
    }


if __name__ == "__main__":
    run("train", train)
