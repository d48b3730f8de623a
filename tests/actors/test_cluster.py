"""A Ray of our own keeps to this machine."""

import os
from pathlib import Path

import psutil
import pytest
import ray

from actors.cluster import connected
from scoundrel_ray.settings.checks import InvalidConfig


def listening():
    """Addresses on which this process and its children listen."""
    me = psutil.Process()
    found = set()
    for process in [me, *me.children(recursive=True)]:
        try:
            sockets = [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
            found |= {c.laddr.ip.removeprefix("::ffff:") for c in sockets}
        except psutil.Error:
            continue
    return found


@pytest.mark.ray
def test_a_local_ray_listens_on_loopback_alone_and_ends():
    @ray.remote
    class Actor:
        def pid(self):
            return os.getpid()

    with connected(2):
        actor = Actor.remote()
        pid = ray.get(actor.pid.remote())
        assert listening() <= {"127.0.0.1", "::1"}
        assert listening()
        parts = {Path(part).name for process in psutil.Process().children(recursive=True) for part in process.cmdline()}
        assert "raylet" in parts and not parts & {"monitor.py", "log_monitor.py"}
    assert not ray.is_initialized()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_cluster_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(InvalidConfig, match="RAY_ADDRESS: cannot join"), connected():
        pass


def test_a_ray_that_does_not_start_is_one_line(monkeypatch):
    def fail(**_settings):
        raise Exception("The current node timed out during startup. This could happen.\nAnd more.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(RuntimeError, match=r"^Ray did not start: The current node timed out .* happen\.$"), connected():
        pass
