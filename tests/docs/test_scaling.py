"""docs/scaling.md: its commands have the options that they name, its recipe and its manifests can be read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from muomni_cli.app import main
from muomni_cli.recipe.load import load_recipe

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
SMALLEST = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8"), re.DOTALL)[0]
LINES = re.findall(r"^ {4}(muomni .*|torchrun .*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", LINES)
def test_a_command_has_the_options_that_it_names(line: str) -> None:
    words = shlex.split(line)
    words = words[words.index("muomni_cli") + 1 :] if words[0] == "torchrun" else words[1:]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    recipe = next(word for word in words if "omni" in word)
    assert load_recipe(str(ROOT / recipe) if "/" in recipe else recipe).thinker is not None


def test_the_sources_by_url_are_a_recipe(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "mine.toml"
    file.write_text(SMALLEST + block + '\n[encoders.image]\nuse = "vit"\n', encoding="utf-8")
    sources = load_recipe(str(file)).data.sources
    assert [one.use for name in ("text", "image") for one in sources[name]][-2:] == ["parquet", "tar"]


def test_the_jobset_starts_torchrun_with_a_recipe_that_is_there() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    pod = yaml.safe_load(block)["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    command = pod["containers"][0]["command"]
    assert command[0] == "torchrun"
    assert (ROOT / command[-1]).is_file()
