"""What `generate()` is asked for, and what it decides from ids alone: no framework, and the same in all of them."""

from robertakit.generation.config import GenerationConfig
from robertakit.generation.outputs import GenerateBeamDecoderOnlyOutput, GenerateDecoderOnlyOutput

__all__ = ["GenerateBeamDecoderOnlyOutput", "GenerateDecoderOnlyOutput", "GenerationConfig"]
