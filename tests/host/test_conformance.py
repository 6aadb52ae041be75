"""Every built-in part keeps every check of its kind, and the command and the library for tests say so."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from muomni_cli.api import CallbackPart, Capability, Part, PartConfig
from muomni_cli.conformance.common import LoadedPart
from muomni_cli.conformance.runner import HOMES, CheckRun, PartMatch, checks_of, parts_called
from muomni_cli.contract.checks import Check, CheckResult, CheckSkipped, Number
from muomni_cli.core.errors import RequestError
from muomni_cli.registry.hookspecs import DECLARES
from muomni_cli.registry.registry import get_registry
from muomni_cli.testing import cases, examine

pytestmark = pytest.mark.long

Install = Callable[..., Path]
Muomni = Callable[..., "subprocess.CompletedProcess[str]"]

NEEDED = {name: name for name in ("mlflow", "tensorboard", "trackio", "wandb")}
"""Parts that need a package that may not be here."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def built_ins() -> list[PartMatch]:
    """Every part of every built-in plugin."""
    plugins = [plugin.info for plugin in get_registry().plugins if plugin.info.origin == "built-in"]
    return [named for info in plugins for named in parts_called(info.name, get_registry())]


def called(named: PartMatch) -> str:
    return f"{named.part.kind}-{named.part.name}"


@pytest.mark.parametrize("named", built_ins(), ids=called)
def test_a_built_in_keeps_every_law(named: PartMatch) -> None:
    package = NEEDED.get(named.part.name)
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    with LoadedPart(named.part, named.plugin) as subject:
        trial = CheckRun(subject, [check for check in checks_of(named.part.kind) if check.name not in SLOW])
        results = trial.results()
    assert [f"{one.check.name}: {one.summary}" for one in results if one.state == "failed"] == []
    tried = {one.check.name for one in results if one.state == "passed"}
    assert {"references", "settings", "config"} <= tried
    for one in results:
        if one.check.needs in named.part.capabilities:
            assert one.state == "passed", f"{one.check.name} was not tried: {one.reason}"


SLOW = frozenset({"exports", "serves"})
"""Checks that take seconds a part; they are tried where exports are tested."""


def test_every_kind_has_laws_of_its_own() -> None:
    parts = {declared.kind for declared in DECLARES.values() if issubclass(declared, Part)}
    assert parts | {"model"} == set(HOMES)
    for kind in HOMES:
        names = [check.name for check in checks_of(kind)]
        assert len(set(names)) == len(names)
        for check in checks_of(kind):
            assert set(check.depends_on) <= set(names) | {"shapes"}, (
                f"{kind}: {check.name} builds on a check that is not there"
            )
            assert check.doc
            assert "\n" not in check.doc


def test_every_capability_has_a_law() -> None:
    tested = {check.needs for kind in HOMES for check in checks_of(kind)}
    assert tested - {None} == set(Capability)


PART = CallbackPart(name="ear", doc="listens", config=PartConfig, build="builtins:dict")


@pytest.mark.parametrize(
    ("numbers", "state", "told"),
    [
        ([Number("a", 1.0), Number("b", 3.1e-2, 1e-4, "row 2")], "failed", "b 0.031 (row 2), allowed 0.0001; a 1"),
        ([Number("a", float("nan"), 1.0)], "failed", "a nan, allowed 1"),
        ([Number("a", 0.5, 1.0, unit="s")], "passed", "a 0.5 s, allowed 1 s"),
    ],
)
def test_numbers_decide_and_are_told(numbers: list[Number], state: str, told: str) -> None:
    with LoadedPart(PART) as subject:
        (result,) = CheckRun(subject, [Check(name="x", doc="x holds", run=lambda _: numbers)]).results()
    assert (result.state, result.summary) == (state, told)
    assert json.loads(json.dumps(result.as_data(), allow_nan=False))["state"] == state


def test_a_law_is_tried_once_and_after_its_ground() -> None:
    order: list[str] = []

    def check(name: str, *after: str, broken: bool = False) -> Check:
        def check(subject: LoadedPart) -> list[Number]:  # noqa: ARG001
            order.append(name)
            return [Number("it", float(broken), 0.0)]

        return Check(name=name, doc=name, run=check, depends_on=after)

    checks = [check("d", "c"), check("c", "b"), check("b", "a", broken=True), check("a")]
    with LoadedPart(PART) as subject:
        trial = CheckRun(subject, checks)
        states = {result.check.name: result for result in trial.results()}
        assert trial.result("b") is states["b"]
    assert order == ["a", "b"]
    assert {name: result.state for name, result in states.items()} == {
        "d": "skipped",
        "c": "skipped",
        "b": "failed",
        "a": "passed",
    }
    assert states["d"].reason == "depends on b, which failed"


def test_what_a_law_raises_is_a_verdict_and_what_it_prints_no_product(capsys: pytest.CaptureFixture[str]) -> None:
    def raises(error: BaseException) -> CheckResult:
        def check(subject: LoadedPart) -> list[Number]:
            print(subject.name)
            raise error

        with LoadedPart(PART) as subject:
            return CheckRun(subject, [Check(name="x", doc="x", run=check)]).result("x")

    assert (raises(CheckSkipped("no ears")).state, raises(CheckSkipped("no ears")).reason) == (
        "skipped",
        "no ears",
    )
    assert raises(RequestError("too loud", "less")).reason == "too loud"
    assert raises(SystemExit(3)).reason == "SystemExit: 3"
    assert capsys.readouterr().out == ""
    with pytest.raises(KeyboardInterrupt):
        raises(KeyboardInterrupt())


