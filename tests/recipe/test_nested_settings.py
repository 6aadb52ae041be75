"""Tables inside of a part's own table: read, written, known to the schema, and their mistakes told where they are."""

from __future__ import annotations

import tomllib
from pathlib import Path

import jsonschema
import pytest

from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.problems import RecipeMistakesError
from muomni_cli.recipe.write import recipe_schema, resolved_toml

TEXT = """name = "nested"
[encoders.image]
use = "vit"
[[data.image]]
use = "scenes"
[[data.omni]]
use = "asked"
from.image = {use = "scenes", count = 50}
from.audio = {use = "tar", names = {"0" = "zero"}}
[[data.omni.ask]]
question = ["What do you hear?"]
answer = "{audio.label}"
[[data.omni.ask]]
question = ["What do you see?"]
answer = "{image.text}"
media = ["image"]
"""


def test_what_was_resolved_reads_as_the_same(here: Path) -> None:
    (here / "a.toml").write_text(TEXT)
    recipe = load_recipe("a.toml")
    resolved = resolved_toml(recipe)
    (here / "b.toml").write_text(resolved)
    assert load_recipe("b.toml") == recipe
    assert "# sources of examples, by the names" in resolved


def test_the_schema_knows_lists_of_every_modality(here: Path) -> None:
    (here / "a.toml").write_text(TEXT)
    schema = recipe_schema()
    for text in (TEXT, TEXT.replace("data.image", "data.smell"), resolved_toml(load_recipe("a.toml"))):
        jsonschema.validate(tomllib.loads(text), schema)
    for wrong in (
        TEXT.replace("count = 50", "cuont = 50"),
        TEXT.replace('use = "tar"', 'use = "tales"'),
        TEXT.replace("media =", "medium ="),
        "[data]\nval_fractoin = 0.1",
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(tomllib.loads(wrong), schema)


@pytest.mark.parametrize(
    ("right", "wrong", "mistake"),
    [
        ("count = 50", "cuont = 50", "8: data.omni.0.from.image.cuont: unknown key 'cuont'; did you mean 'count'?"),
        ("count = 50", "size = 3", "a.toml:8: data.omni.0.from.image.size: 3: input should be greater"),
        ('use = "tar"', 'use = "tarr"', "a.toml:9: data.omni.0.from.audio: unknown use 'tarr'; did you mean 'tar'?"),
        ('use = "tar", ', "", 'a.toml:9: data.omni.0.from.audio: needs use = "..."'),
        ("media = [", "medai = [", "a.toml:16: data.omni.0.ask.1.medai: unknown key 'medai'; did you mean 'media'?"),
        ('"tar"', '"manifest", modality = "A B"', "omni.0.from.audio.modality: invalid value 'A B'"),
        ('{"0" = "zero"}', '{"0" = 0}', "data.omni.0.from.audio.names.0: 0: input should be a valid string"),
        ('"{image.text}"', '"{audio.text}"', "a.toml:6: data.omni.0: 'What do you see?' refers to audio.text"),
    ],
)  # fmt: skip
def test_mistakes_are_told_where_they_are(right: str, wrong: str, mistake: str, here: Path) -> None:
    assert right in TEXT
    (here / "a.toml").write_text(TEXT.replace(right, wrong))
    with pytest.raises(RecipeMistakesError) as caught:
        load_recipe("a.toml")
    assert any(mistake in str(one) for one in caught.value.mistakes), [str(one) for one in caught.value.mistakes]


def test_overrides_reach_into_nested_tables(here: Path) -> None:
    (here / "a.toml").write_text(TEXT)
    recipe = load_recipe("a.toml", ["data.omni.0.from.image.count=7"])
    config = recipe.data.sources["omni"][0].config.model_dump(by_alias=True)
    assert config["from"]["image"]["count"] == 7
