"""Commands in processes forked from one that has imported them already: each starts at once, not after seconds.

For commands that end by themselves before they start anything; the others are run as a user runs them.
"""

import multiprocessing
import os
import runpy
import sys

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["scripts.train", "scripts.evaluate", "scripts.play", "scripts.arena", "scripts.benchmark", "scripts.tune",
     "actors.training", "learners.alphazero", "scoundrel_ray.network", "matplotlib.pyplot"]
)  # fmt: skip


def _command(script, arguments, cwd, out, err, environment):
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.update(environment, COLUMNS="200")
    sys.path.insert(0, str(cwd))  # as `python -m` does
    sys.modules.pop(f"scripts.{script}", None)
    sys.argv = [f"scripts.{script}", *arguments]
    try:
        runpy.run_module(f"scripts.{script}", run_name="__main__", alter_sys=True)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def run(script, arguments, cwd, told, **environment):
    """Exit code, stdout and stderr of `python -m scripts.<script> <arguments>` in `cwd`; `told` is a directory for
    what it prints, `environment` holds variables that it finds beside this process's.
    """
    out, err = told / "out", told / "err"
    process = _CONTEXT.Process(target=_command, args=(script, arguments, cwd, out, err, environment))
    process.start()
    process.join(300)
    assert process.exitcode is not None, f"{script} {arguments} did not end"
    return process.exitcode, out.read_text(), err.read_text()
