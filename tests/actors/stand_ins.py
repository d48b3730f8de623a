"""Stand-ins for Ray and its actors: every question is noted, and is answered when and as the test says."""

from types import SimpleNamespace

from ray.exceptions import RayActorError


class Question:
    """What an actor was asked; it stands for the reference of its answer, `others` for those that come with it."""

    def __init__(self, actor, method, arguments, keywords):
        self.actor, self.method, self.arguments, self.keywords = actor, method, arguments, keywords
        self.there, self.value, self.error = False, None, None
        self.others = []

    def answer(self, value=None):
        self.there, self.value = True, value
        for other in self.others:
            other.there = True

    def fail(self, error):
        self.there, self.error = True, error


class Method:
    def __init__(self, actor, name, answers=1):
        self._actor, self._name, self._answers = actor, name, answers

    def options(self, num_returns):
        return Method(self._actor, self._name, num_returns)

    def remote(self, *arguments, **keywords):
        first, *others = (Question(self._actor, self._name, arguments, keywords) for _ in range(self._answers))
        self._actor.asked.append(first)
        first.others = others
        return [first, *others] if others else first


class Actor:
    """Any actor; `made_of` is what it was made of."""

    def __init__(self, *made_of):
        self.made_of, self.asked, self.killed = made_of, [], False
        self._actor_id = SimpleNamespace(hex=lambda: f"{id(self):x}")

    def __getattr__(self, method):
        return Method(self, method)

    def questions(self, method):
        """Those asked by this method and not answered."""
        return [asked for asked in self.asked if asked.method == method and not asked.there]

    def answer(self, method, value=None):
        """Answer all of them alike."""
        for asked in self.questions(method):
            asked.answer(value)

    def die(self):
        """Leave all that it was asked without an answer."""
        for asked in self.asked:
            if not asked.there:
                asked.fail(self.death)

    @property
    def death(self):
        return RayActorError(self._actor_id.hex(), "The actor died")


class Kind:
    """In place of an actor's class; `made` are the actors that were made of it."""

    def __init__(self):
        self.made = []

    def options(self, **_resources):
        return self

    def remote(self, *made_of):
        self.made.append(Actor(*made_of))
        return self.made[-1]


def _get(asked, timeout=None):
    if asked.error is not None:
        raise asked.error
    return asked.value


RAY = SimpleNamespace(
    wait=lambda asked, num_returns, timeout: ([each for each in asked if each.there], None),
    get=_get,
    put=lambda value: value,
    kill=lambda actor: setattr(actor, "killed", True),
)
"""In place of the module `ray`; it waits for nothing."""
