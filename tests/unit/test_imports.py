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
GROUND = ("settings", "system", *RUNS)
DISK = (
    "store.announced",
    "store.array_file",
    "store.budget",
    "store.files",
    "store.leftovers",
    "store.reserve",
    "store.upgrades",
)
RULES: dict[str, tuple[str, ...]] = {  # module or package of dashboard/ → what of dashboard/ it may import
    "errors": (),
    "version": (),
    "system": (),
    "settings": ("system", "contracts.precision", *BASE),
    "contracts": RUNS,
    "analysis": ("analysis", *RUNS),
    "store": ("store", *GROUND),
    "catalog": ("catalog", *DISK, *GROUND),
    # torch comes in only within the function that converts
    "catalog.bundled": ("catalog", "capture.convert", *DISK, *GROUND),
    "catalog.gguf_files": ("catalog", "capture.from_gguf", *DISK, *GROUND),
    "capture": ("capture", "catalog", "analysis.token_text", *DISK, "version", *GROUND),
    # capture and torch within a function that computes, never where a kind is declared
    "compute": ("compute", "analysis.aggregates", "capture", "catalog", *RUNS),
    "jobs": ("jobs", "store", *GROUND),
    "jobs.backend": ("jobs.failure", *RUNS),  # the interface, and its side of the web process: they see no queue
    "jobs.failure": BASE,
    "jobs.housekeeping": ("store", "catalog", *GROUND),
    "jobs.in_process": ("jobs.backend", "jobs.failure", "store", *RUNS),
    "jobs.manager": ("jobs.backend", "jobs.failure", "store", "settings", *RUNS),
    # beside the worker
    "jobs.preparation": (
        *("jobs", "catalog.adapter_card", "catalog.catalog", "catalog.fetch", "catalog.fingerprint", "settings"),
        "catalog.tokenizers",
        *RUNS,
    ),
    "jobs.work": ("jobs", "store", "capture", "catalog", "compute.deriving", *GROUND),  # what a worker does
    "figures": ("figures", "analysis", *RUNS),
    # from plain outputs: it asks the model's own head
    "figures.lens_plot": ("figures", "analysis", "compute.plain_lens", *RUNS),
    "components": ("components",),
    "views": ("views", "components", "compute", "figures", "analysis", "catalog.examples", "version", *RUNS),
    "exports": (
        "exports",
        "views",
        "components",
        "figures",
        "analysis",
        *DISK,
        "store.exports",
        "store.mapped",
        "version",
        *RUNS,
    ),
    "web": (
        *("web", "exports", "views", "components", "figures", "compute.deriving", "catalog", "store", "version"),
        *("jobs.in_process", "jobs.manager", "jobs.open_backend"),
        *GROUND,
    ),
    "web.security": ("settings", "store.visits", *BASE),
    "web.below_path": (),
    "web.build": ("components.scripts",),
    "web.error_answers": BASE,
    "notebook": ("web.app", "store", "capture", "catalog", "compute.deriving", *GROUND),
    "cli": (
        *("cli", "exports", "views", "compute", "capture", "catalog", "store", "jobs.supervisor", "web.serving"),
        *GROUND,
    ),
    "__main__": ("cli",),
    # the Python interface, imported when it is used
    "__init__": ("version", "notebook", "exports", "figures", "analysis", "compute", "capture", "contracts"),
}
ONLY: dict[str, tuple[str, ...]] = {  # a library → where alone it may be imported
    "torch": ("capture", "compute", "cli._runs", "jobs.work"),  # of compute/ within what computes
    "transformers": ("capture", "catalog.chat_rendering"),  # there within the process that renders
    "tokenizers": ("capture", "catalog.counting", "catalog.counting_main", "catalog.ids_beyond", "catalog.pairs"),
    "huggingface_hub": ("catalog",),
    "dash": ("components", "views", "web", "jobs.manager"),
    "dash_bootstrap_components": ("views", "web.card_layout", "web.recent_panel"),
    "dash_ag_grid": ("views.grid", "views.attention.heads"),
    "flask": ("web",),
    "flask_compress": ("web.app",),
    "werkzeug": ("notebook", "web.error_answers"),
    "plotly": ("figures", "views", "exports", "web.routes.figures", "web.app"),
    "sklearn": ("analysis", "web.wsgi"),
    "diskcache": ("jobs.cache", "jobs.json_disk"),
    "safetensors": ("store", "catalog", "capture"),
    "pandas": ("exports.frames", "web.app"),
    "peft": ("capture.adapted",),
    "accelerate": (),
}
DOORS = {  # of jobs/: what anything outside it may import, since no more is to know which queue runs
    "jobs.backend": "the interface, and the values that it gives",
    "jobs.manager": "Dash's manager, on the interface",
    "jobs.open_backend": "which backend a server has",
    "jobs.in_process": "what a notebook computes with",
    "jobs.supervisor": "the worker service's main function",
}
TORCH_FREE = (  # what the page imports of models
    "catalog.catalog",
    "catalog.bundled",
    "catalog.hub",
    "catalog.digests",
    "catalog.fingerprint",
    "catalog.architecture",
    "catalog.description",
    "catalog.adapters",
    "catalog.adapter_card",
    "catalog.adapter_base",
    "catalog.tokenizers",
    "catalog.prediction_head",
    "catalog.unused_weights",
    "catalog.weight_headers",
    "catalog.folders",
    "catalog.foreign_files",
    "catalog.counting",
    "catalog.counting_main",
    "catalog.counting_process",
    "catalog.chat_rendering",
    "catalog.chat_templates",
    "catalog.limited_process",
    "catalog.tokenizer_panics",
    "catalog.config_sizes",
    "catalog.sizes",
    "catalog.gguf_files",
    "catalog.memory",
    "catalog.model_card",
    "analysis.token_text",
    "catalog.fetch",
    "catalog.partial_downloads",
    "catalog.transfer",
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


@pytest.mark.parametrize("name", ["queue", "job_table", "records", "cache", "diskcache_backend", "work", "worker"])
def test_a_stranger_among_the_jobs_is_caught(tmp_path: Path, name: str) -> None:
    for folder, text in (
        ("jobs", ""),
        ("cli", f"from dashboard.jobs import {name}"),
        ("web", f"import dashboard.jobs.{name}"),
    ):
        (tmp_path / PACKAGE / folder).mkdir(parents=True)
        (tmp_path / PACKAGE / folder / "__init__.py").write_text(text)
    (tmp_path / PACKAGE / "jobs" / f"{name}.py").write_text("from dashboard.jobs import queue")
    assert strangers(tmp_path) == [f"cli imports jobs.{name}", f"web imports jobs.{name}"]


@pytest.mark.parametrize(
    ("module", "line", "problem"),
    [
        ("jobs.manager", "from dashboard.jobs.queue import JobQueue", "jobs.manager imports jobs.queue"),
        ("jobs.manager", "import diskcache", "jobs.manager imports diskcache"),
        ("views.attention.heatmap", "import torch", "views.attention.heatmap imports torch"),
        ("views.declaration", "def f():\n    from torch import nn", "views.declaration imports torch"),
        ("figures.theme", "from dash import html", "figures.theme imports dash"),
        ("figures.theme", "from dashboard.views import all_views", "figures.theme imports views"),
        ("figures.theme", "from dashboard import settings", "figures.theme imports settings"),
        (
            "analysis.head_patterns",
            "import dashboard.catalog.catalog",
            "analysis.head_patterns imports catalog.catalog",
        ),
        (
            "store.summary",
            "from dashboard.analysis.head_patterns import head_tags",
            "store.summary imports analysis.head_patterns",
        ),
        ("catalog.hub", "from dashboard.store.run_store import RunStore", "catalog.hub imports store.run_store"),
        ("jobs.queue", "from dashboard.capture.loader import load_model", "jobs.queue imports capture.loader"),
        ("web.callbacks", "from dashboard.capture.loader import load_model", "web.callbacks imports capture.loader"),
        ("contracts.run", "from dashboard.settings import Settings", "contracts.run imports settings"),
        ("web.wsgi", "from transformers.models import bert", "web.wsgi imports transformers"),
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


def test_no_module_stands_outside_the_packages() -> None:
    """But the ground of all of them, and the two files that Python itself asks for."""
    loose = {path.stem for path in (ROOT / PACKAGE).glob("*.py")}
    assert loose == {"__init__", "__main__", "errors", "settings", "version"}


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
    assert (
        run_python(f"import sys, dashboard, dashboard.settings, dashboard.errors, dashboard.components.ids; {HEAVY}")
        == "[]"
    )


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
import json, sys, dashboard.web.wsgi
before = list(sys.modules)
with dashboard.web.wsgi.server.test_client() as client:
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
