"""Suite "search": simulations and leaves a second of the tree searches, beside OpenSpiel, mctx and pure Python."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from scoundrel_ray.evaluator import Constant
from scoundrel_ray.machine import cores
from scoundrel_ray.search import Search
from scoundrel_ray.searches.gumbel import Gumbel
from scoundrel_ray.searches.puct import Puct
from scoundrel_ray.settings.checks import at_least
from scripts.measuring.figures import Figure, Figures
from scripts.measuring.searches import deals, decide_once, game_of, uct_rate
from scripts.measuring.timing import least_seconds


def run(settings: Mapping[str, Any], repeats: int, threads: int, python_simulations: int) -> Figures:
    """Figures of all cases; those with a peer that is not installed stand alone."""
    at_least("suite.repeats", repeats, 1)
    at_least("suite.threads", threads, 0)
    at_least("suite.python_simulations", python_simulations, 1)
    figures = [uct_scoundrel(python_simulations, repeats)]
    for name in ("connect_four", "tic_tac_toe"):
        figures += [uct_beside_open_spiel(name, simulations, repeats) for simulations in (1000, 80_000)]
    figures += gumbel_with_network(threads or cores(), repeats)
    figures += [forest(leaves, repeats) for leaves in (1, 4)]
    return Figures(figures)


def uct_scoundrel(python_simulations: int, repeats: int) -> Figure:
    """UCT with a fresh redeal for every simulation, beside itself in pure Python."""
    code = (
        "import warnings; warnings.simplefilter('ignore');"
        "from scripts.measuring.searches import game_of, uct_rate;"
        f"print(uct_rate(game_of('scoundrel'), {python_simulations}, 1))"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    return Figure(
        "UCT, Scoundrel, 80,000 simulations, fresh redeal each, one core",
        uct_rate(game_of("scoundrel"), 80_000, repeats),
        "simulations/s",
        f"the same in pure Python, {python_simulations} simulations",
        float(out),
        wanted=600_000,
    )


def uct_beside_open_spiel(name: str, simulations: int, repeats: int) -> Figure:
    """UCT with one random playout a leaf, from the empty board, beside OpenSpiel's C++ bot."""
    theirs = None
    if importlib.util.find_spec("pyspiel"):
        import pyspiel

        game = pyspiel.load_game(name)
        state = game.new_initial_state()

        def search() -> None:
            bot = pyspiel.MCTSBot(
                game, pyspiel.RandomRolloutEvaluator(1, 0), 1.0, simulations, 4096, False, 0, False,
                pyspiel.ChildSelectionPolicy.UCT,
            )  # fmt: skip
            bot.mcts_search(state)

        theirs = simulations / least_seconds(search, repeats)
    return Figure(
        f"UCT, {name}, {simulations:,} simulations, one random playout each, one core",
        uct_rate(game_of(name), simulations, repeats),
        "simulations/s",
        "OpenSpiel MCTSBot (C++)",
        theirs,
        wanted_ratio=2.0,
    )


def forest(leaves: int, repeats: int) -> Figure:
    """PUCT over many trees with an evaluator that costs nothing."""
    game = game_of("scoundrel")
    search = Search(game, Puct(simulations=64, tree="per_world", leaves=leaves), 256)
    states = deals(game, 256)
    constant = Constant(game.actions, game.seats)
    answered = 0

    def evaluate(observations: np.ndarray) -> tuple[np.ndarray, ...]:
        nonlocal answered
        answered += len(observations)
        return constant.collect(constant.submit(observations)).outputs

    decide_once(search, states, evaluate)
    in_one = answered
    return Figure(
        f"PUCT, Scoundrel, 256 trees x 64 simulations, {leaves} per tree and step, constant evaluator, one core",
        in_one / least_seconds(lambda: decide_once(search, states, evaluate), repeats),
        "leaves/s",
        wanted=1_000_000 if leaves == 4 else None,
    )


# Simulations -> trees in lockstep in each thread, and least simulations a second.
_GUMBEL = {64: (1024, 600_000), 400: (512, 300_000), 800: (256, 300_000)}


def gumbel_with_network(threads: int, repeats: int) -> list[Figure]:
    """Gumbel search on connect four, a network of 2 x 128 in the loop, on every core, beside mctx and pgx."""
    import torch

    torch.set_num_threads(1)
    peers = None
    if importlib.util.find_spec("mctx") and importlib.util.find_spec("pgx"):
        from scripts.benchmarks import peer_mctx

        peers = peer_mctx
    figures = []
    for simulations, (trees, wanted) in _GUMBEL.items():
        ours = _gumbel_rate(simulations, trees, threads, repeats)
        theirs, batch = peers.rate(simulations, repeats) if peers else (None, 0)
        figures.append(
            Figure(
                f"Gumbel, connect_four, {simulations} simulations, MLP 2 x 128, {threads} threads of {trees} trees",
                ours,
                "simulations/s",
                f"mctx + pgx, batch {batch} (its best)" if peers else "mctx + pgx",
                theirs,
                wanted=wanted,
            )
        )
    return figures


def _gumbel_rate(simulations: int, trees: int, threads: int, repeats: int) -> float:
    """Simulations a second; every thread has a search and a model of its own, and both run without the GIL."""
    from inference.model import Model
    from scoundrel_ray.networks.residual_mlp import ResidualMLP

    game = game_of("connect_four")
    network = ResidualMLP(game.spec, width=128, blocks=1, value_width=32)
    states = deals(game, trees)
    pairs = [(Search(game, Gumbel(simulations=simulations), trees), Model(network, threads=1)) for _ in range(threads)]

    def all_threads() -> None:
        running = [
            threading.Thread(target=decide_once, args=(search, states, lambda o, m=model: m.evaluate(o).outputs))
            for search, model in pairs
        ]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    return threads * trees * simulations / least_seconds(all_threads, repeats)
