"""Who may import whom: games, searches and learners stand alone, Ray and torch stay where they are needed."""

import ast
import functools
import re
from pathlib import Path

import pytest

import scoundrel_ray

ROOT = Path(__file__).parents[1]
PACKAGES = ("scoundrel_ray", "learners", "actors", "inference", "scripts")


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def imported(node, module):
    """Modules that one statement imports: of `from a import b`, a.b if it is a module of ours, else a."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
        base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [node.module])])
    return [name if (name := f"{base}.{alias.name}") in FILES else base for alias in node.names]


def statements(tree, late):
    """Import statements that run when a module is imported; with `late`, also those inside functions."""
    todo = list(ast.iter_child_nodes(tree))
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        elif late or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo.extend(ast.iter_child_nodes(node))


@functools.cache
def imports(module, late=True):
    tree = ast.parse(FILES[module].read_text(encoding="utf-8"))
    return frozenset(name for node in statements(tree, late) for name in imported(node, module))


def within(name, *packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


def members(*packages):
    return [module for module in FILES if within(module, *packages)]


def reached(module):
    """All modules that importing `module` imports, its packages included: ours followed, others named."""
    found, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        if "." in name and name in FILES:
            todo.append(name.rpartition(".")[0])
        if name in FILES:
            todo.extend(imports(name, late=False))
    return found


def mapped(docstring):
    """Modules and folders that a map names, in its order: lines of `a, b` or `folder/ a, b`, with indented remarks.

    A line that ends in a comma goes on in the next.
    """
    found = []
    for line in docstring.replace(",\n", ", ").splitlines():
        if line and re.fullmatch(r"(\w+/ ?)?(\w+(, \w+)*)?", line):
            folder, _, rest = line.rpartition("/")
            found += [folder] if folder and folder not in found else []
            found += [f"{folder}.{name}".strip(".") for name in re.findall(r"\w+", rest)]
    return found


MAP = mapped(scoundrel_ray.__doc__ or "")


def place(module):
    """Place in the map of a module of scoundrel_ray: its own, or that of its folder, which lists none."""
    name = module.removeprefix("scoundrel_ray.")
    return MAP.index(name if name in MAP else name.partition(".")[0])


def families():
    """Game -> its modules: every file that defines `make`, with the files named after it."""
    games = [m for m in members("scoundrel_ray.games") if "def make(" in FILES[m].read_text(encoding="utf-8")]
    return {
        game: {m for m in members("scoundrel_ray.games") if within(m, game) or m.startswith(game + "_")}
        for game in games
    }


def test_the_walk_finds_what_is_there():
    assert {"scoundrel_ray.game", "scoundrel_ray.experience.selfplay", "learners.alphazero", "scripts.train"} <= set(
        FILES
    )
    assert "numpy" in reached("scoundrel_ray.experience.selfplay")
    assert "scoundrel_ray.searches.kernels" in reached("scoundrel_ray.experience.selfplay")
    assert "torch" in reached("learners.alphazero")
    assert "ray" in reached("actors.rollout")


def test_games_import_no_other_game():
    games = families()
    assert len(games) >= 3
    owned = set().union(*games.values())
    for game, own in games.items():
        for module in own:
            assert not imports(module) & (owned - own), f"{module}, of {game}, imports another game"


def test_games_import_rules_alone():
    for module in members("scoundrel_ray.games"):
        allowed = ("scoundrel_ray.games", "scoundrel_ray.game", "scoundrel_ray.compiled", "scoundrel_ray.rng")
        allowed += ("scoundrel_ray.symmetry", "scoundrel_ray.spec", "scoundrel_ray.streams")
        ours = {name for name in imports(module) if within(name, *PACKAGES)}
        foreign = {
            name
            for name in ours
            if not within(name, *allowed, "scoundrel_ray.settings.checks") and name != "scoundrel_ray"
        }
        assert not foreign, f"{module} imports {foreign}"


@pytest.mark.parametrize("module", members("scoundrel_ray.searches", "scoundrel_ray.search"))
def test_searches_import_no_game_and_no_network(module):
    barred = ("scoundrel_ray.games", "scoundrel_ray.network", "scoundrel_ray.networks", "torch")
    assert not [name for name in reached(module) if within(name, *barred)]


def test_learners_import_no_learner():
    """But their own parts, which are named after them."""
    contract = {"learners", "learners.learner", "learners.gradients", "learners.stacking"}  # what learners share
    for module in set(members("learners")) - contract:
        others = {name for name in imports(module) if within(name, "learners")} - contract
        others = {name for name in others if not name.startswith(f"{module}_")}
        assert not others, f"{module} imports {others}"


def test_networks_import_no_network():
    for module in set(members("scoundrel_ray.networks")) - {"scoundrel_ray.networks"}:
        assert not [name for name in imports(module) if within(name, "scoundrel_ray.networks")]


@pytest.mark.parametrize("module", FILES)
def test_ray_is_imported_by_actors_inference_and_scripts_alone(module):
    if not within(module, "actors", "inference", "scripts"):
        assert not [name for name in imports(module) if within(name, "ray")]


@pytest.mark.parametrize("module", members("scoundrel_ray", "learners"))
def test_the_library_imports_nothing_above_it(module):
    above = ("actors", "inference", "scripts") + (("learners",) if within(module, "scoundrel_ray") else ())
    assert not [name for name in imports(module) if within(name, *above)]


def commands():
    """Modules that are run: `python -m scripts.<name>`."""
    return {m for m in members("scripts") if 'if __name__ == "__main__"' in FILES[m].read_text(encoding="utf-8")}


def suites():
    """Modules that hold a suite of the benchmarks, by the files of conf/suite."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "conf" / "suite").glob("*.yaml")]
    return {re.findall(r"^_target_: (.+)\.\w+$", text, re.MULTILINE)[0] for text in texts}


