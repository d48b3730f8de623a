"""What a run is told: checked records of its settings, made before anything starts."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scoundrel_ray.runs.measures import ArenaConfig, EpisodesConfig, EvaluationConfig
from scoundrel_ray.settings.build import settings_of
from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting, at_least, one_of, switch, within

# Fine steps: on a CPU a new size costs a few milliseconds once, and rows of padding cost as much as others.
BATCH_SIZES = (1, 8, 32, *range(64, 512, 64), *range(512, 2049, 128))


@dataclass(frozen=True)
class InferenceConfig:
    """Settings of the inference.

    Attributes:
        transport: "ray": calls to one threaded actor; "shm": the same actor, through shared memory from workers on its
            node, by calls from all others; "local": a server in every worker's own process, for workers that have
            cores, memory and no common accelerator.
        max_batch: most leaves in a batch.
        deadline_ms: longest that a request waits for others; never longer than a batch of the smallest size takes.
        share: of the leaves that live workers can supply, enough to fire.
        precision: "auto" (measured), "float32" or "bfloat16".
        batch_sizes: static sizes that batches are padded to, ascending.
        threads: batches under way at once, each on a core of its own; on a GPU one is prepared while another is
            evaluated.
        request_deadline_s: after which a worker gives a request up, naming the actor.
        device: as torch names it; "auto" for cuda where there is one, else cpu.
    """

    transport: str = "shm"
    max_batch: int = 2048
    deadline_ms: float = 2.0
    share: float = 0.4
    precision: str = "auto"
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    threads: int = 1
    request_deadline_s: float = 60.0
    device: str = "auto"

    def __post_init__(self) -> None:
        one_of("transport", self.transport, ("ray", "local", "shm"))
        at_least("max_batch", self.max_batch, 1)
        within("deadline_ms", self.deadline_ms, 0.0, 10_000.0)
        within("share", self.share, 0.0, 1.0)
        one_of("precision", self.precision, ("auto", "float32", "bfloat16"))
        at_least("threads", self.threads, 1)
        within("request_deadline_s", self.request_deadline_s, 0.1, 86400.0)
        if not isinstance(self.batch_sizes, tuple) or not self.batch_sizes:
            raise InvalidSetting("batch_sizes", f"got {self.batch_sizes!r}, wanted a list of integers")
        least = 1
        for size in self.batch_sizes:
            at_least("batch_sizes", size, least)
            least = size + 1


@dataclass(frozen=True)
class ClusterConfig:
    """Where actors run and what they may use.

    Attributes:
        cpus: of a local Ray; 0 for all of this machine's. A cluster (RAY_ADDRESS set) knows its own.
        rollout_cpus, inference_cpus, inference_gpus, learner_cpus, learner_gpus: resources of one actor each.
        learner_threads: of a process of learners. They share out its agents; one agent's learner has them all.
        learner_groups: which agents' learners share a process: "each" has its own, all share "one", or lists of names.
        stacking: whether learners of one form in a process are stepped together: "auto" where that is measured to be
            faster, "on" or "off".
        silent_s: seconds after which an actor that gives no sign is killed and replaced.
    """

    cpus: int = 0
    rollout_cpus: float = 0.0
    inference_cpus: float = 0.0
    inference_gpus: float = 0.0
    learner_cpus: float = 0.0
    learner_gpus: float = 0.0
    learner_threads: int = 1
    learner_groups: Any = "each"
    stacking: str = "auto"
    silent_s: float = 30.0

    def __post_init__(self) -> None:
        at_least("cpus", self.cpus, 0)
        within("silent_s", self.silent_s, 1.0, 86400.0)
        at_least("learner_threads", self.learner_threads, 1)
        one_of("stacking", self.stacking, ("auto", "on", "off"))
        if isinstance(self.learner_groups, str):
            one_of("learner_groups", self.learner_groups, ("each", "one"))
        elif not _lists_of_names(self.learner_groups):
            raise InvalidSetting(
                "learner_groups", f"got {self.learner_groups!r}, wanted 'each', 'one', or lists of names"
            )
        for name in ("rollout_cpus", "inference_cpus", "inference_gpus", "learner_cpus", "learner_gpus"):
            within(name, getattr(self, name), 0.0, 1024.0)


def _lists_of_names(value: Any) -> bool:
    """Whether it is at least one list, each of at least one name."""
    lists = list | tuple
    return (
        isinstance(value, lists)
        and bool(value)
        and all(isinstance(names, lists) and names and all(isinstance(name, str) for name in names) for names in value)
    )


@dataclass(frozen=True)
class AgentSettings:
    """One learning identity of a run; the run has a value for each setting that it leaves out.

    Attributes:
        network, learner, replay: sections with `_target_`.
        replay_place: "learner": the replay lives in the learner's process; "actor": in one of its own, which the agents
            of a group share.
        when_behind: what becomes of its rows while its replay wants none: "hold" lets all workers wait for it, "drop"
            drops and counts them.
        publish_steps: learner steps between two versions of its weights.
        symmetries: its rows are learned from in all guises that the world's symmetries give them.
        frozen: it plays and does not learn.
        weights: path of a run, or of a weights file, that it starts from; None for fresh weights. A run of several
            agents is named with the agent: `runs/a:wide`.
    """

    network: Mapping[str, Any]
    learner: Mapping[str, Any]
    replay: Mapping[str, Any]
    publish_steps: int
    symmetries: bool
    replay_place: str = "actor"
    when_behind: str = "hold"
    frozen: bool = False
    weights: str | None = None

    def __post_init__(self) -> None:
        at_least("publish_steps", self.publish_steps, 1)
        one_of("when_behind", self.when_behind, ("hold", "drop"))
        if self.replay_place not in ("learner", "actor"):
            raise InvalidSetting("replay.place", f"got {self.replay_place!r}, wanted 'learner' or 'actor'")
        switch("symmetries", self.symmetries)
        switch("frozen", self.frozen)
        if self.weights is not None and (not isinstance(self.weights, str) or not self.weights):
            raise InvalidSetting("weights", f"got {self.weights!r}, wanted a path")
        if self.frozen and self.weights is None:
            raise InvalidSetting("weights", "got null, wanted the weights that a frozen agent plays with")


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training run needs, checked.

    Attributes:
        agents: by name.
        source: section with `_target_`: where experience comes from.
        workers: processes that gather experience.
        game, evaluation_search: sections with `_target_`, for the matches that measure the agents; None of a world's.
        inference, cluster, evaluation, arena, episodes: their checked settings.
        seed: of all random streams.
        minutes: wall-clock length of the training itself, over all resumptions, after which the run ends.
        steps: learner steps, of the agent that has done the fewest, after which it ends earlier; 0 for no such end.
        turns: whether workers and learners work in turn, one at a time: slow, and the same losses in every run.
        turn_shards: of the experience of a run in turn, each as large as a worker's otherwise. They are dealt to the
            workers, so that losses depend on the number of shards, and not on that of workers.
        report_s: seconds between two lines of metrics.
        checkpoint_s: seconds between two checkpoints.
        keep: checkpoints kept, the newest.
        keep_version_every_s: seconds of training between two checkpoints whose weights are kept for good, at least; 0
            for none.
    """

    agents: Mapping[str, AgentSettings]
    source: Mapping[str, Any]
    workers: int
    game: Mapping[str, Any] | None
    evaluation_search: Mapping[str, Any] | None
    inference: InferenceConfig
    cluster: ClusterConfig
    evaluation: EvaluationConfig
    arena: ArenaConfig = field(default_factory=ArenaConfig)
    episodes: EpisodesConfig = field(default_factory=EpisodesConfig)
    seed: int = 0
    minutes: float = 6.0
    steps: int = 0
    turns: bool = False
    turn_shards: int = 2
    report_s: float = 10.0
    checkpoint_s: float = 60.0
    keep: int = 2
    keep_version_every_s: float = 0.0

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        at_least("steps", self.steps, 0)
        at_least("keep", self.keep, 1)
        at_least("turn_shards", self.turn_shards, 1)
        switch("turns", self.turns)
        within("minutes", self.minutes, 0.01, 1e6)
        within("report_s", self.report_s, 0.1, 3600.0)
        within("checkpoint_s", self.checkpoint_s, 1.0, 86400.0)
        within("keep_version_every_s", self.keep_version_every_s, 0.0, 1e9)
        if not self.learning:
            raise InvalidConfig(
                f"agents: got {', '.join(self.agents) or 'none'}, wanted at least one that is not frozen"
            )
        grouped = [name for names in self.groups for name in names]
        if sorted(grouped) != sorted(self.learning):
            raise InvalidConfig(
                f"cluster.learner_groups: got {', '.join(grouped)}, wanted each agent that learns once: "
                f"{', '.join(self.learning)}"
            )
        if self.arena.every_s and self.game is None:
            raise InvalidConfig("arena.every_s: got matches without a game, wanted 0")
        if self.turns and self.inference.transport != "local":
            raise InvalidConfig(
                f"inference.transport: got {self.inference.transport!r} for a run in turn, wanted 'local': batches "
                "that workers share depend on who comes first"
            )
        if self.turns and self.workers > self.turn_shards:
            raise InvalidConfig(
                f"rollout.workers: got {self.workers} for a run in turn, wanted at most turn_shards, {self.turn_shards}"
            )

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Names of the agents whose learners share a process."""
        wanted = self.cluster.learner_groups
        if wanted == "each":
            return tuple((name,) for name in self.learning)
        if wanted == "one":
            return (tuple(self.learning),)
        return tuple(tuple(names) for names in wanted)

    @property
    def learning(self) -> list[str]:
        """Names of the agents that learn."""
        return [name for name, agent in self.agents.items() if not agent.frozen]


_RECORDS = {
    "inference": InferenceConfig,
    "cluster": ClusterConfig,
    "evaluation": EvaluationConfig,
    "arena": ArenaConfig,
    "episodes": EpisodesConfig,
}
_MEMBERS = ("game", "evaluation_search", "source")
_OF_AGENTS = ("network", "learner", "replay")  # the run's sections that an agent may have of its own
# What the source and the agents take from, and what says where a run is written.
_OF_COMMAND = {
    *_OF_AGENTS,
    "search",
    "world",
    "rollout",
    "curriculum",
    "publish_steps",
    "symmetries",
    "when_behind",
    "runs",
    "run_dir",
    "resume",
    "modules",
}
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def train_config(composed: Mapping[str, Any]) -> TrainConfig:
    """Checked settings of a training run from a plain composed config.

    Raises:
        InvalidConfig: naming the key.
    """
    names = {f.name for f in dataclasses.fields(TrainConfig)}
    for key in composed:
        if key not in names and key not in _OF_COMMAND:
            raise InvalidConfig(f"{key}: unknown; known are {', '.join(sorted(names | _OF_COMMAND))}")
    sections = {key: settings_of(key, composed.get(key) or {}, kind) for key, kind in _RECORDS.items()}
    members = {key: composed.get(key) for key in _MEMBERS}
    plain = names - {*_RECORDS, *_MEMBERS, "agents", "workers"}
    values = {name: value for name, value in composed.items() if name in plain}
    hints = typing.get_type_hints(TrainConfig)
    for name, value in values.items():
        if hints[name] is int and (isinstance(value, bool) or not isinstance(value, int)):
            raise InvalidConfig(f"{name}: got {value!r}, wanted int")
    workers = (composed.get("rollout") or {}).get("workers", 1)
    at_least("rollout.workers", workers, 1)
    return TrainConfig(agents=_agents(composed), workers=workers, **members, **sections, **values)


def _agents(composed: Mapping[str, Any]) -> dict[str, AgentSettings]:
    named = composed.get("agents")
    if not isinstance(named, Mapping) or not named:
        raise InvalidConfig(f"agents: got {named!r}, wanted a name and settings for each, such as {{agent: {{}}}}")
    found = {}
    for name, given in named.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidConfig(f"agents: got the name {name!r}, wanted small letters, digits and _, a letter first")
        own = {} if given is None else given
        if not isinstance(own, Mapping):
            raise InvalidConfig(f"agents.{name}: got {own!r}, wanted settings")
        sections = {key: _own_section(f"agents.{name}.{key}", composed[key], own.get(key)) for key in _OF_AGENTS}
        plain = {key: composed[key] for key in ("publish_steps", "symmetries", "when_behind")}
        place = {"replay_place": sections["replay"].pop("place")} if "place" in sections["replay"] else {}
        found[name] = settings_of(f"agents.{name}", {**plain, **own, **sections, **place}, AgentSettings)
    return found


def _own_section(key: str, of_run: Mapping[str, Any], own: Any) -> dict[str, Any]:
    """An agent's section: the run's with the agent's settings in it; the agent's alone if that names a `_target_`."""
    if own is None:
        return dict(of_run)
    if not isinstance(own, Mapping):
        raise InvalidConfig(f"{key}: got {own!r}, wanted settings")
    if "_target_" in own:
        return dict(own)
    for name in own:
        if name not in of_run:
            known = ", ".join(each for each in of_run if each != "_target_")
            raise InvalidConfig(f"{key}.{name}: unknown; the run's has {known}")
    return {**of_run, **own}
