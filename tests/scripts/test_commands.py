"""The commands as a user runs them: help, bad input, interrupts, resuming, a game of the user's own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from inference.shm_directory import ROOT_VARIABLE
from scoundrel_ray.playing.record import GameRecord
from scoundrel_ray.runs.checkpoint import latest
from scoundrel_ray.runs.directory import newest_checkpoint, saved_config

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "game=tic_tac_toe", "search.simulations=8", "search.considered=4", "evaluation_search.simulations=8",
    "network.width=16", "network.blocks=1", "learner.batch_size=32", "replay.capacity=4000", "replay.min_rows=200",
    "rollout.games=16", "rollout.rows=100", "rollout.seconds=0.3", "inference.precision=float32", "report_s=0.5",
    "evaluation.games=40", "evaluation.shard=20", "evaluation.baselines=[random]",
]  # fmt: skip

HUNT = ["experiment=treasure_hunt"]


def start(script, *arguments, cwd=ROOT, environment=None, **kwargs):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{cwd}", "COLUMNS": "200", **(environment or {})}
    return subprocess.Popen(
        [sys.executable, "-m", f"scripts.{script}", *map(str, arguments)],
        cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=_heed_interrupts, **kwargs,  # noqa: PLW1509 (pytest has one thread here)
    )  # fmt: skip


def _heed_interrupts():
    """A shell that starts these tests in the background has them, and what they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("script", ["train", "evaluate", "play", "arena", "tune", "benchmark"])
