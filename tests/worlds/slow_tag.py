"""The rules of tag once more, slowly: dicts of agents and sets of cells, written from the words of the rules alone.

Of chance it draws nothing: the order of moves and where caught runners go are told.
"""

MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1), "stay": (0, 0)}


class SlowTag:
    """The field: `free` is the set of cells (row, column) that are no walls; `at` says where each agent stands."""

    def __init__(self, free, at):
        self.free, self.at = free, dict(at)

    def what(self, cell):
        """The name of what is seen of a cell."""
        if cell not in self.free:
            return "wall"
        return next((name.partition("_")[0] for name, at in self.at.items() if at == cell), "empty")

    def runners(self):
        """Those that are there."""
        return [name for name in self.at if name.startswith("runner")]

    def view(self, cell, reach):
        """What is seen from a cell, by row."""
        (y, x), steps = cell, range(-reach, reach + 1)
        return [self.what((y + down, x + right)) for down in steps for right in steps]

    def beside(self, name, move):
        """The cell that an agent's move leads to."""
        (y, x), (down, right) = self.at[name], MOVES[move]
        return y + down, x + right

    def turn(self, actions, order):
        """What each agent gets by a turn, and where each that was caught stood; it is nowhere afterwards."""
        got = dict.fromkeys(self.at, 0)
        for name in order:
            if name in self.at and self.what(self.beside(name, actions[name])) == "empty":
                self.at[name] = self.beside(name, actions[name])
        caught = {}
        for runner in self.runners():
            near = [self.beside(runner, move) for move in ("up", "down", "left", "right")]
            catchers = [name for name, at in self.at.items() if name.startswith("tagger") and at in near]
            for tagger in catchers:
                got[tagger] += 1
            if catchers:
                got[runner] -= 1
                caught[runner] = self.at[runner]
        for runner in caught:
            del self.at[runner]
        return got, caught
