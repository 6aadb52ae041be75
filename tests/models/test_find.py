"""Which model a word means, and which one where there is no word; models of packages beside runs and bundles."""

from __future__ import annotations

from pathlib import Path

import pytest

from muomni_cli.api import ModelFiles, RequestError
from muomni_cli.models import locate as finding
from muomni_cli.models.locate import ModelRequirement, model_named, resolve_model
from muomni_cli.registry.hookspecs import check_declaration
from muomni_cli.registry.loading import Plugin, PluginInfo
from muomni_cli.registry.registry import Registry
from muomni_cli.runs.digests import write_digests
from muomni_cli.runs.run import RunFolder

NEED = ModelRequirement(lambda run: run.model_path if run.status("thinker") == "finished" else None, "is complete")


def make_run(root: Path) -> Path:
    RunFolder(root).record("thinker", {"status": "finished"})
    return root


def make_bundle(root: Path) -> Path:
    root.mkdir(parents=True)
    (root / "muomni.json").write_text("{}")
    return root


def package(name: str, *models: ModelFiles) -> Plugin:
    plugin = Plugin(PluginInfo(name, f"{name}.plugin", "1.0", name, "loaded"))
    plugin.parts += models
    return plugin


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, no_model: list[Plugin], monkeypatch: pytest.MonkeyPatch) -> list[Plugin]:
    """Packages: ``sparrow`` carries the run ``wren``, ``gull`` the bundle and run ``tern``; the test may add others."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "site"
    run, both = make_run(folder / "wren"), make_run(folder / "tern" / "run")
    write_digests(run)
    write_digests(both)
    bundle = make_bundle(folder / "tern" / "bundle")
    packages = [
        package("sparrow", ModelFiles(name="wren", doc="small", run=run)),
        package("gull", ModelFiles(name="tern", doc="white", bundle=bundle, run=both)),
    ]
    monkeypatch.setattr(finding, "get_registry", lambda: Registry([*no_model, *packages]))
    finding._notify.cache_clear()
    return packages


def test_a_path_comes_before_a_run_and_a_run_before_an_installed_model(tmp_path: Path) -> None:
    assert model_named("wren").run().root == tmp_path / "site" / "wren"
    make_run(Path("runs/wren"))
    assert model_named("wren").run().root == Path("runs/wren")
    make_run(Path("wren"))
    assert model_named("wren").run().root == Path("wren")
    assert model_named("sparrow:wren").run().root == tmp_path / "site" / "wren"


def test_a_path_that_is_a_run_is_not_passed_over_for_a_bundle_of_its_name() -> None:
    make_run(Path("finch"))
    make_bundle(Path("runs/finch"))
    assert model_named("finch").bundle is None
    assert model_named("runs/finch").bundle is not None


def test_an_installed_model_gives_its_bundle_and_its_run(tmp_path: Path) -> None:
    found = model_named("tern")
    assert found.bundle is not None
    assert (found.bundle.root, found.run().root) == (tmp_path / "site/tern/bundle", tmp_path / "site/tern/run")


def test_a_bundle_alone_is_no_run() -> None:
    make_bundle(Path("finch"))
    with pytest.raises(RequestError, match="finch is an exported bundle, and this needs a run"):
        model_named("finch").run()


def test_an_unknown_name_is_told_what_there_is() -> None:
    make_run(Path("runs/finch"))
    with pytest.raises(RequestError) as caught:
        model_named("terns")
    assert caught.value.fix == "did you mean 'tern'? runs here: finch; installed models: wren, tern"


def test_two_packages_with_one_name_must_be_told_apart(tmp_path: Path, installed: list[Plugin]) -> None:
    installed.append(package("crow", ModelFiles(name="wren", doc="another", run=make_run(tmp_path / "another"))))
    with pytest.raises(RequestError, match="model 'wren' is offered by sparrow and crow") as caught:
        model_named("wren")
    assert caught.value.fix == "say which: sparrow:wren or crow:wren"


@pytest.mark.parametrize("harm", ["changed", "missing", "more", "unsealed"])
def test_a_run_that_is_not_as_it_was_packed_is_refused(harm: str, tmp_path: Path) -> None:
    run = tmp_path / "site" / "wren"
    if harm == "changed":
        (run / "model.json").write_text((run / "model.json").read_text() + " ")
    elif harm == "missing":
        (run / "model.json").unlink()
    elif harm == "more":
        (run / "recipe.toml").touch()
    else:
        (run / "digests.json").unlink()
    with pytest.raises(RequestError, match=r"has changed since|is missing|does not belong there|has no digests"):
        model_named("wren").run()


def test_without_a_word_the_newest_run_that_will_do_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    make_run(Path("runs/finch"))
    RunFolder(Path("runs/later")).record("thinker", {"status": "unfinished"})
    assert resolve_model(None, NEED).run().root == Path("runs/finch")
    assert capsys.readouterr().err == ""


def test_without_any_run_the_first_installed_model_is_meant_and_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    RunFolder(Path("runs/later")).record("thinker", {"status": "unfinished"})
    for _ in range(2):
        assert resolve_model(None, NEED).run().root.name == "wren"
    assert capsys.readouterr().err == "no run here is suitable: using the installed model wren\n"


def test_a_model_that_somebody_installed_comes_before_the_built_in(tmp_path: Path, installed: list[Plugin]) -> None:
    write_digests(make_run(tmp_path / "martin"))
    plugin = Plugin(PluginInfo("house", "house.plugin", "1.0", "built-in", "loaded"))
    plugin.parts.append(ModelFiles(name="martin", doc="at home", run=tmp_path / "martin"))
    installed.insert(0, plugin)
    assert resolve_model(None, NEED).run().root.name == "wren"
    del installed[1:]
    assert resolve_model(None, NEED).run().root.name == "martin"


def test_the_environment_names_an_installed_model(monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(Path("runs/finch"))
    monkeypatch.setenv("MUOMNI_MODEL", "tern")
    assert resolve_model(None, NEED).bundle is not None


def test_without_runs_and_models_the_error_says_how_to_make_one(installed: list[Plugin]) -> None:
    installed.clear()
    with pytest.raises(RequestError, match=r"no model is installed, and no run under .* is complete") as caught:
        resolve_model(None, NEED)
    assert caught.value.fix == "train one (muomni train all RECIPE), or name one with -m"


def test_where_only_a_run_will_do_a_model_without_one_is_passed_over(tmp_path: Path, installed: list[Plugin]) -> None:
    installed[:] = [package("gull", ModelFiles(name="tern", doc="white", bundle=tmp_path / "site/tern/bundle"))]
    with pytest.raises(RequestError, match="no model was named"):
        resolve_model(None, ModelRequirement(NEED.weights, NEED.lack, run=True))


def test_declarations_are_checked(tmp_path: Path) -> None:
    def declared(**fields: object) -> ModelFiles:
        return ModelFiles(name="wren", doc="small", **fields)  # type: ignore[arg-type]

    good = declared(run=tmp_path / "site" / "wren")
    assert check_declaration("register_models", good) is good
    for wrong, told in (
        (declared(), "neither a bundle nor a run"),
        (declared(run=tmp_path / "nowhere"), "its run is not there"),
        (declared(run=tmp_path, card=tmp_path / "README.md"), "its card is not there"),
    ):
        with pytest.raises(ValueError, match=told):
            check_declaration("register_models", wrong)
    with pytest.raises(TypeError, match=r"bundle must be a pathlib\.Path"):
        check_declaration("register_models", declared(bundle=str(tmp_path)))