def test_cases_share_what_they_build_and_fail_in_words() -> None:
    found = cases("muomni_text:bytes")
    assert {str(case) for case in found} >= {"tokenizer-bytes-lossless", "tokenizer-bytes-imports"}
    for case in found:
        case.run()
    assert len({id(case.check_run) for case in found}) == 1


def test_random_numbers_stay_as_they_were() -> None:
    before = torch.random.get_rng_state()
    examine(replace(get_registry().all("encoder")[0].part, graphs=None))
    assert torch.equal(before, torch.random.get_rng_state())


STRANGER = """
    '''Stones.'''
    from muomni_cli.api import CheckSpec, DatasetPart, Document, PartConfig, hookimpl
    from muomni_cli.testing import Check, Number

    class Pebbles:
        unreadable = {}
        def __init__(self, config): pass
        def files(self): return []
        def documents(self):
            yield Document(text="a pebble", key="KEY")

    def few(subject):
        print("looking")
        return [Number("pebbles", 1, 3)]

    FEW = Check(name="few", doc="no more pebbles than one can carry", run=few, kinds=frozenset({"dataset"}))

    @hookimpl
    def register_datasets():
        return [DatasetPart(name="pebbles", doc="small stones", config=PartConfig, build="stranger_stones:Pebbles")]

    @hookimpl
    def register_checks():
        return [CheckSpec(name="few", doc="few pebbles", check="stranger_stones:FEW"),
                CheckSpec(name="gone", doc="not there", check="stranger_stones:NOWHERE")]
"""


def test_a_stranger_that_keeps_the_laws_and_adds_one(install: Install, muomni: Muomni) -> None:
    install("stones", STRANGER)
    done = muomni("plugins", "check", "stones")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^few +passed +pebbles 1, allowed 3$", done.stdout, re.MULTILINE)
    assert re.search(r"^refuses +- +it declares no sample", done.stdout, re.MULTILINE)
    assert "looking" in done.stderr
    assert "check gone of plugin stones is left out" in done.stderr
    shown = muomni("plugins", "info", "stones")
    assert re.search(r"^check +few +few pebbles$", shown.stdout, re.MULTILINE)
    assert "check: stranger_stones:FEW" in muomni("plugins", "info", "few").stdout


@pytest.mark.parametrize("name", ["stones", "pebbles", "stones:pebbles"])
def test_a_stranger_that_breaks_one(name: str, install: Install, muomni: Muomni) -> None:
    install("stones", STRANGER.replace("KEY", ""))
    done = muomni("plugins", "check", name, "--json")
    assert done.returncode == 1
    assert f"error: {name} fails 1 of " in done.stderr
    assert "dataset pebbles fails gives: documents, conversations or examples, each with a key" in done.stderr
    (report,) = json.loads(done.stdout)
    assert (report["kind"], report["name"], report["plugin"], report["holds"]) == (
        "dataset",
        "pebbles",
        "stones",
        False,
    )
    (broken,) = [check for check in report["checks"] if check["state"] == "failed"]
    assert (broken["check"], broken["reason"]) == ("gives", "a Document has the key ''")


def test_what_cannot_be_checked_says_why(install: Install, muomni: Muomni) -> None:
    install("bad", "import a_package_that_nobody_has")
    broken = muomni("plugins", "check", "bad")
    assert broken.returncode == 1
    assert "plugin bad is broken: ModuleNotFoundError: No module named 'a_package_that_nobody_has'" in broken.stderr
    absent = muomni("plugins", "check", "muomni_txt")
    assert absent.returncode == 2
    assert "did you mean 'muomni_text'?" in absent.stderr


def test_without_torch_it_says_what_to_install() -> None:
    use = next(one.part.name for one in built_ins() if one.part.kind == "thinker")
    words = ["plugins", "check", use]
    program = f"import sys; sys.modules['torch'] = None; from muomni_cli.app import main; main({words!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: checking a thinker needs torch, which is not installed" in done.stderr
    assert "pip install 'muomni[train]'" in done.stderr


def test_a_plugin_of_commands_alone_must_be_importable(install: Install, muomni: Muomni) -> None:
    source = "from muomni_cli.api import hookimpl\n@hookimpl\ndef register_commands(cli): cli.command()(stones)\n"
    install("verbs", source + "def stones(): pass\n")
    done = muomni("plugins", "check", "verbs")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^imports +passed", done.stdout, re.MULTILINE)


def test_small_names_settings_that_are_there(install: Install, muomni: Muomni) -> None:
    install("stones", STRANGER.replace("config=PartConfig,", "config=PartConfig, test_config={'size': 3},"))
    listed = {entry["name"]: entry for entry in json.loads(muomni("plugins", "list", "--json").stdout)}
    assert "`test_config` contains the unknown setting size" in listed["stones"]["reason"]


def test_small_is_what_is_tried() -> None:
    named = get_registry().get("thinker", get_registry().all("thinker")[0].use)
    with LoadedPart(named.part) as small, LoadedPart(replace(named.part, test_config={})) as whole:
        sizes = [sum(weight.numel() for weight in subject.fresh().parameters()) for subject in (small, whole)]
    assert 50 * sizes[0] < sizes[1]


def test_a_part_that_nobody_declares_has_only_common_laws() -> None:
    report = examine(Part(name="x", doc="x", config=PartConfig, build="builtins:dict"))
    assert {result.check.name for result in report.results} >= {"references", "settings", "config"}
    assert report.failed == []
