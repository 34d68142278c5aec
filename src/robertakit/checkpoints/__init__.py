"""Checkpoints on disk: reading every weight file of the family without running it, comparing, saving, inspecting.

How a model is built from the weights is the business of ``numpy/`` and the frameworks. Names are resolved on first
use: who loads a model need not import what saves and inspects.
"""

from robertakit.exports import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from robertakit.checkpoints.comparison import LoadingInfo as LoadingInfo
    from robertakit.checkpoints.inspection import CheckpointReport as CheckpointReport
    from robertakit.checkpoints.inspection import inspect_checkpoint as inspect_checkpoint
    from robertakit.checkpoints.loading import Weights as Weights
    from robertakit.checkpoints.loading import load_weights as load_weights
    from robertakit.checkpoints.saving import save_weights as save_weights
    from robertakit.checkpoints.tensors import StoredTensor as StoredTensor

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "robertakit.checkpoints.comparison": ("LoadingInfo",),
        "robertakit.checkpoints.inspection": ("CheckpointReport", "inspect_checkpoint"),
        "robertakit.checkpoints.loading": ("Weights", "load_weights"),
        "robertakit.checkpoints.saving": ("save_weights",),
        "robertakit.checkpoints.tensors": ("StoredTensor",),
    },
)
