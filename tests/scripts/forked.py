"""Commands in processes forked from one that has imported them already: each starts at once, not after seconds.

For commands that end by themselves. Those that are interrupted, and one of each kind, are run as a user runs them.
"""

import itertools
import multiprocessing
import os
import runpy
import sys
from pathlib import Path

from inference.shm_directory import ROOT_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
_PASSED = (ROOT_VARIABLE, "XDG_CACHE_HOME")  # set by fixtures, maybe after the server of forks was started
_numbers = itertools.count()
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["scripts.train", "scripts.evaluate", "scripts.play", "scripts.arena", "scripts.benchmark", "scripts.tune",
     "actors.training", "learners.alphazero", "scoundrel_ray.network", "matplotlib.pyplot"]
)  # fmt: skip


def _command(script, arguments, cwd, files, environment):
    for number, path in enumerate(files):
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (multiprocessing put the null device there)
    os.chdir(cwd)
    paths = os.pathsep.join([str(ROOT), str(cwd)])  # for the processes that it starts
    os.environ.update({"COLUMNS": "200", "PYTHONPATH": paths, **environment})
    sys.path.insert(0, str(cwd))  # as `python -m` does
    sys.modules.pop(f"scripts.{script}", None)
    sys.argv = [f"scripts.{script}", *map(str, arguments)]
    try:
        runpy.run_module(f"scripts.{script}", run_name="__main__", alter_sys=True)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def run(script, arguments, cwd, told, stdin="", **environment):
    """Exit code, stdout and stderr of `python -m scripts.<script> <arguments>` in `cwd`.

    Args:
        script, arguments: what to run.
        cwd: where.
        told: a directory for what it reads and prints.
        stdin: what it reads.
        environment: variables that it finds beside this process's.
    """
    files = [told / f"{os.getpid()}-{next(_numbers)}-{name}" for name in ("in", "out", "err")]
    files[0].write_text(stdin)
    environment = {**{name: os.environ[name] for name in _PASSED if name in os.environ}, **environment}
    process = _CONTEXT.Process(target=_command, args=(script, arguments, cwd, files, environment))
    process.start()
    process.join(300)
    assert process.exitcode is not None, f"{script} {arguments} did not end"
    return process.exitcode, files[1].read_text(), files[2].read_text()
