"""Whether a world keeps the contract of `scoundrel_ray.world`: `check_world`, to be called on your own world as well.

Random episodes are played, every second one mostly by the world's guide, and all that the contract promises is checked
in their states. Rules run on arrays between fences, so that a write past an end is found and does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.conformance.fenced import GARBAGE, Fenced
from scoundrel_ray.conformance.of_games import without_numba
from scoundrel_ray.world import ALL, HERE, ILLEGAL, LEFT, OK, OVER, TERMINATED, TRUNCATED, InvalidWorld, World


@dataclass
class Episode:
    """An episode in progress: its state and stream, and how it came there, for messages.

    Attributes:
        origin: the call that began it.
        moves: played since, each the actions of those that acted, by agent.
        ended: how each agent ended, or HERE.
        seen: what each agent observed last.
    """

    world: World
    origin: str
    state: Fenced
    stream: np.ndarray
    moves: list[dict[int, int]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    seen: list[np.ndarray] = field(default_factory=list)

    def broken(self, rule: str, got: Any, wanted: Any) -> InvalidWorld:
        """The error to raise: one line that names the rule and the state."""
        where = f"state: {self.origin}, actions by agent {self.moves}"
        return InvalidWorld(f"world {self.world.name}: rule {rule} gave {got}, wanted {wanted}; {where}")

    def copy(self) -> Episode:
        state = Fenced(self.world.state_size, np.int32, self.state.array)
        return Episode(
            self.world, self.origin, state, self.stream.copy(), list(self.moves), list(self.ended), self.seen
        )

    def call(self, rule: str, *arguments: Any, keeps: bool = True) -> int:
        """The result of a rule; header and fences must stay, and the whole state if the rule `keeps` it."""
        before, outs = self.state.array.tobytes(), [each for each in arguments if isinstance(each, Fenced)]
        given = [each.array if isinstance(each, Fenced) else each for each in arguments]
        result = int(getattr(self.world.rules, rule)(self.state.array, *given))
        if keeps and self.state.array.tobytes() != before:
            raise self.broken(rule, "a changed state", "an untouched one")
        header = tuple(map(int, self.state.array[: len(self.world.header)]))
        if header != self.world.header:
            raise self.broken(rule, f"the header {header}", f"it untouched: {self.world.header}")
        if not all(fenced.intact() for fenced in (self.state, *outs)):
            raise self.broken(rule, "a write outside the arrays that it was given", "none")
        return result

    def mask(self, agent: int) -> list[int]:
        """What `mask` writes, whatever the array held before."""
        results = []
        for garbage in GARBAGE:
            out = Fenced(len(self.world.action_names), np.int8, garbage)
            if (status := self.call("mask", agent, out)) != OK:
                raise self.broken("mask", f"status {status}", OK)
            results.append(out.array.tolist())
        if results[0] != results[1]:
            raise self.broken("mask", "two results for one state", "one, with every entry written")
        return results[0]

    def observe(self, agent: int) -> np.ndarray:
        """What an agent observes after what it observed last."""
        results = []
        for _ in range(2):
            out = Fenced(self.world.spec.observation_size, np.int8, self.seen[agent])
            if (status := self.call("observe", agent, out)) != OK:
                raise self.broken("observe", f"status {status}", OK)
            results.append(out.array)
        if (results[0] != results[1]).any():
            raise self.broken("observe", f"two results to agent {agent}", "one")
        return results[0]

    def step(self, actions: dict[int, int]) -> tuple[int, list[float]]:
        """Status and rewards of a step; of those that do not act it gets an action that none would take."""
        given = Fenced(len(self.world.agents), np.int16, len(self.world.action_names))
        gained = Fenced(len(self.world.agents), np.float32, 0.0)
        for agent, action in actions.items():
            given.array[agent] = action
        stream = Fenced(4, np.uint64, self.stream)
        before = given.array.tobytes()
        status = self.call("step", given, stream, gained, keeps=False)
        if given.array.tobytes() != before:
            raise self.broken("step", "changed actions", "untouched ones")
        self.stream = stream.array.copy()
        return status, gained.array.tolist()


def check_world(world: World, episodes: int = 20, seed: int = 0, twins: int = 1) -> None:
    """Play random episodes and check all that the contract promises; returns None if it is kept.

    Args:
        world: the rules.
        episodes: to be played, compiled.
        seed: of all that is random.
        twins: episodes in which every rule is compared with its plain Python function; slow.

    Raises:
        InvalidWorld: in one line: the rule, what it gave, what was wanted, and how to reproduce the state.
    """
    for number in range(episodes):
        check_one(begun(world, seed, number), rng.stream(seed, number, 1), number % 2 == 1)
    made: dict[Any, Any] = {}
    rules = {name: (each, without_numba(each, made)) for name, each in world.rules._asdict().items()}
    for number in range(episodes, episodes + twins):
        check_twins(begun(world, seed, number), rng.stream(seed, number, 1), rules)


def begun(world: World, seed: int, number: int) -> Episode:
    """A fresh episode from `reset`, which must depend on its stream alone."""
    stream = rng.stream(seed, number)
    episode = Episode(
        world, f"reset(stream({seed}, {number}))", Fenced(world.state_size, np.int32), stream, [],
        [HERE] * len(world.agents), [np.zeros(world.spec.observation_size, np.int8) for _ in world.agents],
    )  # fmt: skip
    episode.state.array[: len(world.header)] = world.header
    drawn = Fenced(4, np.uint64, stream)
    if (status := episode.call("reset", drawn, keeps=False)) != OK:
        raise episode.broken("reset", f"status {status}", OK)
    episode.stream = drawn.array.copy()
    return episode


def check_one(episode: Episode, dice: np.ndarray, guided: bool) -> None:
    """Check every state of one random episode."""
    world = episode.world
    most = world.most_turns * len(world.agents)
    while True:
        acting = movers(episode)
        check_ended(episode, acting)
        for agent in acting:
            check_observation(episode, agent)
        _check_shown(episode)
        if not acting:
            return
        if len(episode.moves) >= most:
            raise episode.broken("mover", "an episode that goes on", f"its end within {world.most_turns} turns")
        allowed = {agent: allowed_to(episode, agent) for agent in acting}
        check_refusals(episode, allowed)
        actions = {}
        for agent in acting:
            choice = opinion(episode, agent, allowed[agent], dice.copy())
            drawn = allowed[agent][rng.below(dice, len(allowed[agent]))]
            actions[agent] = choice if guided and rng.below(dice, 4) else drawn
        play(episode, actions)


def movers(episode: Episode) -> list[int]:
    """Who acts next, none if the episode is over."""
    mover, agents = episode.call("mover"), len(episode.world.agents)
    if mover == OVER:
        return []
    if mover != ALL and not 0 <= mover < agents:
        raise episode.broken("mover", mover, f"0 to {agents - 1}, ALL = {ALL} or OVER = {OVER}")
    acting = [agent for agent in range(agents) if episode.ended[agent] == HERE and mover in (ALL, agent)]
    if not acting:
        raise episode.broken("mover", mover, "an agent that is still there")
    return acting


def check_ended(episode: Episode, acting: list[int]) -> None:
    """Nobody comes back, and an episode is over exactly when everybody has ended."""
    for agent, known in enumerate(episode.ended):
        if (got := episode.call("ended", agent)) != known:
            raise episode.broken("ended", f"{got} for agent {agent}", f"{known}, as no step said that an agent left")
    if not acting and HERE in episode.ended:
        raise episode.broken("mover", OVER, "an agent to act: not all have ended")


def check_observation(episode: Episode, agent: int) -> None:
    """Every entry is within the range of its field; the agent has seen it from now on."""
    entries = episode.seen[agent] = episode.observe(agent)
    for part in episode.world.observation:
        values, entries = entries[: part.size].tolist(), entries[part.size :]
        if min(values) < part.low or max(values) > part.high:
            raise episode.broken("observe", f"{part.name} {values} to agent {agent}", f"{part.low} to {part.high}")


def allowed_to(episode: Episode, agent: int) -> list[int]:
    """The actions that an agent may take: at least one, and all where the world says that it masks nothing."""
    mask = episode.mask(agent)
    if set(mask) - {0, 1} or not any(mask) or (not episode.world.masked and not all(mask)):
        wanted = "0 and 1, at least one 1" if episode.world.masked else "1 everywhere: masked is False"
        raise episode.broken("mask", f"{mask} to agent {agent}", wanted)
    return [action for action, one in enumerate(mask) if one]


def opinion(episode: Episode, agent: int, allowed: list[int], stream: np.ndarray) -> int:
    """The guide's action: allowed, and always the same for the same stream."""
    action, again = (episode.call("guide", agent, Fenced(4, np.uint64, stream)) for _ in range(2))
    if action != again or action not in allowed:
        raise episode.broken("guide", f"{action}, then {again}, to agent {agent}", f"twice the same one of {allowed}")
    return action


