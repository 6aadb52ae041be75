"""Recipes: one TOML file that describes one model and all its stages.

Knows parts by name and by the settings they declare, and builds none of them.
"""

from muomni_cli.recipe.diff import Change, diff
from muomni_cli.recipe.handling import Report, check_recipes, copy_recipe, read_recipe
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.mistakes import Mistake, RecipeMistakesError
from muomni_cli.recipe.model import STAGES, Chosen, Data, Recipe, Source
from muomni_cli.recipe.settings import ChatSettings, DataSettings, TrainSettings
from muomni_cli.recipe.shipped import find_recipe, shipped_recipes
from muomni_cli.recipe.write import as_data, fingerprint, resolved_toml

__all__ = [
    "STAGES", "Change", "ChatSettings", "Chosen", "Data", "DataSettings", "Mistake", "Recipe", "RecipeMistakesError",
    "Report", "Source", "TrainSettings", "as_data", "check_recipes", "copy_recipe", "diff", "find_recipe",
    "fingerprint", "load_recipe", "read_recipe", "resolved_toml", "shipped_recipes",
]  # fmt: skip
