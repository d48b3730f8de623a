"""Every command that the README, docs/ and docstrings show can be composed as it is written there."""

import ast
import re
import shlex
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from scoundrel_ray.settings.build import composed
from scripts.entry import CONF

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = sorted((ROOT / "scripts").rglob("*.py"))


def of_text(text):
    """Commands of a page: lines of its blocks of code, and spans of code, which may go over several lines."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(
        r"`(python -m scripts\.[^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    whole = [block.replace("\\\n", " ") for block in blocks]  # a command may go on in the next line
    lines = [line for block in whole for line in block.splitlines() if "python -m scripts." in line]
    return [shlex.split(line[line.index("python -m scripts.") :], comments=True) for line in [*lines, *spans]]


def of_docstring(module):
    """Commands of a module's docstring, with a remark after several spaces or #; a quoted word may go over lines."""
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    commands = re.findall(r"^ *(python -m scripts\.\w+(?: (?:'[^']*'|[^\s'])+)*)", text, re.MULTILINE)
    return [shlex.split(command, comments=True) for command in commands]


COMMANDS = {
    shlex.join(words): words
    for words in [
        *(words for text in TEXTS for words in of_text(text.read_text(encoding="utf-8"))),
        *(words for module in MODULES for words in of_docstring(module)),
    ]
    if "--config-dir" not in words  # a directory that is the reader's
}


def test_the_pages_are_read():
    found = of_text(
        "```bash\n.venv/bin/python -m scripts.a b=1 \\\n 'c=[2]'  # d\n```\n`python -m scripts.e\nf=3`, `g`\n"
    )
    assert found == [["python", "-m", "scripts.a", "b=1", "c=[2]"], ["python", "-m", "scripts.e", "f=3"]]
    of = [words[2].removeprefix("scripts.") for words in COMMANDS.values()]
    assert {"train", "evaluate", "arena", "play", "tune", "benchmark"} == {*of}
    assert of.count("benchmark") >= 12


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_that_is_shown_composes(command):
    _, _, module, *arguments = COMMANDS[command]
    arguments = arguments[: arguments.index(">")] if ">" in arguments else arguments
    sweep = "-m" in arguments
    parsed = OverridesParser.create().parse_overrides([a for a in arguments if a != "-m"])
    choices = [
        [f"{each.get_key_element()}={value}" for value in each.sweep_string_iterator()]
        if each.is_sweep_override()
        else [each.input_line]
        for each in parsed
    ]
    most = max(map(len, choices), default=1)
    assert sweep or most == 1
    for point in range(most):  # every value once
        overrides = [texts[point % len(texts)] for texts in choices]
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            composed(hydra.compose(module.removeprefix("scripts."), overrides))