def check_refusals(episode: Episode, allowed: dict[int, list[int]]) -> None:
    """An action that is masked, or that the world has not, is refused and changes nothing."""
    usual = {agent: actions[0] for agent, actions in allowed.items()}
    for agent, actions in allowed.items():
        for action in sorted(set(range(-1, len(episode.world.action_names) + 1)) - set(actions)):
            trial = episode.copy()
            status, gained = trial.step({**usual, agent: action})
            if status != ILLEGAL:
                raise episode.broken("step", f"status {status} for action {action} of agent {agent}", ILLEGAL)
            if trial.state.array.tobytes() != episode.state.array.tobytes() or any(gained):
                raise episode.broken("step", f"a change by action {action} of agent {agent}", "none: it is refused")


def play(episode: Episode, actions: dict[int, int]) -> None:
    """Step; the same step gives the same state, and rewards are numbers. Note who left."""
    trial = episode.copy()
    outcome = trial.step(actions)
    status, gained = episode.step(actions)
    if not np.isfinite(gained).all():
        raise episode.broken("step", f"rewards {gained}", "finite ones")
    if outcome != (status, gained) or trial.state.array.tobytes() != episode.state.array.tobytes():
        raise episode.broken("step", f"two outcomes of {actions}", "one: all chance is in the stream")
    if status not in (OK, LEFT):
        raise episode.broken("step", f"status {status} for {actions}", f"{OK} or LEFT = {LEFT}")
    episode.moves.append(actions)
    if status == LEFT:
        before = list(episode.ended)
        for agent, known in enumerate(before):
            now = episode.call("ended", agent)
            if now not in (HERE, TERMINATED, TRUNCATED) or (known not in (HERE, now)):
                raise episode.broken("ended", f"{now} for agent {agent}", known or "0, 1 or 2")
            episode.ended[agent] = now
            if now != known:
                check_observation(episode, agent)
        if episode.ended == before:
            raise episode.broken("step", f"LEFT = {LEFT}", "0: no agent ended")


