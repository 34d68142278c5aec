"""From a checkpoint in any format that is read to safetensors, compared with its source before it counts."""

from robertakit.conversion.agreement import Agreement
from robertakit.conversion.converting import Conversion, convert_checkpoint

__all__ = ["Agreement", "Conversion", "convert_checkpoint"]
