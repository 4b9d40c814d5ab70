"""Recipe files: data, model, job, evaluation and budget in one text, and the stages that it stands for."""

from __future__ import annotations

from ragtune.recipe_file.file import RecipeFile
from ragtune.recipe_file.stages import STAGES, Done, Stage, Stages

__all__ = ["STAGES", "Done", "RecipeFile", "Stage", "Stages"]
