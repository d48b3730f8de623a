"""Commands that are run to their end."""

import pytest

from tests.scripts import forked


@pytest.fixture
def run(tmp_path_factory):
    """Runs `python -m scripts.<script> <arguments>`: exit code, stdout and stderr."""
    told = tmp_path_factory.mktemp("told")

    def run(script, *arguments, cwd=forked.ROOT, stdin="", environment=None):
        return forked.run(script, arguments, cwd, told, stdin, **(environment or {}))

    return run
