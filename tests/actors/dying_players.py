"""Players that end their own process, always or once."""

import os
import signal
from pathlib import Path

from scoundrel_ray.game import Game
from scoundrel_ray.players import RulePlayer


class AlwaysDies(RulePlayer):
    def __init__(self, game: Game) -> None:
        super().__init__(game, heuristic=False)

    def choose(self, states, streams):
        os.kill(os.getpid(), signal.SIGKILL)


class DiesOnce(RulePlayer):
    """Ends its process if nobody has done so before, which a file tells."""

    def __init__(self, game: Game, file: str) -> None:
        super().__init__(game, heuristic=False)
        self.file = Path(file)

    def choose(self, states, streams):
        if self.file.exists():
            return super().choose(states, streams)
        self.file.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)


class Refuses(RulePlayer):
    def __init__(self, game: Game, kind: str) -> None:
        super().__init__(game, heuristic=False)
        self.kind = {"value": ValueError, "runtime": RuntimeError, "memory": MemoryError}[kind]

    def choose(self, states, streams):
        raise self.kind("no move pleases me")
