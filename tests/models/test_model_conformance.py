"""`muomni plugins check` on packages with a model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from muomni_cli.api import ModelFiles
from muomni_cli.conformance.runner import CheckReport, examine, parts_called
from muomni_cli.registry.loading import Plugin, PluginInfo
from muomni_cli.registry.registry import Registry, get_registry
from tests.models.installed import Package


def check(model: ModelFiles) -> CheckReport:
    plugin = Plugin(PluginInfo("theirs", "theirs.plugin", "1.0", "theirs", "loaded", file=Path("theirs.py")))
    plugin.parts.append(model)
    (one,) = parts_called("theirs", Registry([*get_registry().plugins, plugin]))
    return examine(one.part, one.plugin)


def test_a_packed_model_keeps_them(package: Package) -> None:
    root = package.inside
    report = check(
        ModelFiles(name="tiny", doc="small", bundle=root / "bundle", run=root / "run", card=root / "README.md")
    )
    assert report.failed == []
    told = {result.check.name: result for result in report.results}
    assert {number.what for number in told["useful"].numbers} == {
        "tokens that the bundle answers",
        "sound of the bundle",
        "tokens that the run answers",
        "sound of the run",
    }
    assert [number.value for number in told["opens"].numbers] == [6, 8]


def test_a_damaged_one_without_a_card_breaks_two(package: Package, tmp_path: Path) -> None:
    shutil.copytree(package.inside / "run", tmp_path / "run")
    (tmp_path / "run/tokenizer/more.txt").touch()
    report = check(ModelFiles(name="tiny", doc="small", run=tmp_path / "run"))
    assert {result.check.name: result.reason for result in report.failed} == {
        "whole": f"{tmp_path / 'run'} has a file that does not belong there: tokenizer/more.txt",
        "card": "it has no model card: declare card=",
    }


@pytest.mark.parametrize(
    ("text", "told"), [("# other", "its card does not name tiny"), ("tiny", "its card is no Markdown with a title")]
)
def test_a_card_must_be_about_the_model(text: str, told: str, package: Package, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text(text)
    report = check(ModelFiles(name="tiny", doc="small", run=package.inside / "run", card=tmp_path / "card.md"))
    assert [result.reason for result in report.failed] == [told]