def _check_shown(episode: Episode) -> None:
    shown, seen = (getattr(episode.world, name)(episode.state.array) for name in ("text", "picture"))
    if not isinstance(shown, str) or not shown.strip():
        raise episode.broken("text", repr(shown), "a text")
    if not isinstance(seen, np.ndarray) or seen.dtype != np.uint8 or seen.ndim != 3 or seen.shape[2] != 3:
        raise episode.broken("picture", f"{getattr(seen, 'dtype', type(seen))}", "uint8 [height, width, 3]")


def check_twins(episode: Episode, dice: np.ndarray, rules: dict[str, tuple[Any, Any]]) -> None:
    """Compare every rule with its plain Python function in every state of a random episode."""
    world = episode.world
    agents, actions = len(world.agents), len(world.action_names)

    def compare(name: str, *arguments: Any) -> None:
        """Results and all arrays must be equal."""
        results = []
        for function in rules[name]:
            given = [
                each.copy() if isinstance(each, np.ndarray) else each for each in (episode.state.array, *arguments)
            ]
            try:
                with np.errstate(over="ignore"):  # numpy warns where machine words wrap around
                    result = int(function(*given))
            except Exception as error:
                got = f"{type(error).__name__} as plain Python: {error}".splitlines()[0]
                raise episode.broken(name, got, "what it gives compiled") from error
            results.append((result, *(each.tolist() for each in given if isinstance(each, np.ndarray))))
        for compiled, twin in zip(*results, strict=True):
            if str(compiled) != str(twin):  # as text, so that nan equals nan
                raise episode.broken(name, f"{twin} as plain Python", f"{compiled} as compiled")

    compare("reset", dice)
    while acting := movers(episode):
        compare("mover")
        for agent in range(agents):
            compare("ended", agent)
            compare("observe", agent, episode.seen[agent])
        chosen = np.zeros(agents, dtype=np.int16)
        for agent in acting:
            compare("mask", agent, np.zeros(actions, dtype=np.int8))
            compare("guide", agent, dice)
            allowed = allowed_to(episode, agent)
            chosen[agent] = allowed[rng.below(dice, len(allowed))]
        compare("step", chosen, episode.stream, np.zeros(agents, dtype=np.float32))
        play(episode, {agent: int(chosen[agent]) for agent in acting})
