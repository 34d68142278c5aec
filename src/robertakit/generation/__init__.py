"""What `generate()` is asked for and what it decides, without any framework, and the same in all of them.

PyTorch computes its steps, scores and searches by itself. TensorFlow and JAX compute the steps, and share what lies
around them (`writing`, `decoding` and what they import): NumPy arrays on the host.
"""

from robertakit.generation.config import GenerationConfig
from robertakit.generation.outputs import GenerateBeamDecoderOnlyOutput, GenerateDecoderOnlyOutput

__all__ = ["GenerateBeamDecoderOnlyOutput", "GenerateDecoderOnlyOutput", "GenerationConfig"]
