"""Golden trees: what small searches leave in their forest, as JSON to read, held against them by test_golden_trees.

Several games are searched side by side, at different positions, with streams of their own and begun at different times;
the tree (or, of several worlds, the trees) of one of them is kept whole. The evaluator is a hash of the observation in
integers, so that it says the same everywhere. After a change of a search that is meant, write them anew and read the
difference before you commit it:

    python -m tests.searches.golden_trees
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.game import Game
from scoundrel_ray.games import blob, connect_four, tic_tac_toe
from scoundrel_ray.search import Search
from scoundrel_ray.searches.choice import UCT
from scoundrel_ray.searches.forest import NO_NODE, Decisions
from scoundrel_ray.searches.gumbel import Gumbel
from scoundrel_ray.searches.puct import Puct
from scoundrel_ray.searches.uct import Uct
from tests.evaluation import high_card

DIRECTORY = Path(__file__).parent / "trees"
SEED = 24
KEPT = 2  # the row whose tree is kept
GAMES = {
    "tic_tac_toe": tic_tac_toe.make(),
    "connect_four": connect_four.make(),
    "high_card": high_card.make(3),
    "blob": blob.make([3, 4], 2),
}
PLIES = {  # random moves before the position of each row
    "tic_tac_toe": (1, 4, 3, 0, 2),
    "connect_four": (1, 3, 4, 0, 2),
    "high_card": (2, 1, 0, 1, 2),
    "blob": (4, 1, 2, 0, 3),
}
SEARCHES = {"uct": Uct, "puct": Puct, "gumbel": Gumbel}


class Case(NamedTuple):
    """A search whose trees are kept.

    Attributes:
        game: name in GAMES.
        search: name in SEARCHES.
        settings: of the search.
        moves: played, each after a search, before the one whose trees are kept.
    """

    game: str
    search: str
    settings: dict[str, Any]
    moves: int = 0


CASES = {
    "uct_tic_tac_toe": Case("tic_tac_toe", "uct", {"simulations": 60}),
    "uct_tic_tac_toe_leaves": Case("tic_tac_toe", "uct", {"simulations": 60, "leaves": 5}),
    "puct_tic_tac_toe": Case("tic_tac_toe", "puct", {"simulations": 24}),
    "puct_tic_tac_toe_leaves": Case("tic_tac_toe", "puct", {"simulations": 24, "leaves": 3, "virtual_loss": 0.5}),
    "puct_connect_four_reuse": Case("connect_four", "puct", {"simulations": 24, "reuse": True}, moves=1),
    "gumbel_tic_tac_toe": Case("tic_tac_toe", "gumbel", {"simulations": 24, "considered": 4}),
    "uct_high_card_one_tree": Case("high_card", "uct", {"simulations": 60, "tree": "shared", "playouts": "heuristic"}),
    "uct_high_card_worlds": Case("high_card", "uct", {"simulations": 30, "tree": "per_world", "worlds": 3}),
    "puct_high_card_one_tree": Case("high_card", "puct", {"simulations": 32, "tree": "shared"}),
    "puct_high_card_worlds": Case("high_card", "puct", {"simulations": 12, "tree": "per_world", "worlds": 3}),
    "gumbel_high_card_one_tree": Case("high_card", "gumbel", {"simulations": 32, "tree": "shared"}),
    "gumbel_high_card_worlds": Case("high_card", "gumbel", {"simulations": 12, "tree": "per_world", "worlds": 3}),
    "uct_blob_one_tree": Case("blob", "uct", {"simulations": 60, "tree": "shared"}),
    "uct_blob_worlds": Case("blob", "uct", {"simulations": 30, "tree": "per_world", "worlds": 2}),
    "puct_blob_one_tree": Case("blob", "puct", {"simulations": 24, "tree": "shared", "first_play_reduction": 0.2}),
    "puct_blob_worlds": Case("blob", "puct", {"simulations": 12, "tree": "per_world", "worlds": 2}),
    "gumbel_blob_one_tree": Case("blob", "gumbel", {"simulations": 24, "tree": "shared"}),
    "gumbel_blob_worlds": Case(
        "blob", "gumbel", {"simulations": 12, "tree": "per_world", "worlds": 2, "rescale": False}
    ),
}


def path_of(name: str) -> Path:
    """Where the trees of a case are kept."""
    return DIRECTORY / f"{name}.json"


def hashed(game: Game):
    """An evaluator that says of each observation what a hash of it says: multiples of 1/64, the same on any machine."""
    words = [np.uint64(word) for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)]

    def mixed(key: np.ndarray) -> np.ndarray:
        key = (key ^ (key >> np.uint64(30))) * words[1]
        key = (key ^ (key >> np.uint64(27))) * words[2]
        return key ^ (key >> np.uint64(31))

    def evaluate(observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        key = np.zeros(len(observations), dtype=np.uint64)
        for column in observations.astype(np.int64).astype(np.uint64).T:
            key = mixed((key ^ column) + words[0])
        outputs = np.arange(game.actions + game.seats, dtype=np.uint64)
        numbers = (mixed(key[:, None] + (outputs + np.uint64(1)) * words[0]) >> np.uint64(57)).astype(np.float32)
        logits = (numbers[:, : game.actions] - 64) / 32  # [-2, 2)
        return logits, (numbers[:, game.actions :] - 64) / 64  # [-1, 1)

    return evaluate


def positions(name: str) -> np.ndarray:
    """A position with a choice for each row: [rows, S]."""
    game, found, number = GAMES[name], [], 0
    while len(found) < len(PLIES[name]):
        state, dice = game.deal(rng.stream(SEED, 0, number)), rng.stream(SEED, 1, number)
        number += 1
        for _ in range(PLIES[name][len(found)]):
            legal = game.legal(state)
            if len(legal) == 0:
                break
            state = game.step(state, int(legal[rng.below(dice, len(legal))]))
        if len(game.legal(state)) > 1:
            found.append(state)
    return np.stack(found)


def searched(case: Case, rows: list[int]) -> list[dict[str, Any]]:
    """What is kept of a search, for each of `rows`, all searched side by side in one forest."""
    game = GAMES[case.game]
    search, evaluate = Search(game, SEARCHES[case.search](**case.settings), len(rows)), hashed(game)
    states, streams = positions(case.game)[rows], np.stack([rng.stream(SEED, 2, row) for row in rows])
    places = np.arange(len(rows))
    for move in range(case.moves + 1):
        # Every other row begins when those before it have already grown.
        for lot in (places[0::2], places[1::2]):
            lent = streams[lot]
            if len(lot):
                search.begin(lot, states[lot], lent)
            streams[lot] = lent
            for _ in range(3):
                if (observations := search.select()) is not None:
                    search.backup(*evaluate(observations))
        search.run(evaluate)
        decisions = search.decide(places, np.ones(len(rows), np.float32), streams)
        if move < case.moves:
            states = np.stack([game.step(state, a) for state, a in zip(states, decisions.chosen.tolist(), strict=True)])
            search.advance(places, decisions.chosen, states)
    worlds = search.trees_per_game
    return [
        {
            "game": game.name,
            "options": dict(game.options),
            "search": {"kind": case.search, **case.settings},
            "state": game.text(states[row], None).splitlines(),
            "decision": decision(game, decisions, row),
            "worlds": [tree(search, row * worlds + world) for world in range(worlds)],
        }
        for row in places.tolist()
    ]


def decision(game: Game, decisions: Decisions, row: int) -> dict[str, Any]:
    """A row of decisions as plain data, by action."""
    return {
        "chosen": game.action_names[decisions.chosen[row]],
        "values": plain(decisions.values[row]),
        "actions": {
            game.action_names[action]: {
                "visits": int(decisions.visits[row, i]),
                "prior": plain(decisions.priors[row, i]),
                "policy": plain(decisions.policy[row, i]),
                "total": plain(decisions.totals[row, i]),
            }
            for i, action in enumerate(decisions.actions[row].tolist())
            if action >= 0
        },
    }


def tree(search: Search, t: int) -> list[dict[str, Any]]:
    """Tree t as plain data, a node an entry.

    An edge tells the nodes that hang on it (in one tree over many worlds there may be several) and how many simulations
    found the game over behind it.
    """
    f, names = search.forest, search.game.action_names
    count = int(f.nodes[t])
    hanging: dict[int, list[int]] = {}
    for node in range(1, count):
        hanging.setdefault(int(f.node["parent"][t, node]), []).append(node)
    nodes = []
    for node in range(count):
        entry: dict[str, Any] = {
            "node": node, "seat": int(f.node["seat"][t, node]), "visits": int(f.node["visits"][t, node]),
        }  # fmt: skip
        if search.parameters.kind != UCT:
            entry["value"] = plain(f.node_value[t, node])
        assert f.node["ready"][t, node] == 1 and f.node["flight"][t, node] == 0
        first, edges = int(f.node["first"][t, node]), {}
        for edge in range(first, first + int(f.node["count"][t, node])):
            visits, below = int(f.edge["visits"][t, edge]), hanging.pop(edge, [])
            told: dict[str, Any] = {"visits": visits, "prior": plain(f.edge["prior"][t, edge])}
            if visits:
                told["total"] = plain(f.edge_total[t, edge])
                told["nodes"] = below
                told["ended"] = visits - sum(1 + int(f.node["visits"][t, child]) for child in below)
            assert f.edge["child"][t, edge] in (below or [NO_NODE]) and f.edge["flight"][t, edge] == 0
            edges[names[f.edge["action"][t, edge]]] = told
        nodes.append(entry | {"edges": edges})
    assert not hanging, "nodes that hang on no edge"
    return nodes


def plain(value: Any) -> Any:
    """Float32 numbers, one or many, with as many digits as tell them apart."""
    return [plain(each) for each in value] if np.ndim(value) else float(f"{float(value):.9g}")


def text_of(kept: dict[str, Any]) -> str:
    """JSON with a line a node."""
    head = {key: value for key, value in kept.items() if key != "worlds"}
    lines = ["{"]
    lines += [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in head.items()]
    worlds = [",\n".join(json.dumps(node, ensure_ascii=False) for node in nodes) for nodes in kept["worlds"]]
    lines.append('"worlds": [\n' + ",\n".join(f"[\n{nodes}\n]" for nodes in worlds) + "\n]")
    return "\n".join([*lines, "}"]) + "\n"


def main() -> None:
    """Write all trees anew and remove those of other names."""
    DIRECTORY.mkdir(exist_ok=True)
    for path in DIRECTORY.glob("*.json"):
        if path.stem not in CASES:
            path.unlink()
    for name, case in CASES.items():
        rows = list(range(len(PLIES[case.game])))
        path_of(name).write_text(text_of(searched(case, rows)[KEPT]), encoding="utf-8")


if __name__ == "__main__":
    main()
