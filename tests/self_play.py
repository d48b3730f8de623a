"""Self-play of given rules and a given search, without the sections of a run."""

import dataclasses

from scoundrel_ray.experience.selfplay import SelfPlaySource


def source_of(game, search, seats=None, curriculum=(), **rollout):
    """A source that plays `game` itself, so that tests may make games which no section names."""
    kind = type(search)
    section = {"_target_": f"{kind.__module__}.{kind.__qualname__}", **dataclasses.asdict(search)}
    source = SelfPlaySource({}, section, rollout, curriculum, seats)
    vars(source)["built_game"] = game  # in place of what the section would make
    return source


def self_play(game, search, evaluator, seed, path=(0, 0), **rollout):
    """A worker's self-play of one agent, which learns from whole rows; `rollout` holds its settings."""
    source = source_of(game, search, **rollout)
    return source.collector({"agent": source.role}, {"agent": evaluator}, seed, path)


def rows_of(found):
    """Rows and report of one agent alone."""
    by_agent, report = found
    assert list(by_agent) == ["agent"]
    return by_agent["agent"], report
