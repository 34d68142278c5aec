"""What the modules with a head have in common: their fields, and the backbone.

Shape letters: B batch, L length, W width.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from robertakit.configuration import RobertaConfig
from robertakit.jax.encoder import FlaxRobertaModule
from robertakit.outputs import BaseModelOutputWithPoolingAndCrossAttentions

__all__ = ["FlaxRobertaHeadModule", "last_rows"]


class FlaxRobertaHeadModule(nn.Module):
    """What the modules with a head share: fields, and the backbone under its documented name, `roberta`.

    Attributes:
        config: sizes and switches.
        dtype: of the computation; parameters keep theirs.
        gradient_checkpointing: see `FlaxRobertaModule`.
    """

    config: RobertaConfig
    dtype: DTypeLike = jnp.float32
    gradient_checkpointing: bool = False

    @nn.nowrap
    def backbone(self, add_pooling_layer: bool = False) -> FlaxRobertaModule:
        """The backbone, for `setup`."""
        return FlaxRobertaModule(
            self.config, self.dtype, add_pooling_layer, gradient_checkpointing=self.gradient_checkpointing
        )

    def encode(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        position_ids: jax.Array | None = None,
    ) -> jax.Array:
        """The backbone's last hidden states (B, L, W), on which `score` gives the head's scores."""
        backbone: FlaxRobertaModule = self.roberta
        return backbone.encode(input_ids, attention_mask, token_type_ids, position_ids)


def last_rows(out: BaseModelOutputWithPoolingAndCrossAttentions[jax.Array]) -> jax.Array:
    """Return the last hidden states (B, L, W), which a backbone always gives."""
    rows = out.last_hidden_state
    assert rows is not None
    return rows
