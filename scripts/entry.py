"""How every command starts: config composed, one line and a non-zero exit for what is wrong with it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from yaml import YAMLError

from scoundrel_ray.settings import handed
from scoundrel_ray.settings.build import composed
from scoundrel_ray.settings.checks import InvalidConfig
from scripts import interrupts

CONF = Path(__file__).resolve().parent.parent / "conf"
INTERRUPTED = 130


def run(config_name: str, task: Callable[[DictConfig], int | None]) -> None:
    """Compose conf/<config_name>.yaml with the command line and call `task`; exits with its code.

    SIGTERM does what Ctrl-C does, unless the task says otherwise.
    """
    sys.excepthook = sys.__excepthook__
    try:
        _run(config_name, task)
    except KeyboardInterrupt:
        interrupts.end(INTERRUPTED, "interrupted")
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            interrupts.end(INTERRUPTED)
        raise
    finally:
        interrupts.ignore()


def _run(config_name: str, task: Callable[[DictConfig], int | None]) -> None:
    _compose_or_exit(config_name, sys.argv[1:])
    codes: list[int] = []

    def guarded(config: DictConfig) -> None:
        codes.append(_guard(task, config))
        if codes[-1] == INTERRUPTED:  # ends a sweep, too
            sys.exit(INTERRUPTED)

    hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(guarded)()
    sys.exit(max(codes, default=0))


def _compose_or_exit(config_name: str, arguments: list[str]) -> None:
    """Compose once beforehand, so that a misspelt key is one line and no trace.

    A directory of the user's own (--config-dir) is searched, too; with other flags Hydra alone knows what to do.
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--multirun", "-m", action="store_true")
    known, overrides = parser.parse_known_args(arguments)
    if any(argument.startswith("-") for argument in overrides):
        return
    if known.config_dir is not None:
        directory = Path(known.config_dir).resolve()
        if not directory.is_dir():
            fail(f"--config-dir: got {known.config_dir!r}, wanted a directory")
        overrides.append(f"hydra.searchpath=[file://{directory}]")
    try:
        if known.multirun:  # check the first run of the sweep
            parsed = OverridesParser.create().parse_overrides(overrides)
            if any(not _values(each) for each in parsed if each.is_sweep_override()):
                return
            overrides = [
                f"{each.get_key_element()}={_values(each)[0]}" if each.is_sweep_override() else str(each.input_line)
                for each in parsed
            ]
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            hydra.compose(config_name, overrides)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        fail(_in_one_line(f"{error}\n{error.__cause__ or ''}"))


def _in_one_line(message: str) -> str:
    """A message of Hydra without its hints; a list of a group's members, a line each, is one clause."""
    hints = ("To append", "full_key", "object_type", "Config search path", "reference_type", "provider=")
    clauses: dict[str, None] = {}
    members: list[str] = []
    listing = False
    for line in message.splitlines():
        listing = line.startswith("Available options in ") or (listing and line.startswith("\t"))
        text = line.strip()
        if listing and line.startswith("\t"):
            members.append(text)
        elif text and not listing and not text.startswith(hints):
            clauses[text] = None
    return "; ".join([*clauses, *([f"wanted one of {', '.join(dict.fromkeys(members))}"] if members else [])])


def _values(override: Override) -> list[str]:
    """The values that a sweep takes, as text; empty for a glob, which only Hydra itself can list."""
    glob = override.value_type == ValueType.GLOB_CHOICE_SWEEP
    return [] if glob else list(override.sweep_string_iterator())


def _guard(task: Callable[[DictConfig], int | None], config: DictConfig) -> int:
    """Exit code of a task: 0, its own, 2 for what the user can mend, 130 for an interrupt.

    Hydra's switch for whole traces, HYDRA_FULL_ERROR=1, is ours, too.
    """
    try:
        _allow_modules(OmegaConf.to_container(config))
        return task(config) or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _allow_modules(config: Any) -> None:
    """Allow files to name the modules that the user names: in the composed config, or as `modules`."""
    modules = config.get("modules", [])
    if not isinstance(modules, list) or not all(isinstance(name, str) for name in modules):
        raise InvalidConfig(f"modules: got {modules!r}, wanted a list of names such as my_games.liars_dice")
    handed.allow(*modules)
    handed.allow_targets(config)


def section(group: str, name: str) -> dict[str, Any]:
    """conf/<group>/<name>.yaml as it stands, for commands that need a member beside their own config.

    With group "" it is conf/<name>.yaml, composed with its defaults.
    """
    GlobalHydra.instance().clear()  # that of the command, which has been composed by now
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = composed(hydra.compose(f"{group}/{name}" if group else name))
    return config[group] if group else config


def wide_console(stderr: bool = False) -> Console:
    """A console whose tables keep their lines whole where there is no terminal to wrap them."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=240)


def fail(message: str) -> None:
    """Print one line and exit with 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