def test_benchmarks_and_tuning_import_neither_each_other_nor_a_command():
    assert {"scripts.benchmark", "scripts.tune", "scripts.train"} <= commands()
    packages = ("scripts.benchmarks", "scripts.tuning", "scripts.measuring")
    for package in packages:
        above = {*commands(), *packages[:2]} - {package}  # what they share lies below both
        assert len(members(package)) > 1
        for module in members(package):
            barred = [name for name in imports(module) if within(name, *above)]
            assert not barred, f"{module} imports {barred}"


def test_suites_import_no_suite():
    assert len(suites()) >= 8 and suites() <= set(FILES)
    for module in suites():
        others = imports(module) & (suites() - {module})
        assert not others, f"{module} imports {others}"


def test_a_rollout_worker_imports_no_torch():
    """What its actor and all that a config may name for it import."""
    named = members("scoundrel_ray.games", "scoundrel_ray.searches")
    for module in ("actors.rollout", "actors.evaluation", "actors.replay", "scoundrel_ray.players", *named):
        assert not [name for name in reached(module) if within(name, "torch")], module


def test_torch_is_imported_at_the_top_only_where_networks_are():
    homes = ("scoundrel_ray.networks", "scoundrel_ray.network", "learners", "inference")
    for module in FILES:
        if not within(module, *homes):
            assert not [name for name in imports(module, late=False) if within(name, "torch")], module


def test_the_map_is_read():
    text = "A map.\n\nfirst, second\n    What they are.\nfolder/\n    Members.\nother/ third, fourth_one\n    More.\n"
    text += "other/ fifth\n    Last.\n"
    assert mapped(text) == ["first", "second", "folder", "other", "other.third", "other.fourth_one", "other.fifth"]


def test_the_map_names_every_module_once_and_none_that_is_missing():
    modules = {module.removeprefix("scoundrel_ray.") for module in members("scoundrel_ray")} - {"scoundrel_ray"}
    listing = {name.partition(".")[0] for name in MAP if "." in name}
    groups = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    bare = {name for name in modules if FILES[f"scoundrel_ray.{name}"].name == "__init__.py"} - listing
    assert {name.removesuffix("s") for name in bare} <= groups, "a folder that lists no module holds a group's members"
    wanted = {name for name in modules if name.partition(".")[0] not in bare or name in bare}
    assert sorted(MAP) == sorted(wanted)


@pytest.mark.parametrize("module", [module for module in members("scoundrel_ray") if module != "scoundrel_ray"])
def test_a_module_loads_only_what_the_map_names_before_it(module):
    own = "__init__" if FILES[module].name == "__init__.py" else ""
    for name in imports(module, late=False):
        if within(name, "scoundrel_ray") and name != "scoundrel_ray":
            inside = within(name, module) if own else place(name) == place(module)
            assert inside or place(name) < place(module), f"{module} imports {name}, which the map names after it"
