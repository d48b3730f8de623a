"""A Ray to run on: one of our own on this machine, or the one that RAY_ADDRESS names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import ray

from scoundrel_ray.checks import InvalidConfig


@contextlib.contextmanager
def connected(cpus: int = 0) -> Iterator[None]:
    """A block with Ray at hand; a Ray of our own ends with it, another's is left as it was.

    A local Ray listens on 127.0.0.1 alone and has no dashboard.

    Args:
        cpus: of a local Ray; 0 for all of this machine's.

    Raises:
        InvalidConfig: if RAY_ADDRESS names a cluster that cannot be reached.
    """
    address = os.environ.get("RAY_ADDRESS")
    # Answers that nobody reads any more, of actors that were ended, are no errors.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    if address:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except (ConnectionError, ValueError) as error:
            raise InvalidConfig(f"RAY_ADDRESS: cannot join {address!r}: {str(error).splitlines()[0]}") from error
    else:
        ray.init(
            address="local",
            num_cpus=cpus or os.cpu_count(),
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            _node_ip_address="127.0.0.1",
        )
    try:
        yield
    finally:
        ray.shutdown()