def test_help_lists_the_settings(run, script, tmp_path):
    code, out, _ = run(script, *["--help"], cwd=tmp_path)
    assert code == 0
    told = {"train": "minutes", "evaluate": "checkpoint", "play": "seats", "arena": "anchor", "tune": "confirm"}
    assert told.get(script, "suite") in out


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("train", ["minuts=3"], "Key 'minuts' is not in struct"),
        ("train", ["game=chess"], "Could not find 'game/chess'"),
        ("train", ["minutes=-1"], "minutes: got -1, wanted a number from 0.01"),
        ("train", ["game.avoided=burnt"], "game.avoided: got 'burnt', wanted one of ordered, shuffled"),
        ("train", ["network.width=0"], "agents.agent.network.width: got 0, wanted an integer >= 1"),
        ("train", ["learner.batch_size=900000"], "agents.agent.learner.batch_size: got 900000, wanted at most"),
        (
            "train",
            ["search.tree=per_world", "search.worlds=2", "search=puct", "search.leaves=0"],
            "search.leaves: got 0",
        ),
        ("train", ["search=uct", "search.simulations=0"], "search.simulations: got 0"),
        ("train", ["evaluation_search.simulations=0"], "evaluation_search.simulations: got 0, wanted an integer >= 1"),
        (
            "train",
            ["curriculum=[{steps: 0}, {steps: 9, simulations: 0}]"],
            "curriculum[1].simulations: got 0, wanted an integer >= 1",
        ),
        (
            "train",
            ["evaluation.baselines=[uct]", "evaluation.players.uct.simulations=0"],
            "evaluation.players.uct.simulations: got 0, wanted an integer >= 1",
        ),
        ("train", ["resume=nowhere"], "run nowhere: cannot read"),
        ("evaluate", [], "checkpoint: got nothing, wanted the directory of a run"),
        ("evaluate", ["checkpoint=nowhere"], "run nowhere: cannot read"),
        ("play", ["seats=[cat]"], "seats: got ['cat'], wanted"),
        ("play", ["game=connect_four", "seats=[random,cat]"], "wanted up to 2 of human, agent, random, heuristic"),
        ("play", ["record=nothing.json"], "nothing.json: cannot read a record"),
        ("play", ["number=0"], "number: got 0, wanted an integer >= 1"),
        ("play", ["ponder=1"], "ponder: got 1, wanted true or false"),
        ("play", ["player=heuristic", "ponder=true"], "ponder: got true, but the agent does not search"),
        ("play", ["record=7"], "record: got 7, wanted a path"),
        ("train", ["search.worlds=2"], "search.worlds: got 2 with tree shared, wanted tree per_world with more than 1"),
        (
            "train",
            ["evaluation_search.tree=none"],
            "evaluation_search.tree: got 'none', wanted one of shared, per_world",
        ),
        (
            "train",
            ["search=puct", "search.reuse=true", "search.tree=per_world"],
            "search.reuse: got true with tree per_world, wanted tree shared: scoundrel hides something",
        ),
        (
            "train",
            [*HUNT, "agents=five"],
            "agent_3, agent_4, wanted 'agent_5', too, as which treasure_hunt's",
        ),
        ("train", [*HUNT, "learner=alphazero"], "agents.agent_0.learner: learners.alphazero.AlphaZeroConfig: got an"),
        (
            "train",
            [*HUNT, "cluster.learner_groups=[[agent_0,agent_1]]"],
            "cluster.learner_groups: got agent_0, agent_1",
        ),
        (
            "train",
            [*HUNT, "replay.place=there"],
            "agents.agent_0.replay.place: got 'there', wanted 'learner'",
        ),
        ("train", ["learner=iqn"], "agents.agent.learner: its experience acts by scoundrel_ray.experience.behaviours."),
        ("train", ["source=world"], "config: Interpolation key 'world' not found"),
        ("play", ["worlds=3"], "worlds: got one without a checkpoint, wanted player.worlds"),
        ("play", ["tree=shared"], "tree: got one without a checkpoint, wanted player.tree"),
        ("play", ["player.worlds=3"], "player.worlds: got 3 with tree shared, wanted tree per_world"),
        ("evaluate", ["game=scoundrel", "tree=shared"], "tree: got one without a checkpoint"),
        ("arena", ["game=scoundrel", "worlds=1"], "worlds: got one without runs"),
        ("play", ["ponder=true", "player.executor=ray"], "ponder: got true with player.executor ray"),
        ("evaluate", ["compare=[1]"], "compare: got 1, wanted a path"),
        ("evaluate", ["game=scoundrel", "simulations=9"], "simulations: got one without a checkpoint"),
        ("evaluate", ["game=scoundrel", "plot=a.jpg"], "plot: got 'a.jpg', wanted a .png file"),
        ("evaluate", ["game=scoundrel", "plot=a.png", "records=."], "records: got '.', wanted a file in a directory"),
        ("evaluate", ["game=scoundrel", "evaluation.games=0"], "evaluation.games: got 0, wanted an integer >= 1"),
        ("evaluate", ["compare=a.jsonl"], "compare: got 'a.jsonl', wanted a list of files"),
        ("evaluate", ["compare=[a.jsonl]"], "a.jsonl: cannot read a record of a game"),
        ("evaluate", ["game=scoundrel", "checkpoint=nowhere"], "game: got one beside a checkpoint"),
        ("evaluate", ["game=connect_four", "baselines=[uct]"], "baselines: got uct, wanted at least 2 players"),
        ("evaluate", ["game=scoundrel", "first=-1"], "first: got -1, wanted an integer >= 0"),
        ("train", ["game=null"], "Config group override must be a string"),
        ("train", ["-m", "minuts=1,2"], "Key 'minuts' is not in struct"),
        ("train", ["cluster.inference_gpus=100"], "cluster.*_gpus: the actors reserve 100 in all, wanted at most"),
        ("train", ["learner.device=gpu7"], "agents.agent.learner.device: got 'gpu7', which torch cannot use here"),
        ("train", ["evaluation.baselines=random"], "evaluation.baselines: got 'random', wanted a list"),
        ("evaluate", ["checkpoint=nowhere", "json=maybe"], "json: got 'maybe', wanted true or false"),
        ("play", ["seats=human"], "seats: got human, wanted up to 1"),
        ("play", ["player.workers=-1"], "player.workers: got -1, wanted an integer >= 0"),
        ("play", ["player.time_ms=5"], "player.simulations: got 20000 with time_ms 5, wanted one of the two"),
        ("benchmark", ["threads=-1"], "threads: got -1, wanted an integer >= 0"),
        ("train", ["game=blob", "game.players=9"], "game.players: got 9, wanted 3 to 8"),
        ("train", ["game=blob", "game.players=2"], "game.players: got 2, wanted 3 to 8, or a list of such numbers"),
        ("train", ["game=blob", "game.players=[3,9]"], "game.players: got [3, 9], wanted 3 to 8"),
        ("play", ["game=blob", "game.players=2"], "game.players: got 2, wanted 3 to 8"),
        ("train", ["game=blob", "game.cards=14"], "game.cards: got 14 for 4 players, which makes 56 cards"),
        (
            "train",
            ["game=blob", "game.players=8", "game.cards=7"],
            "game.cards: got 7 for 8 players, which makes 56 cards, wanted at most 52: at most 6 each",
        ),
        (
            "train",
            ["curriculum=[{simulations: 3}]"],
            "curriculum[0]: got {'simulations': 3}, wanted the learner's steps",
        ),
        ("train", ["arena.gate=true"], "arena.gate: got true without matches, wanted every_s above 0"),
        ("train", ["inference.transport=tcp"], "inference.transport: got 'tcp', wanted one of ray, local, shm"),
        ("train", ["modules=my_games"], "modules: got 'my_games', wanted a list of names"),
        ("train", ["evaluation=blob"], "evaluation.only: got scoundrel, wanted blob, the only game that these"),
        ("arena", ["game=connect_four", "evaluation=blob"], "evaluation.only: got connect_four, wanted blob"),
        ("evaluate", ["game=blob", "evaluation=strength"], "evaluation.only: got blob, wanted scoundrel"),
        ("benchmark", ["suite=quality"], "checkpoint: got null, wanted a run directory"),
        (
            "benchmark",
            ["suite=speed"],
            "Could not find 'suite/speed'; wanted one of agents, blob, cartpole, evaluation, footprint, inference, "
            "parallel",
        ),
    ],
    ids=str,
)
def test_bad_input_is_one_line_and_a_failure(run, script, arguments, message, tmp_path):
    code, out, err = run(script, *arguments, cwd=tmp_path)
    assert code == 2
    assert err.count("\n") == 1 and err.startswith("error: ") and message in err, err
    assert "Traceback" not in out + err
    assert not list(tmp_path.iterdir())  # nothing was started


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agents:\n  wide: {}\n  wide: {publish_steps: 3}\n", "found duplicate key wide"),
        ("agents: [\n", "while parsing a flow node"),
    ],
    ids=["twice", "broken"],
)
@pytest.mark.parametrize("sweep", [[], ["-m"]], ids=["once", "sweep"])
def test_a_file_of_the_users_that_cannot_be_read_is_one_line(run, text, message, sweep, tmp_path):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}")
    arguments = ["--config-dir", "conf", *sweep, "experiment=mine"]
    code, out, err = run("train", *arguments, cwd=tmp_path)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1, err
    assert message in err and "mine.yaml" in err and "Traceback" not in out + err


