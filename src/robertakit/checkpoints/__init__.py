"""Checkpoints on disk: reading every weight file of the family without running it, comparing, saving, inspecting.

How a model is built from the weights is the business of ``numpy/`` and the frameworks.
"""

from robertakit.checkpoints.comparison import LoadingInfo
from robertakit.checkpoints.inspection import CheckpointReport, inspect_checkpoint
from robertakit.checkpoints.loading import Weights, load_weights
from robertakit.checkpoints.saving import save_weights
from robertakit.checkpoints.tensors import StoredTensor

__all__ = [
    "CheckpointReport",
    "LoadingInfo",
    "StoredTensor",
    "Weights",
    "inspect_checkpoint",
    "load_weights",
    "save_weights",
]
