"""A Ray to run on: one of our own on this machine, or the one that RAY_ADDRESS names."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import ray
from ray._private import parameter, ray_constants

from scoundrel_ray.machine import cores
from scoundrel_ray.settings.checks import InvalidConfig

_REACH_S = 10.0
# An object that nobody refers to is freed at once and not within a second, so that others take its place in the store.
_SYSTEM = {"free_objects_batch_size": 1}
# A local Ray's processes that nobody has a use for, 50 MB each: the autoscaler's, and the one that sends workers'
# output to a driver that wants it.
_LEFT_OUT = {"no_monitor": True, "include_log_monitor": False}


@contextlib.contextmanager
def connected(cpus: int = 0) -> Iterator[None]:
    """A block with Ray at hand; a Ray of our own ends with it, another's is left as it was.

    A Ray of our own has no dashboard and listens on 127.0.0.1 alone. What SIGTERM does stays what it was before Ray set
    a handler, and is what Ctrl-C does while Ray starts; once the block is over, no interrupt keeps Ray from ending its
    processes.

    Args:
        cpus: of a local Ray; 0 for all of this machine's.

    Raises:
        InvalidConfig: if RAY_ADDRESS names a cluster that cannot be reached.
        RuntimeError: if a Ray of our own does not start, as on a machine that is very busy.
    """
    address, terminated = os.environ.get("RAY_ADDRESS"), signal.getsignal(signal.SIGTERM)
    # Answers that nobody reads any more, of actors that were ended, are no errors.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    # Freed memory that the C library keeps for a thread, of an actor's dozen threads each: processes grew for hours.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    try:
        if address:
            _join(address)
        else:
            _start(cpus or cores())
    except SystemExit:  # by Ray's handler of SIGTERM
        raise KeyboardInterrupt from None
    try:
        if terminated is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminated)
        yield
    finally:
        with undisturbed():
            ray.shutdown()


def _join(address: str) -> None:
    _check_reachable(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        raise InvalidConfig(
            f"RAY_ADDRESS: cannot join {address!r}: {str(error).splitlines()[0]} (a cluster with token "
            "authentication wants its token here, too: RAY_AUTH_MODE=token, RAY_AUTH_TOKEN or ~/.ray/auth_token)"
        ) from error


def _start(cpus: int) -> None:
    own = psutil.Process()
    before = set(own.children())
    with _on_loopback(), _lean():
        try:
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                _system_config=_SYSTEM,
                logging_level=logging.ERROR,
            )
        except BaseException as error:
            with undisturbed():  # what it has started by now would last for a minute
                for process in set(own.children(recursive=True)) - before:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
            if not isinstance(error, Exception):
                raise
            cause = str(error).splitlines() or [type(error).__name__]  # a bare exception, where the machine is busy
            raise RuntimeError(f"Ray did not start: {cause[0]}") from error


@contextlib.contextmanager
def _lean() -> Iterator[None]:
    """A block in which Ray starts without what is left out: `ray.init` has no setting for it, what it calls has."""
    before: Any = parameter.RayParams
    known = inspect.signature(before.__init__).parameters
    parameter.RayParams = functools.partial(before, **{name: on for name, on in _LEFT_OUT.items() if name in known})
    try:
        yield
    finally:
        parameter.RayParams = before


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """A block, of some seconds at most, in which Ctrl-C and SIGTERM do nothing."""
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_reachable(address: str) -> None:
    """Refuse a host and port that nobody listens on at once; Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return  # such as "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()
    except OSError as error:
        raise InvalidConfig(f"RAY_ADDRESS: cannot join {address!r}: {error}") from error


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """A block in which Ray takes 127.0.0.1 for this node's address, and hence listens nowhere else.

    ray.init turns a loopback address that it is given into the machine's outer one. Ray has a switch against that, made
    for the firewalls of other systems: a constant, read from the environment at import, and in child processes anew.
    """
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before = ray_constants.ENABLE_RAY_CLUSTER, os.environ.get(name)
    ray_constants.ENABLE_RAY_CLUSTER, os.environ[name] = False, "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before[0]
        if before[1] is None:
            del os.environ[name]
        else:
            os.environ[name] = before[1]