def test_a_record_with_the_bid_that_the_dealer_may_not_make_is_refused(run, tmp_path):
    path = tmp_path / "game.json"
    # Four players, five cards: after three bids of 1 the dealer may not bid 2. Actions are 52 and the bid.
    GameRecord({"_target_": "scoundrel_ray.games.blob.make"}, [11], [53, 53, 53, 54]).save(path)
    code, out, err = run("play", *[f"record={path}"], cwd=tmp_path)
    assert code == 2 and not out
    legal = "bid 0, bid 1, bid 3, bid 4, bid 5"
    assert err == f"error: {path}, game 1: blob: action 54 (bid 2) is not legal here; legal: {legal}\n"
    assert list(tmp_path.iterdir()) == [path]  # nor was anything begun


@pytest.mark.ray
def test_a_command_that_fails_leaves_nothing_where_there_was_nothing(run, tmp_path):
    """Whatever goes wrong before anything was earned: no empty directory, and the same name can be used again."""
    broken = "tests.actors.dying_players.Refuses"
    player = f"+evaluation.players.bad={{_target_: {broken}, kind: value}}"
    for script in ("evaluate", "arena"):
        code, _, err = run(
            script, "game=tic_tac_toe", player, "baselines=[random,bad]", "games=4", cwd=tmp_path
        )  # fmt: skip
        assert code == 2 and err.count("\n") == 1, err
        assert not list(tmp_path.iterdir())
    network = "network._target_=tests.actors.failing_network.Unmade"
    code, _, err = run("train", *SMALL, network, f"run_dir={tmp_path / 'run'}", cwd=tmp_path)
    assert code == 2 and "failed: RuntimeError: no room for the network" in err and err.count("\n") == 1, err
    assert not list(tmp_path.iterdir())


