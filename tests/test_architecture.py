"""Who may import whom, what nobody may use, and what every module says about itself.

One test for each property; it lists all that offends. ``tests.structure`` does the measuring.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import dni_async
from tests import structure
from tests.structure import ROOT, Source, imported_by, sources, within

# What offends still, by property. It only ever gets shorter: an entry that is mended must go.
YET: dict[str, set[str]] = {}

# Part -> the parts it may import. Parts are what a top-level folder shows: its sub-packages and
# its modules. The ground (errors, addresses, seeding, system) imports nothing of ours.
LIBRARY = {
    "__init__": "config errors training",
    "training": "config data errors launcher network",
    "synthesizers": "config errors stage",
    "stage": "config errors seeding",
    "network": "config errors stage",
    "data": "config errors files seeding system",  # what fetches dies with its process
    "decisions": "errors wire",
    "transport": "addresses decisions errors system wire",
    "wire": "errors",
    "files": "errors",
    "config": "addresses decisions errors",  # what settings mean is for the rules to say
    "addresses": "",
    "errors": "",
    "seeding": "",
    "system": "",
}
# Those before the bar are of the same folder, those behind it of the library.
WORKERS = {
    "__init__": "|",
    "__main__": "fork_server joining startup worker | addresses errors system transport wire",
    "fork_server": "startup worker | files system",
    "joining": "startup worker | addresses errors system transport wire",
    "worker": "startup training | errors system transport wire",
    "in_memory": "reporting startup training | config data errors network transport wire",
    "probe": "in_memory startup | config data errors system wire",
    "training": "reporting saving startup | decisions errors files stage transport wire",
    "saving": "reporting startup | decisions errors files network system stage wire",
    "reporting": "startup | decisions errors files seeding stage synthesizers system transport"
    " wire",
    "startup": "| config data decisions errors files network seeding stage synthesizers system"
    " transport wire",
}
LAUNCHER = {
    "__init__": "|",
    "cli": "commands interruption report run run_folder | config errors files system wire",
    "options_page": "cli commands | config decisions system",
    "engine": "interruption monitoring report run run_folder | config errors system",
    "run": "coordination interruption jobs monitoring places plan report run_folder"
    " | config errors files",
    "commands": "dashboard decisions interruption plan report run run_folder"
    " | config decisions errors files system transport wire",
    "doctor": "commands places plan report"
    " | addresses config decisions errors files system transport wire",
    "coordination": "decisions monitoring places plan report run_folder"
    " | decisions errors stage system transport wire",
    "jobs": "monitoring places plan report run_folder"
    " | config data decisions errors files network stage synthesizers system wire",
    "places": "decisions plan | config errors files system transport",
    "run_folder": "plan report | config data decisions errors files network stage wire",
    "monitoring": "dashboard plan report | addresses config errors files system wire",
    "dashboard": "plan report | addresses config errors files system wire",
    "report": "plan | config decisions errors files system wire",
    "plan": "| addresses config data decisions errors files network stage system transport",
    "decisions": "| decisions errors wire",
    "interruption": "| errors system",
}
# Of the library and of the launcher, benchmarks may import what they measure; of the workers the
# line in one process, which is their reference.
IN_MEMORY = "dni_async.workers.in_memory"
BENCHMARKS = {
    "__init__": "",
    "chaos": "harness rivals",
    "cores": "harness rivals workloads",
    "cluster": "harness rivals",
    "deep": "harness workloads",
    "gpu": "harness rivals workloads",
    "hostile": "harness workloads",
    "learning": "harness rivals",
    "links": "harness rivals",
    "scaling": "harness workloads",
    "training": "harness rivals workloads",
    "users": "harness workloads",
    "workloads": "harness rivals",
    "rivals": "harness",
    "harness": "",
}

# Place -> what nothing at it may import. Decisions are pure: no clock, socket, file or torch.
PURE = "torch numpy zmq socket select selectors time datetime os io pathlib shutil tempfile signal"
PURE += " subprocess threading psutil click rich"
FORBIDDEN = {
    "dni_async/decisions": PURE,
    "launcher/decisions": PURE,
    "dni_async/wire": "zmq socket select time os pathlib subprocess",
    "dni_async/stage": "zmq socket select msgpack",
    "dni_async/synthesizers": "zmq socket select msgpack os time",
    "dni_async/network": "zmq socket select os time",
    "dni_async/files": "zmq socket time",
    "launcher/report": "torch zmq socket time os subprocess click",
    "": "pickle dill marshal shelve multiprocessing asyncio",
}
# Module -> the only places that may import it, in the library, the workers and the launcher.
ONLY_IN = {
    "zmq": "dni_async/transport/channels.py dni_async/transport/sockets.py"
    " dni_async/transport/gate.py dni_async/transport/rings.py",
    "msgpack": "dni_async/wire/codec.py",
    "cloudpickle": "dni_async/config/given.py",  # the caller's own; see docs/decisions/0040
    "ray": "launcher/places/ray/cluster.py launcher/monitoring/ray_metrics.py",
    "subprocess": "launcher/places/ray/actor.py launcher/places/local.py launcher/places/server.py"
    " launcher/places/talk.py launcher/jobs/baseline_process.py",
    "click": "launcher/cli.py launcher/commands/ launcher/doctor/cli.py workers/__main__.py",
    "rich": "launcher/",
    "IPython": "launcher/monitoring/live/notebook.py",
    "psutil": "dni_async/files/scratch.py dni_async/system/machine.py",
    "tensorboard": "launcher/monitoring/tensorboard.py",
    "mlflow": "launcher/monitoring/loggers/mlflow.py",
    "wandb": "launcher/monitoring/loggers/wandb.py",
    "prometheus_client": "launcher/monitoring/prometheus.py",
    "starlette": "launcher/dashboard/guard.py launcher/dashboard/site.py",
    "anyio": "launcher/dashboard/site.py",
    "uvicorn": "launcher/dashboard/server.py launcher/dashboard/connections.py",
}
# Calls that unpickle or run what they are given, or wait for time to pass.
FORBIDDEN_CALLS = {"recv_pyobj", "send_pyobj", "recv_serialized", "sleep"}
FORBIDDEN_BUILTINS = {"eval", "exec"}
# Call -> in which folders it is not made, and the modules there that make it all the same. What
# anybody may have written is read, and printed, in one place each.
READERS = "launcher/report launcher/dashboard launcher/commands launcher/monitoring"
COMMANDS = "launcher/commands"
ONE_PLACE = {
    "json.loads": (READERS, ""),
    "json.load": (READERS, ""),
    "Console": ("launcher", "launcher/report/terminal/console.py"),
    "Text.from_markup": ("launcher", ""),
    "Text.from_ansi": ("launcher", ""),
    "click.echo": ("launcher", ""),
    "click.secho": ("launcher", ""),
    "output.say": (
        "launcher",
        f"{COMMANDS}/completion.py launcher/options_page.py",
    ),
    "output.complain": ("launcher", f"{COMMANDS}/exits.py launcher/coordination/event_file.py"),
}
# What prints where the caller's output is, and may raise; and the only places that may.
PRINTERS = {"print", "pprint", "print_exc", "print_exception", "echo", "secho"}
PRINTING = {"dni_async/system/output.py", "launcher/report/terminal/console.py"}


def settle(kind: str, found: set[str]) -> None:
    """Fail with all that offends, and with what is said to offend and does not."""
    said = set(YET.get(kind, ()))
    new, mended = sorted(found - said), sorted(said - found)
    assert not new, f"{kind}:\n" + "\n".join(new)
    assert not mended, f"mended, so take it out of YET[{kind!r}]:\n" + "\n".join(mended)


def installed() -> list[Source]:
    """What a wheel holds: everything but the benchmarks."""
    return [source for source in sources() if not source.place.startswith("benchmarks/")]


def allowed() -> dict[str, set[str]]:
    """Each part by its dotted name, with those it may import."""
    table = {f"dni_async.{part}": _dotted("dni_async", to) for part, to in LIBRARY.items()}
    table |= {f"benchmarks.{part}": _dotted("benchmarks", to) for part, to in BENCHMARKS.items()}
    for package, parts in {"workers": WORKERS, "launcher": LAUNCHER}.items():
        for part, to in parts.items():
            own, library = to.split("|")
            reached = _dotted(f"dni_async.{package}", own) | _dotted("dni_async", library)
            table[f"dni_async.{package}.{part}"] = reached
    return table


def _dotted(package: str, parts: str) -> set[str]:
    """The parts by their dotted names."""
    return {f"{package}.{part}" for part in parts.split()}


def part_of(name: str) -> str:
    """The part that a module belongs to."""
    for package in ("dni_async.launcher", "dni_async.workers", "dni_async", "benchmarks"):
        if within(name, package):
            return f"{package}.{structure.child_of(package, name)}"
    raise AssertionError(name)


def arrows() -> Iterator[tuple[str, str]]:
    """Every pair of parts of which the first imports the second."""
    for name, imported in structure.import_graph().items():
        own = part_of(name)
        for other in imported:
            if part_of(other) != own and not part_of(other).endswith("__init__"):
                yield own, part_of(other)


def test_there_is_no_import_circle() -> None:
    settle("circle", structure.import_circles())


def test_imports_follow_the_arrows() -> None:
    table = allowed()
    parts = {part_of(name) for name in structure.import_graph()}
    assert parts == set(table), "the tables above name each part, and what it may import"
    settle("arrow", {f"{a} -> {b}" for a, b in arrows() if not is_allowed(table, a, b)})


def is_allowed(table: dict[str, set[str]], part: str, other: str) -> bool:
    """Whether part may import other."""
    if part.startswith("benchmarks.") and not within(other, "benchmarks"):
        return not within(other, "dni_async.workers") or other == IN_MEMORY
    return any(within(other, one) for one in table[part])


def test_the_library_reaches_for_the_launcher_in_one_place() -> None:
    """At the call of dni_async.train alone."""
    reaching = {
        source.place
        for source in sources()
        if source.place.startswith("dni_async/")
        and any(within(imported, "dni_async.launcher") for imported in imported_by(source))
    }
    assert reaching == {"dni_async/training/call.py"}


def test_each_place_keeps_off_what_is_not_its_business() -> None:
    settle(
        "forbidden",
        {
            f"{source.place}: {imported}"
            for source in sources()
            for place, modules in FORBIDDEN.items()
            if source.place.startswith(f"{place}/" if place else "")
            for imported in imported_by(source)
            if any(within(imported, module) for module in modules.split())
        },
    )


def test_other_peoples_libraries_are_used_where_they_belong() -> None:
    settle(
        "only in",
        {
            f"{source.place}: {module}"
            for source in installed()
            for module, places in ONLY_IN.items()
            if not source.place.startswith(tuple(places.split()))
            if any(within(imported, module) for imported in imported_by(source))
        },
    )


def test_what_others_wrote_is_read_and_printed_in_one_place_each() -> None:
    """So that whoever reads or prints has nothing to remember; see wire/foreign_text."""
    settle(
        "one place",
        {
            f"{source.place}:{node.lineno}: {call}"
            for source in installed()
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Call)
            and (call := ast.unparse(node.func)) in ONE_PLACE
            and source.place.startswith(tuple(f"{at}/" for at in ONE_PLACE[call][0].split()))
            and source.place not in ONE_PLACE[call][1].split()
        },
    )


def test_nothing_is_unpickled_and_nobody_sleeps() -> None:
    settle(
        "unsafe",
        {
            f"{source.place}:{line}: {what}"
            for source in installed()
            for line, what in unsafe(source)
        },
    )


def unsafe(source: Source) -> Iterator[tuple[int, str]]:
    """Line and name of each call that is nobody's to make."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in FORBIDDEN_BUILTINS or called.split(".")[-1] in FORBIDDEN_CALLS:
                yield node.lineno, called
            safe = {"weights_only": "True", "allow_pickle": "False"}
            for word in node.keywords:
                if word.arg in safe and ast.unparse(word.value) != safe[word.arg]:
                    yield node.lineno, word.arg
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, a.name) for a in node.names if a.name in FORBIDDEN_CALLS)


