"""Recipes: one TOML file describes one model and all its training stages. Parts are referred to by name, not built."""

from muomni_cli.recipe.actions import Change, RecipeReport, check_recipes, copy_recipe, diff, read_recipe
from muomni_cli.recipe.load import find_recipe, load_recipe, shipped_recipes
from muomni_cli.recipe.model import STAGES, Data, PartSpec, Recipe, SourceSpec
from muomni_cli.recipe.problems import Mistake, RecipeMistakesError
from muomni_cli.recipe.settings import ChatSettings, DataSettings, TrainSettings
from muomni_cli.recipe.write import as_data, fingerprint, resolved_toml

__all__ = [
    "STAGES", "Change", "ChatSettings", "Data", "DataSettings", "Mistake", "PartSpec", "Recipe",
    "RecipeMistakesError", "RecipeReport", "SourceSpec", "TrainSettings", "as_data", "check_recipes", "copy_recipe",
    "diff", "find_recipe", "fingerprint", "load_recipe", "read_recipe", "resolved_toml", "shipped_recipes",
]  # fmt: skip
