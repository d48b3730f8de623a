"""Lineups: what a list of policies means."""

import pytest

from scoundrel_ray.missions.lineup import lineups
from scoundrel_ray.settings.checks import InvalidConfig


def test_policies_side_by_side_play_together():
    found = lineups(["random", {"policy": "rule", "share": 3, "role": "focal", "name": "r", "data": {"a": 1}}])
    (lineup,) = found.each
    assert lineup.member == found.group == "" and lineup.shares == [1.0, 3]
    assert [each.title for each in lineup.policies] == ["random", "r"]
    assert lineup.policies[1].role == "focal" and lineup.policies[1].data == {"a": 1}
    assert set(found.policies) == {"random", "r"} and found.groups == {}


def test_each_member_of_a_group_takes_its_place_in_turn():
    found = lineups(["rule", {"group": "runs", "of": ["a/1", {"policy": "a/2", "name": "two"}], "share": 2}])
    assert [each.member for each in found.each] == ["a/1", "two"]
    assert [[own.title for own in each.policies] for each in found.each] == [["rule", "a/1"], ["rule", "two"]]
    assert all(each.shares == [1.0, 2] for each in found.each)
    assert found.groups == {"a/1": "runs", "two": "runs"} and set(found.policies) == {"rule", "a/1", "two"}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], r"policies: got \[\], wanted a list of at least one"),
        ("random", "wanted a list of at least one"),
        ([3], r"policies\[0\]: got 3"),
        ([{"name": "x"}], r"wanted policy= or group="),
        ([{"policy": "random", "shares": 1}], r"policies\[0\].shares: unknown"),
        ([{"policy": "random", "share": -1}], "share: got -1"),
        ([{"policy": "random", "share": float("nan")}], "share: got nan"),
        ([{"policy": "random", "share": True}], "share: got True"),
        ([{"policy": "random", "role": "boss"}], "role: got 'boss'"),
        ([{"policy": "random", "data": 3}], "data: got 3"),
        ([{"policy": ""}], "policy: got nothing"),
        (["random", "random"], "got random twice"),
        ([{"policy": "random", "share": 0}, {"policy": "rule", "share": 0}], "shares that sum to 0"),
        ([{"group": "g", "of": ["a"]}], "wanted a list of two policies or more"),
        ([{"group": "g", "of": ["a", "a"]}], "wanted different members"),
        ([{"group": "", "of": ["a", "b"]}], "group: got ''"),
        ([{"group": "g", "of": ["a", "b"]}, {"group": "h", "of": ["c", "d"]}], "a second group"),
        ([{"group": "g", "of": ["a", "b"], "name": 1}], r"policies\[0\].name: unknown"),
    ],
)
def test_bad_lists_are_one_line(entries, message):
    with pytest.raises(InvalidConfig, match=message):
        lineups(entries)