@pytest.mark.ray
def test_a_run_that_fails_is_one_line_that_says_how_to_go_on(run, tmp_path):
    path = tmp_path / "run"
    network = "network._target_=tests.actors.failing_network.NaNInTraining"
    code, out, err = run("train", *SMALL, network, f"run_dir={path}", "minutes=5")
    assert code == 2, err
    assert err.count("\n") == 1 and err.startswith(
        "error: learner of agent failed: NonFiniteLoss: learner: value_loss is nan "
    )
    assert f"its last state is saved, go on from it with resume={path}" in err
    assert "Traceback" not in out + err
    assert newest_checkpoint(path)


@pytest.mark.ray
def test_interrupted_runs_are_saved_and_go_on_to_their_end(run, tmp_path):
    """Ctrl-C as a terminal sends it, to the whole group; then SIGTERM; then a run to its end."""
    path = tmp_path / "run"
    process = start("train", *SMALL, f"run_dir={path}", "minutes=5")
    _wait_for_steps(path, process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert f"resume={path}" in out
    steps = _last(path)["steps"]

    process = start("train", f"resume={path}", "minutes=6", "evaluation.shard=10")
    _wait_for_steps(path, process, steps + 1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert process.returncode == 130
    more = _last(path)
    assert more["steps"] > steps and more["minutes"] > 0

    code, out, err = run("train", f"resume={path}", f"steps={more['steps'] + 30}")
    assert code == 0, err
    summary = json.loads((path / "summary.json").read_text())
    assert summary["steps"] >= more["steps"] + 30
    assert [s["opponent"] for s in summary["evaluation"]["standings"]] == ["start", "random"]
    assert (path / "curves.png").exists() and (path / "evaluation.png").exists()
    assert "trained against start" in out
    assert not list(path.rglob(".tmp-*"))
    saved = saved_config(path)  # what a resumption changed is not forgotten by the next
    assert (saved["minutes"], saved["evaluation"]["shard"], saved["steps"]) == (6, 10, more["steps"] + 30)

    code, _, err = run("train", f"resume={path}", "network.width=32")
    assert code == 2 and "network.width: cannot change in a run that goes on" in err
    before = {each: each.read_bytes() for each in path.rglob("*") if each.is_file()}
    code, _, err = run("train", f"resume={path}", "report_s=1")
    assert (
        code == 2 and f"resume: {path} is at its end, " in err and f"wanted steps above {summary['steps']}, or" in err
    )
    assert f"measure it with: python -m scripts.evaluate checkpoint={path}" in err and err.count("\n") == 1
    code, out, err = run(
        "evaluate", f"checkpoint={path}", "games=60", "evaluation.shard=20", "baselines=[random]", "json=true"
    )
    assert code == 0, err
    assert {each: each.read_bytes() for each in before} == before  # nothing of the run was replaced
    (own,) = (path / "evaluations").iterdir()
    assert sorted(each.name for each in own.iterdir()) == ["evaluation.jsonl", "evaluation.png"]
    (path / "curves.png").unlink()
    (path / "curves.png").mkdir()  # a picture that cannot be written costs nothing else
    code, _, err = run("train", f"resume={path}", f"steps={summary['steps'] + 30}", "evaluation.games=0")
    assert code == 0 and f"cannot write {path / 'curves.png'}: Is a directory" in err, err
    later = json.loads((path / "summary.json").read_text())
    assert later["steps"] >= summary["steps"] + 30 and later["evaluation"] == summary["evaluation"]
    assert later["evaluation"]["versions"] == {"agent": summary["agents"]["agent"]["version"]}
    counts = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for key in ("minutes", "steps", "rollout/games", "rollout/restarts", "replay/agent/inserted"):
        assert [line[key] for line in counts] == sorted(line[key] for line in counts)
    standings = json.loads(out)["standings"]  # nothing else on stdout
    told = [(standing["player"], standing["opponent"], standing["games"]) for standing in standings]
    assert told == [("trained", "start", 60), ("trained", "random", 60)]

    code, out, err = run("evaluate", f"checkpoint={path}", "games=10", "evaluation.players.random._target_=os.system")
    assert code == 2 and "os.system makes no Player" in err
    keys = "\n".join(["hint", "1", "undo", "quit"]) + "\n"
    code, out, err = run("play", f"checkpoint={path}", f"save={tmp_path / 'g.json'}", stdin=keys)
    assert code == 0 and "the agent's view" in out, err
    code, _, err = run("play", "game=connect_four", f"checkpoint={path}")
    assert code == 2 and "made for another game: game is 'tic_tac_toe', wanted 'connect_four'" in err


@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="shared memory as files is Linux's")
def test_a_killed_run_goes_on_and_what_it_left_in_shared_memory_is_swept(run, tmp_path):
    """SIGKILL to the command and to its inference actor at once, so that neither can clean up."""
    path, shared = tmp_path / "run", tmp_path / "shm"
    shared.mkdir()
    own = {"environment": {ROOT_VARIABLE: str(shared)}}  # where no other server sweeps
    process = start("train", *SMALL, "inference=shm", f"run_dir={path}", "minutes=5", "checkpoint_s=1", **own)
    _wait_for_steps(path, process)
    _wait_for(lambda: latest(path), process)
    (left,) = shared.iterdir()
    server = int(left.name.split("-")[3])
    assert process.pid in [parent.pid for parent in psutil.Process(server).parents()]
    os.kill(server, signal.SIGSTOP)  # or it would see the command's end and clean up before its own
    process.kill()
    with contextlib.suppress(ProcessLookupError):
        os.kill(server, signal.SIGKILL)
    process.communicate(timeout=300)
    assert list(shared.iterdir()) == [left] and list(left.glob("*.segment"))
    steps = _last(path)["steps"]

    steps += 100  # more than the restored rows are good for: workers must have asked the next server
    code, _, err = run("train", f"resume={path}", f"steps={steps}", **own)
    assert code == 0, err
    assert json.loads((path / "summary.json").read_text())["steps"] >= steps
    assert not left.exists()  # the next server swept it
    assert not list(shared.iterdir())  # and removed its own
    assert not list(path.rglob(".tmp-*"))


@pytest.mark.ray
def test_games_are_recorded_compared_and_replayed(run, tmp_path):
    """Players without an agent; the same games from any number of workers; two collections side by side."""
    small = ["game=scoundrel", "games=12", "evaluation.shard=6", "baselines=[uct,heuristic]"]
    small += ["evaluation.players.uct.simulations=50", "evaluation.players.uct.shards=1", "json=true"]
    records = []
    for workers in (1, 2):
        path = tmp_path / f"of-{workers}.jsonl"
        code, out, err = run(
            "evaluate", *small, f"evaluation.workers={workers}", f"records={path}", f"plot={tmp_path / 'plot.png'}"
        )
        assert code == 0, err
        assert [s["player"] for s in json.loads(out)["standings"]] == ["uct", "heuristic"]
        records.append(path.read_text().splitlines())
    assert records[0] == records[1] and len(records[0]) == 24
    code, out, err = run("evaluate", *small, "first=6", "games=6", cwd=tmp_path)
    assert code == 0, err
    (own,) = tmp_path.glob("runs/evaluations/*-scoundrel/evaluation.jsonl")
    assert own.read_text().splitlines() == [line for i, line in enumerate(records[0]) if i % 12 >= 6]

    files = f"compare=[{tmp_path / 'of-1.jsonl'},{own}]"
    code, out, err = run("evaluate", files, "json=true")
    assert code == 0, err
    assert [(row["player"], row["games"], row["deals_in_common"]) for row in json.loads(out)["players"]] == [
        ("uct", 12, 12), ("heuristic", 12, 12),
    ]  # fmt: skip
    assert (tmp_path / "compare.png").exists()

    save = tmp_path / "watched.json"
    code, out, err = run("play", f"record={own}", "number=2", f"save={save}")
    assert code == 0 and "the agent's view" in out, err
    line, again = json.loads(own.read_text().splitlines()[1]), json.loads(save.read_text())
    assert again == line and f"(uct): {line['scores'][0]:g} points" in out
    code, _, err = run("play", f"record={own}", "number=40")
    assert code == 2 and "number: got 40, wanted up to 12" in err


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("thinking", [False, True], ids=["asked", "thinking"])
def test_an_interrupted_game_is_saved_up_to_the_last_move(tmp_path, sent, thinking):
    path = tmp_path / "game.json"
    process = start(
        "play", "seed=3", f"save={path}", "ponder=true", "player.simulations=null", "player.time_ms=100000",
        stdin=subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write("4\nhint\n" if thinking else "4\n")
    process.stdin.flush()
    shown = ""
    while shown.count("> ") < 2:  # it has played the move and reads on
        shown += process.stdout.read(1)
    time.sleep(1.0)  # and thinks of the hint
    process.send_signal(sent)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert json.loads(path.read_text())["actions"] == [56]


def test_a_game_that_was_played_to_its_end_is_watched_again(run, tmp_path):
    path = tmp_path / "game.json"
    small = ["player.simulations=20", f"save={path}"]
    code, out, err = run("play", "seats=[agent]", "seed=7", *small)
    assert code == 0, err
    played = json.loads(path.read_text())
    assert played["players"] == ["agent"] and played["thoughts"] and played["scores"]
    code, again, err = run("play", f"record={path}", *small)
    assert code == 0 and json.loads(path.read_text()) == played, err
    assert again.splitlines()[-2] == out.splitlines()[-2]  # the result


def test_at_a_table_with_hidden_hands_the_agents_keep_theirs(run, tmp_path):
    """What an agent thinks of its cards would show them; a person's own hint shows the person's."""
    settings = ["game=blob", "game.cards=2", "seed=5", "player.simulations=50", f"save={tmp_path / 'game.json'}"]
    code, out, err = run("play", *settings, stdin="hint\n1\n1\n1\n1\n")
    assert code == 0, err
    assert out.count("the agent's view") == 1 and "agent in seat 1" in out
    code, out, err = run("play", *settings, "seats=[agent]")
    assert code == 0 and out.count("the agent's view") > 3, err


def test_a_sweep_that_only_hydra_can_list_is_left_to_it(run, tmp_path):
    arguments = ["-m", "search=glob(gumb*)", "minutes=-1"]
    code, out, err = run("train", *arguments, cwd=tmp_path)
    assert code == 2 and "minutes: got -1" in err and "ConfigLoader" not in out + err


def _wait_for_steps(path, process, least=1):
    _wait_for(lambda: (path / "metrics.jsonl").exists() and _last(path)["steps"] >= least, process)


def _wait_for(happened, process, seconds=300):
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _last(path):
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return json.loads(lines[-1])


NIM = '''
"""Nim: take one to three; who takes the last wins."""
from scoundrel_ray import compiled
from scoundrel_ray.compiled import rule
from scoundrel_ray.game import Game, Rules, no_opinion, nothing_hidden
from scoundrel_ray.spec import Field
import numpy as np

def make(stones: int = 15) -> Game:
    return Game(name="nim", version=1, seats=2, actions=3, state_size=3, max_legal=3, max_steps=stones,
        observation=(Field("left", 1, 0, stones, "number"),), score_range=(-1.0, 1.0),
        value_knots=((-1.0, -1.0), (1.0, 1.0)), win_above=0.0, hidden=False,
        action_names=("one", "two", "three"), text=lambda state, seat: f"{state[1]} left",
        rules=Rules(deal, nothing_hidden, seat, legal, step, returns, observe, key, no_opinion),
        header=(stones,), options={"stones": stones})

@rule(compiled.DEAL)
def deal(state, rng):
    state[1], state[2] = state[0], 0
    return 0

@rule(compiled.SEAT)
def seat(state):
    return -1 if state[1] == 0 else state[2]

@rule(compiled.LEGAL)
def legal(state, out):
    count = min(3, state[1])
    for i in range(count):
        out[i] = i
    return count

@rule(compiled.STEP)
def step(state, action):
    if action < 0 or action > 2 or action >= state[1]:
        return 1
    state[1] -= action + 1
    state[2] = 1 - state[2]
    return 0

@rule(compiled.RETURNS)
def returns(state, out):
    out[state[2]] = -1
    out[1 - state[2]] = 1
    return 0

@rule(compiled.OBSERVE)
def observe(state, seat, out):
    out[0] = state[1]
    return 0

@rule(compiled.INFORMATION_KEY)
def key(state, seat):
    return np.uint64(state[1] * 2 + state[2])
'''


def write_nim(directory, rules=NIM):
    """A game in a user's own module, and the YAML that names it."""
    (directory / "my_games.py").write_text(rules)
    (directory / "conf" / "game").mkdir(parents=True)
    (directory / "conf" / "game" / "nim.yaml").write_text("_target_: my_games.make\nstones: 15\n")


@pytest.mark.ray
def test_a_game_in_a_module_of_the_users_own_trains(run, tmp_path):
    """Neither this repository nor its conf/ is touched: a file with the rules, one YAML, and --config-dir."""
    write_nim(tmp_path)
    small = [argument for argument in SMALL if not argument.startswith("game=")]
    code, out, err = run(
        "train", "--config-dir", tmp_path / "conf", "game=nim", "game.stones=12", *small, "steps=200",
        f"run_dir={tmp_path / 'run'}", cwd=tmp_path,
    )  # fmt: skip
    assert code == 0, err
    assert "nim, held deals" in out
    named = {"evaluate": "checkpoint", "play": "checkpoint", "train": "resume", "arena": "runs"}
    for script, key in named.items():  # a run that may be from somebody else imports no module that lies about
        code, out, err = run(script, f"{key}=[run]" if key == "runs" else f"{key}=run", cwd=tmp_path)
        assert code == 2 and err.count("\n") == 1 and not out, err
        assert err.startswith(
            "error: game._target_: got 'my_games.make' from run/config.yaml, wanted a module that is "
        )
        assert err.endswith("allow it with modules=[my_games]\n")
    code, _, err = run("train", "resume=run", "modules=[my_games]", "steps=400", "evaluation.games=0", cwd=tmp_path)
    assert code == 0, err
    save = f"save={tmp_path / 'nim.json'}"
    code, _, err = run("play", "checkpoint=run", "modules=[my_games]", save, "seats=[agent,agent]", cwd=tmp_path)
    assert code == 0, err
    code, _, err = run("play", f"record={tmp_path / 'nim.json'}", "modules=[my_games]", save, cwd=tmp_path)
    assert code == 0, err
    code, _, err = run("train", "--config-dir", tmp_path / "conf", "game=nin", cwd=tmp_path)
    assert code == 2 and err.count("\n") == 1 and "Could not find 'game/nin'" in err


@pytest.mark.ray
@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("@rule(compiled.STEP)", "@rule(compiled.RETURNS)", "my_games"),
        ("def step(state, action):", "def step(state):", "TypeError: rule step(state) has 1 arguments, wanted "),
        ("count = min(3, state[1])", "count = 3", "game nim: a rule failed during a search"),
        ('name="nim"', 'nam="nim"', "nam"),
    ],
    ids=["signature", "arguments", "illegal action", "record"],
)
def test_a_broken_game_of_the_users_own_is_one_line(run, tmp_path, right, wrong, message):
    assert right in NIM
    write_nim(tmp_path, NIM.replace(right, wrong))
    small = [argument for argument in SMALL if not argument.startswith("game=")]
    code, out, err = run(
        "train", "--config-dir", tmp_path / "conf", "game=nim", *small, "steps=200", f"run_dir={tmp_path / 'run'}",
        cwd=tmp_path,
    )  # fmt: skip
    assert code == 2, err
    assert err.count("\n") == 1 and err.startswith("error: ") and message in err, err
    assert "Traceback" not in out + err
