"""Policies in missions: what `python -m scripts.evaluate missions=[...] policies=[...]` does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

from scoundrel_ray.frames import save_animation
from scoundrel_ray.machine import cores
from scoundrel_ray.missions import plan, record, report, summary
from scoundrel_ray.missions.lineup import FOCAL, Lineups, lineups
from scoundrel_ray.missions.mission import Mission, MissionConfig
from scoundrel_ray.missions.record import Key, Record, Results, key_of
from scoundrel_ray.missions.wrappers import BATCH, THREAD
from scoundrel_ray.players import Participant
from scoundrel_ray.runs.directory import EVALUATIONS, fresh_path
from scoundrel_ray.runs.progress import ProgressBar
from scoundrel_ray.settings.checks import InvalidConfig, at_least, makeable, path_or_none
from scoundrel_ray.streams import Purpose, generator, stream
from scoundrel_ray.worlds.environments import plain_name
from scripts.chosen import chosen_missions, identity_of, prepared_policies, versions
from scripts.matches import finite
from scripts.measuring.formatting import format_number

if TYPE_CHECKING:
    from actors.missions import RunnerConfig


def evaluate_missions(console: Console, settings: dict[str, Any]) -> dict[str, Any]:
    """Play episodes of missions and say what the policies got; plain data of the same.

    Args:
        console: for progress and tables.
        settings: of `scripts.evaluate`.
    """
    from actors.cluster import connected
    from actors.missions import RunnerConfig

    seed, runner = settings["seed"], RunnerConfig(settings["jobs"], settings["backend"], settings["step_deadline_s"])
    at_least("seed", seed, 0)
    limit = Limit(settings["fail"])
    verify = settings["verify"]
    if verify is None:  # threads might share what nobody sees
        verify = VERIFIED if runner.backend == THREAD else 0
    at_least("verify", verify, 0)
    episodes = plan.numbers(settings["episodes"], settings["episode"])
    configs = chosen_missions(settings)
    missions = {name: Mission(name, config) for name, config in configs.items()}
    lined = lineups(settings["policies"])
    ready = prepared_policies(lined, missions)
    path = path_or_none("results", settings["results"])
    path = makeable("results", path or fresh_path(Path(settings["runs"]) / EVALUATIONS, "missions"))
    identity = identity_of(seed, configs, lined, ready)
    keys = [Key(name, each.member, episode) for name in missions for each in lined.each for episode in episodes]
    with Results(path, identity, versions()) as results:
        todo = [key for key in keys if key not in results]
        console.print(f"results: {path}: {len(keys) - len(todo)} of {len(keys)} episodes are there", soft_wrap=True)
        before = time.monotonic()
        team = Team(configs, missions, lined, ready, seed, runner)
        films = keys if settings["episode"] is not None else []
        if todo or films or verify:
            with connected(settings["cpus"]):
                if todo:
                    with ProgressBar("evaluation", console) as bar:
                        _play(console, bar, results, team, todo, limit)
                _verify(results, team, verify, keys)
                _film(console, results, team, films)
        results.sort(keys)
        found = _tell(console, results, keys, lined, seed)
        timing = {"seconds": time.monotonic() - before, "episodes": len(todo), "jobs": runner.jobs or cores()}
        results.write(record.TIMING, (json.dumps(timing) + "\n").encode())
    return {"results": str(path), **found, "timing": timing}


VERIFIED = 3  # episodes that are played again where policies are asked on threads


class Limit:
    """How many failed episodes end an evaluation.

    Args:
        fail: "first", a number, a share of the episodes, or "never".

    Raises:
        InvalidConfig: for anything else.
    """

    def __init__(self, fail: Any) -> None:
        number = isinstance(fail, int | float) and not isinstance(fail, bool)
        if fail not in ("first", "never") and not (number and (0 < fail < 1 or (fail >= 1 and fail == int(fail)))):
            raise InvalidConfig(f"fail: got {fail!r}, wanted first, never, a number >= 1, or a share below 1")
        self._fail: Any = fail

    def reached(self, failed: int, episodes: int) -> bool:
        """Whether so many of so many episodes are too many."""
        if self._fail == "never":
            return False
        if self._fail == "first":
            return failed >= 1
        return failed >= self._fail if self._fail >= 1 else failed > self._fail * episodes


class Team(NamedTuple):
    """Who plays what.

    Attributes:
        configs, missions: by name.
        lined: the lineups.
        ready: by mission and member the policies that play, title, share and what they are built from.
        seed: of the evaluation.
        runner: how episodes are dealt.
    """

    configs: Mapping[str, MissionConfig]
    missions: Mapping[str, Mission]
    lined: Lineups
    ready: Mapping[tuple[str, str], Sequence[tuple[str, float, Participant]]]
    seed: int
    runner: RunnerConfig

    def run(
        self, todo: Sequence[Key], workers: int, note: Callable[[list[Record]], None], how: RunnerConfig | None = None
    ) -> Mapping[tuple[str, str], plan.Blocks]:
        """See `actors.missions.run`."""
        from actors.missions import run

        agents = {name: each.world.agents for name, each in self.missions.items()}
        numbers: dict[tuple[str, str], list[int]] = {}
        for key in todo:
            numbers.setdefault((key.mission, key.member), []).append(key.episode)
        return run(self.configs, self.ready, agents, numbers, self.seed, workers, how or self.runner, note)


def _play(console: Console, bar: ProgressBar, results: Results, team: Team, todo: Sequence[Key], limit: Limit) -> None:
    """Play what is to be played; records are kept as they come."""
    workers = min(team.runner.jobs or cores(), len(todo))
    left = {name: sum(key.mission == name for key in todo) for name in team.missions}
    done = failed = 0

    def note(records: list[Record]) -> None:
        nonlocal done, failed
        for each in records:
            results.add(each)
            done += 1
            left[each["mission"]] -= 1
            if each["failure"] is not None:
                failed += 1
                _complain(console, each)
        told = [f"{failed} failed"] * bool(failed) + [f"{name} {many} left" for name, many in left.items() if many]
        bar.show(done / len(todo), ", ".join(told[:4]))
        if limit.reached(failed, len(todo)):
            raise RuntimeError(f"{failed} of {len(todo)} episodes failed; what was finished stands in {results.path}")

    dealt = team.run(todo, workers, note)
    for (name, member), blocks in dealt.items():
        of, took = f" of {member}" if member else "", format_number(1000 * blocks.episode_s)
        console.print(
            f"{name}{of}: {took} ms an episode and worker, up to {blocks.most} side by side, "
            f"{workers} worker{'s' * (workers > 1)}",
            soft_wrap=True,
        )


def _verify(results: Results, team: Team, count: int, keys: Sequence[Key]) -> None:
    """Play some episodes again, one by one, in a fresh process and in another order.

    Raises:
        RuntimeError: naming the first that comes out otherwise.
    """
    if not count:
        return
    drawn = generator(stream(team.seed, Purpose.MISSION_SEATS)).permutation(len(keys)).tolist()
    there = {key_of(each): each for each in results.records(keys[at] for at in drawn) if each["failure"] is None}
    sample = [*there][:count]
    again: list[Record] = []
    alone = replace(team.runner, backend=BATCH, block_s=0.0)
    team.run(sample[::-1], 1, again.extend, alone)
    for each in again:
        if each != (first := there[key_of(each)]):
            what = f"hash {first['hash']}, then {each['hash']}"
            raise RuntimeError(
                f"verify: {each['mission']}, episode {each['episode']} came out otherwise when it was played again: "
                f"{what}; a policy or the mission depends on more than its seed"
            )


def _film(console: Console, results: Results, team: Team, keys: Sequence[Key]) -> None:
    """Write an animation of each mission's episode, where it has pictures."""
    from actors.mission_actor import Job
    from actors.missions import film

    for key in keys:
        job = Job(key.mission, key.member, (key.episode,))
        records, frames = film(team.configs, team.ready, job, team.seed)
        there = next(results.records([key]))
        if records != [there]:
            raise RuntimeError(f"episode: {job.name} came out otherwise when it was played again; see verify=")
        if not frames:
            console.print(f"{job.name}: {key.mission} has no pictures", soft_wrap=True)
            continue
        file = results.path / (plain_name("-".join(filter(None, key[:2]))) + f"-{key.episode}.gif")
        save_animation(frames, file)
        console.print(f"written: {file}", soft_wrap=True)