def test_what_is_printed_is_printed_where_it_cannot_end_the_process() -> None:
    settle(
        "prints",
        {
            f"{source.place}:{line}: {what}"
            for source in installed()
            if source.place not in PRINTING
            for line, what in printing(source)
        },
    )


def printing(source: Source) -> Iterator[tuple[int, str]]:
    """Line and name of each way to a standard stream, or to a descriptor's number."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            to = ast.unparse(node.args[0]) if node.args else ""
            if called.split(".")[-1] in PRINTERS and not called.endswith("console.print"):
                yield node.lineno, called
            elif called == "os.write" and to in {"1", "2"}:
                yield node.lineno, f"os.write({to}, ...)"
        elif isinstance(node, ast.Name) and node.id in PRINTERS:  # to be called by another
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            named = ast.unparse(node)
            if named.startswith(("sys.stdout", "sys.stderr", "sys.__std")) and named.count(".") < 2:
                yield node.lineno, named


def test_a_module_says_in_one_sentence_what_it_is_for() -> None:
    settle("sentence", {s.place for s in sources() if not opens_with_a_sentence(s)})


def opens_with_a_sentence(source: Source) -> bool:
    """Whether the first line of the docstring is a whole sentence, and stands alone."""
    first, *rest = (ast.get_docstring(source.tree) or "").split("\n")
    return first[-1:] in set(".:!?") and (not rest or rest[0] == "")


def test_a_module_fits_in_the_head() -> None:
    settle("long", structure.long_modules())


def test_a_folder_shows_what_one_takes_in() -> None:
    settle("names", structure.crowded_folders())


def test_a_constructor_is_given_few_things() -> None:
    settle("constructor", set(structure.greedy_constructors()))


def test_functions_are_short() -> None:
    settle("functions", structure.packages_of_long_functions())


def test_everything_public_has_a_docstring() -> None:
    settle(
        "docstring",
        {
            f"{source.place}: {part.name}"
            for source in installed()
            for part in public_parts(source.tree)
            if not ast.get_docstring(part) and ast.unparse(part.body[0]) != "..."  # a protocol's
        },
    )


def public_parts(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Public functions and classes, and the public methods of those classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                for part in node.body:
                    if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                        yield part


def test_all_lists_what_is_there() -> None:
    settle("all", {source.place for source in installed() if not lists_what_is_there(source)})


def lists_what_is_there(source: Source) -> bool:
    """Whether each name of ``__all__`` stands there once, and is in the module."""
    for node in source.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            module = importlib.import_module(source.name)
            return len(set(names)) == len(names) and all(hasattr(module, name) for name in names)
    return True


def test_the_public_library_is_what_it_says() -> None:
    importable = {
        name
        for name, value in vars(dni_async).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert importable | {"__version__"} == set(dni_async.__all__)


WITHOUT_TORCH = [
    "dni_async",
    "dni_async.config.given",
    "dni_async.training.call",
    "dni_async.config.run_config",
    "dni_async.wire.codec",
    "dni_async.decisions.machines.machine",
    "dni_async.decisions.schedule",
    "dni_async.data",
    "dni_async.network.partition",
    "dni_async.seeding",
    "dni_async.system",
    "dni_async.launcher.cli",
    "dni_async.launcher.doctor.cli",
    "dni_async.launcher.plan.plan",
    "dni_async.launcher.places.local",
    "dni_async.launcher.commands.report",
    "dni_async.launcher.decisions.run_machine",
    "dni_async.launcher.run_folder.folder",
    "dni_async.workers.__main__",
]


def test_these_modules_do_not_import_torch() -> None:
    """So that usage errors and --help come at once, and decisions run anywhere."""
    program = "import importlib, sys\n" + "".join(
        f"importlib.import_module({name!r}); assert 'torch' not in sys.modules, {name!r}\n"
        for name in WITHOUT_TORCH
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
