"""Imports run one way. The table below is the rule; a module that is not in it has no place yet."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "dashboard"

BASE = ("errors",)
RUNS = ("contracts", *BASE)
DISK = ("private", "store.announced", "store.budget", "store.files", "store.leftovers", "store.reserve")
RULES: dict[str, tuple[str, ...]] = {  # module or package of dashboard/ → what of dashboard/ it may import
    "errors": (),
    "ids": (),
    "markup": (),
    "examples": (),
    "container": (),
    "private": (),
    "settings": ("container", "private", *BASE),
    "contracts": RUNS,
    "store": ("store", "settings", "private", *RUNS),
    # of __init__ the version
    "models": ("models", *DISK, "store.upgrades", "container", "settings", "__init__", *RUNS),
    "analysis": ("analysis", *RUNS),
    # models and torch within a function that computes, never where a kind is declared
    "compute": ("compute", "models", *RUNS),
    "jobs": ("jobs", "store", "settings", "private", "container", *RUNS),
    "jobs.housekeeping": (
        "store",
        "settings",
        "private",
        "models.bundled",
        "models.digests",
        "models.gguf_files",
        "models.parts",
    ),
    "jobs.backend": ("jobs.failure", *RUNS),  # the interface, and its side of the web process: they see no queue
    "jobs.failure": BASE,
    "jobs.manager": ("jobs.backend", "jobs.failure", "store", "settings", *RUNS),
    "jobs.in_process": ("jobs.backend", "jobs.failure", "store", *RUNS),
    "jobs.work": ("jobs", "store", "settings", "models", "compute.deriving", *RUNS),  # what a worker does
    "jobs.preparation": ("jobs", "models.fetch", "models.fingerprint", "settings", *RUNS),  # what is done beside it
    "figures": ("figures", "analysis", "models.pieces", *RUNS),
    # from plain outputs: it asks the model's own head
    "figures.lens_plot": ("figures", "analysis", "compute.plain_lens", *RUNS),
    "views": ("views", "compute", "figures", "analysis", "ids", "markup", *RUNS),
    "run_info": ("analysis", "figures.tokens", "examples", "__init__", *RUNS),
    "gate": (),
    "plain_line": BASE,
    "below_path": (),
    "recent": ("gate", "plain_line", "store", "settings", *RUNS),
    "routes": ("build", "gate", "plain_line", "figures", "store", "models.catalog", "settings", "__init__", *RUNS),
    "envelopes": ("plain_line", *BASE),
    "picker": ("models.catalog", "markup", *BASE),
    "build": (),
    "components": ("markup",),
    "card_layout": ("components", "views", "figures.theme", "ids", "markup"),
    "page": (
        "build",
        "card_layout",
        "picker",
        "views",
        "figures.theme",
        "models.catalog",
        "examples",
        "ids",
        "markup",
        "settings",
        "__init__",
        *RUNS,
    ),
    "shelf": ("store", "models.catalog", "settings", *RUNS),
    "pictures": ("build", "plain_line", "shelf", "views", "figures", "markup", *RUNS),
    "wiring": ("picker", "shelf", "views", "run_info", "compute.deriving", "ids", *RUNS),
    "exports": (
        "exports",
        "views",
        "figures",
        "analysis",
        "store.mapped",
        "store.upgrades",
        "markup",
        "__init__",
        *RUNS,
    ),
    "export_routes": ("plain_line", "recent", "exports", "shelf", "store", "views", "figures.theme", *RUNS),
    "app": (
        "below_path",
        "build",
        "wiring",
        "shelf",
        "pictures",
        "page",
        "recent",
        "routes",
        "envelopes",
        "export_routes",
        "views",
        "jobs.in_process",
        "jobs.manager",
        "jobs.opening",
        "models.catalog",
        "store",
        "settings",
        *BASE,
    ),
    "patient_worker": ("settings",),
    "web_watch": ("container", "settings"),
    "wsgi": ("app", "settings", "web_watch"),
    "notebook": ("app", "store", "settings", "models", "compute.deriving", *RUNS),
    "serving": ("jobs.lifeline", "models.bundled", "models.catalog", "settings", *BASE),
    "shell": (
        "shell",
        "compute",
        "exports",
        "views",
        "run_info",
        "serving",
        "jobs.supervisor",
        "models",
        "settings",
        "store",
        *RUNS,
    ),
    "__main__": ("shell",),
    "__init__": (
        "compute",
        "contracts",
        "exports",
        "figures",
        "models",
        "notebook",
    ),  # the Python interface, imported when it is used
}
ONLY: dict[str, tuple[str, ...]] = {  # a library → where alone it may be imported
    "torch": ("models", "compute", "shell._runs", "jobs.work"),  # of compute/ within what computes
    "transformers": ("models",),
    "tokenizers": ("models",),
    "huggingface_hub": ("models",),
    "dash": (
        "components",
        "views",
        "card_layout",
        "page",
        "picker",
        "wiring",
        "shelf",
        "pictures",
        "app",
        "envelopes",
        "jobs.manager",
    ),
    "dash_bootstrap_components": ("views", "card_layout"),
    "dash_ag_grid": ("views",),
    "flask": ("plain_line", "recent", "routes", "pictures", "export_routes", "envelopes"),
    "flask_compress": ("app",),
    "werkzeug": ("notebook", "envelopes"),
    "plotly": ("figures", "views", "exports", "pictures", "app"),
    "sklearn": ("analysis", "wsgi"),
    "diskcache": ("jobs.cache", "jobs.disk"),
    "safetensors": ("store", "models"),
    "pandas": ("exports.frames", "app"),
}
DOORS = {  # of jobs/: what anything outside it may import, since no more is to know which queue runs
    "jobs.backend": "the interface, and the values that it gives",
    "jobs.manager": "Dash's manager, on the interface",
    "jobs.opening": "which backend a server has",
    "jobs.in_process": "what a notebook computes with",
    "jobs.supervisor": "the worker service's main function",
    "jobs.lifeline": "a child process ends with its parent",
}
TORCH_FREE = (  # of models/: what the page imports
    "models.catalog",
    "models.bundled",
    "models.hub",
    "models.digests",
    "models.fingerprint",
    "models.architecture",
    "models.description",
    "models.adapters",
    "models.heads",
    "models.leftovers",
    "models.weight_headers",
    "models.folders",
    "models.foreign",
    "models.counting",
    "models.counting_main",
    "models.counting_process",
    "models.panics",
    "models.plausible",
    "models.gguf_files",
    "models.memory",
    "models.pieces",
    "models.fetch",
    "models.parts",
    "models.transfer",
)


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of dashboard/ by its name inside the package: "figures.theme", "figures" for a package's own
    file."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = list(path.relative_to(root / PACKAGE).with_suffix("").parts)
        if parts[-1] == "__init__" and len(parts) > 1:
            parts.pop()
        found[".".join(parts)] = path
    return found


def imported(source: str, names: set[str], top_level: bool = False) -> Iterator[str]:
    """What `source` imports: modules of dashboard as "dashboard:figures.theme", libraries by their first name.

    Args:
        names: the modules of dashboard, so that `from dashboard import ids` is known to be one.
        top_level: leave out what is imported inside functions and for type checkers only.
    """
    for module, name in _imports(source, top_level):
        yield _target(module, name, names)


@functools.cache
def _imports(source: str, top_level: bool) -> list[tuple[str, str | None]]:
    """Module and name of each import; a text is parsed once, however often it is asked for."""
    tree = ast.parse(source)
    found: list[tuple[str, str | None]] = []
    for node in _statements(tree) if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found.extend((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.extend((node.module or "", alias.name) for alias in node.names)
    return found


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node


def _target(module: str, name: str | None, names: set[str]) -> str:
    if module.split(".")[0] != PACKAGE:
        return module.split(".")[0]
    inside = module.removeprefix(PACKAGE).lstrip(".")
    longer = f"{inside}.{name}".lstrip(".") if name else inside
    return f"{PACKAGE}:{longer if longer in names else inside or '__init__'}"


def within(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


def rule_of(module: str) -> tuple[str, ...] | None:
    """The rule of the module itself, or of the nearest package around it."""
    while module not in RULES and "." in module:
        module = module.rpartition(".")[0]
    return RULES.get(module)


def violations(root: Path = ROOT) -> list[str]:
    """Every import that the tables do not allow."""
    known, found = modules(root), []
    for module, path in known.items():
        rule = rule_of(module)
        if rule is None:
            found.append(f"{module} has no rule")
            continue
        for target in sorted(set(imported(path.read_text(), set(known)))):
            if target.startswith(PACKAGE + ":"):
                inside = target.removeprefix(PACKAGE + ":")
                if inside != module and not within(inside, rule):
                    found.append(f"{module} imports {inside}")
            elif target in ONLY and not within(module, ONLY[target]):
                found.append(f"{module} imports {target}")
    return found


def test_every_import_runs_the_allowed_way() -> None:
    assert violations() == []


def test_every_rule_is_of_a_module_that_exists() -> None:
    known = set(modules())
    named = (
        {name for rule in RULES.values() for name in rule}
        | set(RULES)
        | {n for places in ONLY.values() for n in places}
    )
    assert named - known == set()
    assert set(TORCH_FREE) <= known


def strangers(root: Path = ROOT) -> list[str]:
    """Every import by which something outside jobs/ comes in by another way than its doors."""
    known = modules(root)
    return [
        f"{module} imports {target.removeprefix(PACKAGE + ':')}"
        for module, path in known.items()
        if not within(module, ("jobs",))
        for target in sorted(set(imported(path.read_text(), set(known))))
        if target.startswith(f"{PACKAGE}:jobs") and target.removeprefix(PACKAGE + ":") not in DOORS
    ]


def test_nothing_outside_the_jobs_knows_the_queue() -> None:
    assert strangers() == []
    assert set(DOORS) <= set(modules())


@pytest.mark.parametrize("name", ["queue", "ledger", "records", "cache", "diskcache_backend", "work", "worker"])
def test_a_stranger_among_the_jobs_is_caught(tmp_path: Path, name: str) -> None:
    for folder, text in (
        ("jobs", ""),
        ("app", f"from dashboard.jobs import {name}"),
        ("wiring", f"import dashboard.jobs.{name}"),
    ):
        (tmp_path / PACKAGE / folder).mkdir(parents=True)
        (tmp_path / PACKAGE / folder / "__init__.py").write_text(text)
    (tmp_path / PACKAGE / "jobs" / f"{name}.py").write_text("from dashboard.jobs import queue")
    assert strangers(tmp_path) == [f"app imports jobs.{name}", f"wiring imports jobs.{name}"]


@pytest.mark.parametrize(
    ("module", "line", "problem"),
    [
        ("jobs.manager", "from dashboard.jobs.queue import JobQueue", "jobs.manager imports jobs.queue"),
        ("jobs.manager", "import diskcache", "jobs.manager imports diskcache"),
        ("views.attention", "import torch", "views.attention imports torch"),
        ("views.attention", "def f():\n    from torch import nn", "views.attention imports torch"),
        ("figures.theme", "from dash import html", "figures.theme imports dash"),
        ("figures.theme", "from dashboard.views import all_views", "figures.theme imports views"),
        ("figures.theme", "from dashboard import settings", "figures.theme imports settings"),
        ("analysis.attention", "import dashboard.models.catalog", "analysis.attention imports models.catalog"),
        (
            "store.summary",
            "from dashboard.analysis.attention import head_tags",
            "store.summary imports analysis.attention",
        ),
        ("models.hub", "from dashboard.store.run_store import RunStore", "models.hub imports store.run_store"),
        ("jobs.queue", "from dashboard.models.loader import load_model", "jobs.queue imports models.loader"),
        ("wiring", "from dashboard.models.loader import load_model", "wiring imports models.loader"),
        ("contracts.run", "from dashboard.settings import Settings", "contracts.run imports settings"),
        ("wsgi", "from transformers.models import bert", "wsgi imports transformers"),
    ],
)
def test_a_planted_violation_is_caught(tmp_path: Path, module: str, line: str, problem: str) -> None:
    for name, path in modules().items():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text() + ("\n" + line + "\n" if name == module else ""))
    assert [found for found in violations(tmp_path) if found not in violations()] == [problem]


def test_a_module_without_a_rule_is_caught(tmp_path: Path) -> None:
    (tmp_path / PACKAGE).mkdir()
    (tmp_path / PACKAGE / "helpers.py").write_text("")
    assert violations(tmp_path) == ["helpers has no rule"]


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = modules()
    graph = {
        name: {
            target.removeprefix(PACKAGE + ":")
            for target in imported(path.read_text(), set(known), top_level=True)
            if target.startswith(PACKAGE + ":")
        }
        - {name}
        for name, path in known.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join((*trail, name))
        if name not in done:
            for target in graph[name]:
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def run_python(code: str, **environ: str) -> str:
    """What `code` prints in a fresh interpreter without our environment."""
    clean = {"PATH": "/usr/bin:/bin", "HOME": environ.pop("HOME", "/nonexistent"), "PYTHONPATH": str(ROOT), **environ}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], env=clean, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


HEAVY = "print(sorted({'torch', 'transformers', 'sklearn', 'dash', 'plotly', 'diskcache'} & set(sys.modules)))"


def test_importing_the_package_costs_nothing() -> None:
    assert run_python(f"import sys, dashboard, dashboard.settings, dashboard.errors, dashboard.ids; {HEAVY}") == "[]"


@pytest.mark.parametrize("module", [*TORCH_FREE, "jobs.preparation", "jobs.worker"])
def test_what_the_page_reads_of_the_models_needs_no_torch(module: str) -> None:
    assert (
        run_python(f"import sys, {PACKAGE}.{module}; print('torch' in sys.modules, 'transformers' in sys.modules)")
        == "False False"
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The libraries that a web process has imported "before" the first request, and "after" some."""
    folder = tmp_path_factory.mktemp("served")
    code = """
import json, sys, dashboard.wsgi
before = list(sys.modules)
with dashboard.wsgi.server.test_client() as client:
    for path in ("/", "/_dash-layout", "/_dash-dependencies", "/health"):
        assert client.get(path).status_code == 200, path
    assert client.post("/count", json={"model": "smollm2-135m", "text": "a"}).status_code == 200
import time; time.sleep(1)  # what is imported a little later, too
import sklearn.decomposition
print(json.dumps({"before": before, "after": list(sys.modules)}))
"""
    found = run_python(code, HOME=str(folder), DASHBOARD_CACHE_DIR=str(folder / "cache")).splitlines()[-1]
    return {when: sorted(set(names)) for when, names in json.loads(found).items()}


def test_serving_the_page_imports_no_torch(served: dict[str, list[str]]) -> None:
    assert {"torch", "transformers"} & set(served["after"]) == set()


def test_what_plotly_looks_for_is_imported_before_the_first_request(served: dict[str, list[str]]) -> None:
    """It looks into `sys.modules` while it writes JSON, and must not find a library that another thread is
    importing."""
    looked_for = {"numpy", "pandas", "polars", "pyarrow", "modin", "cudf", "dask", "xarray", "PIL"}
    late = set(served["after"]) - set(served["before"])
    assert "sklearn.decomposition" in late, "it is imported in a thread, and what it needs with it"
    assert looked_for & late <= {"PIL"}, "Pillow is imported where it is wanted, which waits until it is whole"
