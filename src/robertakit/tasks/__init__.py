"""Tasks: from text to answers. ``pipeline()`` and one file a task; no framework is named here."""

from robertakit.errors import (
    NoMask as PipelineException,
)  # what the reference raises where a text has no mask
from robertakit.tasks.fill_mask import FillMaskPipeline
from robertakit.tasks.frame import Pipeline
from robertakit.tasks.pipeline import TASKS, pipeline

__all__ = ["FillMaskPipeline", "Pipeline", "PipelineException", "TASKS", "pipeline"]
