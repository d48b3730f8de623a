"""SIGTERM in those moments in which Ray, or Python at its end, would have it kill the process."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from tests.scripts.test_commands import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Ray's handlers are Linux's here")


def run(code):
    """A process with the commands' guard; its exit code and what it printed."""
    head = "import os, signal, sys, time\nfrom scripts import interrupts\ninterrupts.guard()\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_it_wakes_the_main_thread_and_is_heeded_once_for_each():
    code, out, err = run("""
        import threading
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        for _ in range(2):
            start = time.monotonic()
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                print("woken", time.monotonic() - start < 30)
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
        """)
    assert (code, out) == (-signal.SIGINT, "woken True\nwoken True\n") and "KeyboardInterrupt" in err


def test_other_handlers_and_children_are_as_ever():
    """A handler of the user's own is called; a child whose parent runs code between fork and exec dies by SIGTERM."""
    code, out, _ = run("""
        import subprocess
        signal.signal(signal.SIGTERM, lambda number, frame: print("own", number))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        child = subprocess.Popen(["sleep", "60"], preexec_fn=os.getpid)
        child.terminate()
        print(child.wait(30))
        interrupts.ignore()
        os.kill(os.getpid(), signal.SIGTERM)
        """)
    assert (code, out) == (0, f"own {signal.SIGTERM.value}\n-{signal.SIGTERM.value}\n")


@pytest.mark.ray
def test_rays_own_handlers_do_not_see_it():
    """Its core has one while `ray.init` still runs, and in the middle of `ray.shutdown` it takes away what there is."""
    code, out, err = run("""
        import ray
        from actors import cluster
        once = ray.init
        def init(*args, **kwargs):
            once(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        ray.init = init
        try:
            with cluster.connected(1):
                pass
        except KeyboardInterrupt:
            import psutil
            _, alive = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=20)
            print("interrupted", alive, flush=True)
        ray.init = once
        ray.shutdown()
        with cluster.connected(1):
            from ray._private import node
            kill = node.Node.kill_all_processes
            def killing(*args, **kwargs):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.5)
                kill(*args, **kwargs)
            node.Node.kill_all_processes = killing
        print("ended")
        interrupts.ignore()
        """)
    assert (code, out) == (0, "interrupted []\nended\n"), (code, out, err)


def test_the_end_of_an_interrupted_process_does_what_is_registered_and_no_more():
    code, out, err = run("""
        import atexit
        atexit.register(print, "registered")
        print("found")
        interrupts.end(130, "interrupted")
        """)
    assert (code, out, err) == (130, "found\nregistered\n", "interrupted\n")
