"""Cleanup's rules once more, slowly: sets of cells and dicts of agents, written from the words of the rules alone.

Of chance it draws nothing: the order of moves is told, and what came to the river and grew in the orchard is checked to
be allowed, then taken over.
"""

MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


class SlowCleanup:
    """The field: `waste` and `apples` are sets of (row, column); `agents` are dicts with `at` and `facing`."""

    def __init__(self, width, height, waste, apples, agents, options):
        self.width, self.height, self.options = width, height, options
        rows = (height - 2) // 3
        inside = {(y, x) for y in range(1, height - 1) for x in range(1, width - 1)}
        self.inside = inside
        self.river = {(y, x) for y, x in inside if y <= rows}
        self.orchard = {(y, x) for y, x in inside if y >= height - 1 - rows}
        self.waste, self.apples, self.agents = set(waste), set(apples), agents

    def what(self, cell):
        """The name of what is seen of a cell."""
        if cell not in self.inside:
            return "wall"
        if any(agent["at"] == cell for agent in self.agents):
            return "agent"
        if cell in self.river:
            return "waste" if cell in self.waste else "water"
        if cell in self.orchard:
            return "apple" if cell in self.apples else "grass"
        return "ground"

    def view(self, cell, reach):
        """What is seen from a cell, by row."""
        (y, x), steps = cell, range(-reach, reach + 1)
        return [self.what((y + down, x + right)) for down in steps for right in steps]

    def ray(self, agent, aside):
        """Cells that a ray goes through, in order, up to its reach."""
        (y, x), (down, right) = agent["at"], MOVES[agent["facing"]]
        y, x = (y, x + aside) if down else (y + aside, x)
        return [(y + far * down, x + far * right) for far in range(1, self.options["beam"] + 1)]

    def first(self, agent, aside, wanted):
        """The first cell of a ray that holds what is wanted, unless something else ends the ray."""
        for cell in self.ray(agent, aside):
            if self.what(cell) in ("wall", "agent", wanted):
                return cell if self.what(cell) == wanted else None
        return None

    def turn(self, actions, order):
        """What each agent gets by a turn's moves and beams."""
        got = [0.0] * len(self.agents)
        for number in order:
            if actions[number] not in MOVES:
                continue
            agent, (down, right) = self.agents[number], MOVES[actions[number]]
            agent["facing"] = actions[number]
            target = agent["at"][0] + down, agent["at"][1] + right
            if self.what(target) in ("wall", "agent"):
                continue
            got[number] += target in self.apples
            self.apples.discard(target)
            agent["at"] = target
        for number, agent in enumerate(self.agents):
            if actions[number] == "fine":
                got[number] -= self.options["fine_cost"]
                hit = [self.first(agent, aside, "agent") for aside in (-1, 0, 1)]
                for other, victim in enumerate(self.agents):
                    got[other] -= self.options["fine"] * (victim["at"] in hit)
        cleaners = [agent for number, agent in enumerate(self.agents) if actions[number] == "clean"]
        self.waste -= {self.first(agent, aside, "waste") for agent in cleaners for aside in (-1, 0, 1)}
        if self.options["reward"] == "shared":
            got = [sum(got) / len(got)] * len(got)
        return got

    def chance(self):
        """Of an apple on an empty cell of the orchard."""
        share = len(self.waste) / len(self.river)
        depletion, restoration = self.options["depletion"], self.options["restoration"]
        if share >= depletion:
            return 0.0
        return self.options["apple_rate"] * min(1.0, (depletion - share) / (depletion - restoration))

    def take_over(self, waste, apples):
        """The waste and apples after growth; says what is not allowed about them."""
        came, grown = waste - self.waste, apples - self.apples
        assert self.waste <= waste and self.apples <= apples, "something went away"
        assert len(came) <= 1 and came <= self.river
        saturated = len(self.waste) >= self.options["depletion"] * len(self.river) - 1e-9
        assert not (came and saturated), "waste came to a river full of it"
        self.waste = set(waste)
        standing = {agent["at"] for agent in self.agents}
        assert grown <= self.orchard - standing
        assert not grown or self.chance() > 0
        self.apples = set(apples)