def _complain(console: Console, each: Record) -> None:
    """Say at once that an episode failed."""
    failure = each["failure"]
    where = f"{each['mission']}, episode {each['episode']}, seed {each['seed']}"
    who = f", {failure['agent']}" if failure["agent"] else ""
    console.print(f"failed: {where}{who}, step {failure['step']}: {failure['message']}", soft_wrap=True, markup=False)


def _tell(console: Console, results: Results, keys: Sequence[Key], lined: Lineups, seed: int) -> dict[str, Any]:
    """Print and draw what the records say, and write it beside them."""
    roles = {title: policy.role for title, policy in lined.policies.items()}
    by = {"policy": summary.by_policy(lined.groups), "agent": summary.by_agent, "role": summary.by_role(roles)}
    rows = {name: summary.rows(results.records(keys), own, seed) for name, own in by.items()}
    for name, own in rows.items():
        if own and (name != "agent" or len(own) > len({row.mission for row in own})):
            report.show(console, own, name)
    found = {
        "episodes": len(keys),
        "failed": sum(each["failure"] is not None for each in results.records(keys)),
        **{f"by_{name}": [row.as_dict() for row in own] for name, own in rows.items()},
    }
    results.write(record.CSV, summary.as_csv(results.records(keys)))
    results.write(record.SUMMARY, (json.dumps(finite(found), indent=2) + "\n").encode())
    report.draw(rows["policy"], results.path / record.PLOT, f"{len(keys)} episodes")
    for name in (record.EPISODES, record.CSV, record.SUMMARY, record.PLOT):
        console.print(f"written: {results.path / name}", soft_wrap=True)
    return found


