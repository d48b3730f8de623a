"""State as a tree: a copy shares no array with it."""

import numpy as np

from scoundrel_ray.storage.nested import copied


def test_a_copied_tree_is_equal_and_shares_no_array():
    tree = {"rows": np.arange(3), "deep": [{"a": np.zeros(2)}, 1, "text", None], "pair": (np.ones(1), 2)}
    copy = copied(tree)
    assert copy["rows"].tolist() == [0, 1, 2] and copy["deep"][1:] == [1, "text", None]
    assert copy["pair"][0].tolist() == [1.0] and copy["pair"][1] == 2
    for array in (tree["rows"], tree["deep"][0]["a"], tree["pair"][0]):
        array[:] = 7
    assert copy["rows"].tolist() == [0, 1, 2] and copy["deep"][0]["a"].tolist() == [0.0, 0.0]
    assert copy["pair"][0].tolist() == [1.0]
