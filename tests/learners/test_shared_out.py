"""Members that are shared out among several threads: who steps whom, alone and together."""

import pytest

from learners.group import shared_out
from tests.learners.group_stand_ins import Asked, Endless, Plain, Together, member, train

FORMS = {"abcd": True, "e": False, "fg": True}
"""Members of one form each, and whether they are stepped together."""


@pytest.mark.parametrize(
    ("threads", "wanted", "wanted_stacks"),
    [
        (1, ["abcdefg"], ["abcd", "fg"]),
        (2, ["aceg", "bdf"], ["ac", "bd"]),
        (3, ["adg", "be", "cf"], ["ad"]),
        (7, [*"abcdefg"], []),
    ],
)
def test_members_are_shared_out_evenly_and_step_together_with_their_like(threads, wanted, wanted_stacks):
    members = {name: member(Plain(), Endless(at)) for at, name in enumerate("abcdefg")}
    stacked = []

    def stack(own):
        stacked.append("".join(name for name in members if members[name] in own))
        return Together([each.learner for each in own])

    found = shared_out(members, [([*names], stack if together else None) for names, together in FORMS.items()], threads)
    groups = {id(group): group for group in found.values()}
    try:
        assert sorted("".join(group.members) for group in groups.values()) == wanted
        assert all(name in group.members for name, group in found.items()) and sorted(found) == [*"abcdefg"]
        assert stacked == wanted_stacks
        for name, group in found.items():
            assert train(group, name, 2)["steps"] == 2
            rows, learner, _ = members[name].batches.told[-1]
            assert rows["owner"][0] == "abcdefg".index(name) and learner is members[name].learner
    finally:
        for group in groups.values():
            Asked(group.close).result()
