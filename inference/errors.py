"""What an evaluation may raise, and how another process is told: a small number and a short text."""

from __future__ import annotations

from collections.abc import Sequence

from inference.batcher import QueueFull
from scoundrel_ray.evaluator import EvaluatorGone


class NonFiniteOutput(RuntimeError):
    """A network gave NaN or infinity; the message names the agent and the weights version."""


# The first that an error is an instance of tells it; RuntimeError stands for all others.
_KINDS: tuple[type[Exception], ...] = (EvaluatorGone, NonFiniteOutput, QueueFull, ValueError, RuntimeError)


def told(error: Exception) -> tuple[int, str]:
    """Number of an error's kind, from 1, and its message; the message names the type where the number does not."""
    kind = next((i for i, known in enumerate(_KINDS) if isinstance(error, known)), len(_KINDS) - 1)
    exact = type(error) is _KINDS[kind]
    return kind + 1, str(error) if exact else f"{type(error).__name__}: {error}"


def raised(number: int, text: str) -> Exception:
    """The error that `told` gave as `number` and `text`."""
    return _KINDS[number - 1](text) if 1 <= number <= len(_KINDS) else RuntimeError(text)


def named(agents: Sequence[str]) -> str:
    """The agents of a request, in a message."""
    return f"agent{'s' * (len(agents) > 1)} {', '.join(agents)}"