def compare_missions(console: Console, paths: Sequence[Path]) -> dict[str, Any]:
    """Put two evaluations side by side, episode by episode; plain data of the same.

    Of each the focal policies count, or all if none is focal.

    Raises:
        InvalidConfig: for more or fewer than two, or of episodes that are not the same.
    """
    if len(paths) != 2:
        raise InvalidConfig(f"compare: got {len(paths)} results of missions, wanted two")
    read = [record.read_results(path) for path in paths]
    seeds = [identity["seed"] for identity, _ in read]
    if seeds[0] != seeds[1]:
        raise InvalidConfig(f"compare: got seeds {seeds[0]} and {seeds[1]}, wanted the same episodes")
    worlds = [identity["missions"] for identity, _ in read]
    for name in worlds[0]:
        if name in worlds[1] and worlds[0][name] != worlds[1][name]:
            raise InvalidConfig(f"compare: mission {name} has other settings in {paths[1]} than in {paths[0]}")
    by = tuple(_counting(identity) for identity, _ in read)
    found = summary.differences(read[0][1], read[1][1], (by[0], by[1]), seeds[0])
    if not found:
        raise InvalidConfig("compare: they share no episode with a result")
    report.show_differences(console, (str(paths[0]), str(paths[1])), found)
    return {"differences": [each.as_dict() for each in found]}


def _counting(identity: Mapping[str, Any]) -> summary.By:
    """Which agents count in a comparison."""
    roles = {own["name"]: own["role"] for lineup in identity["lineups"] for own in lineup["policies"]}
    if FOCAL not in roles.values():
        return summary.by_agent
    return summary.by_role({name: role if role == FOCAL else "" for name, role in roles.items()})
