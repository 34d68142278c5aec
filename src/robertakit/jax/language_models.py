"""The models with a language-modelling head: masked words, and the next word.

Shape letters: B batch, L length, K keys, H heads, W width, V vocabulary.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from robertakit.calls import check_labels, leading_shape
from robertakit.configuration import RobertaConfig
from robertakit.jax.generation import FlaxGenerationMixin
from robertakit.jax.head_module import FlaxRobertaHeadModule, last_rows
from robertakit.jax.inputs import kind_of
from robertakit.jax.layers import dense, layer_norm
from robertakit.jax.losses import cross_entropy, next_tokens
from robertakit.jax.pretrained import FlaxRobertaPreTrainedModel
from robertakit.outputs import CausalLMOutputWithCrossAttentions, MaskedLMOutput

__all__ = [
    "FlaxRobertaForCausalLM",
    "FlaxRobertaForCausalLMModule",
    "FlaxRobertaForMaskedLM",
    "FlaxRobertaForMaskedLMModule",
    "FlaxRobertaLMHead",
]


class FlaxRobertaLMHead(nn.Module):
    """Dense, GELU whatever `hidden_act` says, LayerNorm, then a decoder that may share the word embeddings."""

    config: RobertaConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Name the parts."""
        config = self.config
        self.dense = dense(config, config.hidden_size, self.dtype)
        self.layer_norm = layer_norm(config, self.dtype)
        if not config.tie_word_embeddings:
            self.decoder = dense(config, config.vocab_size, self.dtype, use_bias=False)
        self.bias = self.param("bias", nn.initializers.zeros, (config.vocab_size,))

    def __call__(self, features: jax.Array, shared_embedding: nn.Embed) -> jax.Array:
        """(..., W) to logits (..., V), by the decoder, or by the word embeddings where it is tied to them."""
        hidden = self.layer_norm(jax.nn.gelu(self.dense(features), approximate=False))
        tied = self.config.tie_word_embeddings
        logits = shared_embedding.attend(hidden) if tied else self.decoder(hidden)
        return logits + self.bias.astype(self.dtype)


class _LanguageModelModule(FlaxRobertaHeadModule):
    """The encoder and the head; its decoder shares the word embeddings unless the config says otherwise."""

    def setup(self) -> None:
        """Name the parts."""
        self.roberta = self.backbone()
        self.lm_head = FlaxRobertaLMHead(self.config, self.dtype)

    def score(self, rows: jax.Array) -> dict[str, jax.Array]:
        """The head on (..., W): `logits` (..., V)."""
        return {"logits": self.lm_head(rows, self.roberta.embeddings.word_embeddings)}


class FlaxRobertaForMaskedLMModule(_LanguageModelModule):
    """The encoder with the head that predicts masked words."""

    def __call__(
        self,
        input_ids: jax.Array | None = None,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        head_mask: jax.Array | None = None,
        inputs_embeds: jax.Array | None = None,
        encoder_hidden_states: jax.Array | None = None,
        encoder_attention_mask: jax.Array | None = None,
        labels: jax.Array | None = None,
        *,
        use_cache: bool = False,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> MaskedLMOutput[jax.Array]:
        """Score the vocabulary at every position.

        Args:
            input_ids: (B, L); see `FlaxRobertaModule`, as for all others that are not named here.
            attention_mask: (B, L) or (B, L, L).
            token_type_ids: (B, L).
            position_ids: (B, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, L, W).
            encoder_hidden_states: (B, K, W).
            encoder_attention_mask: (B, K).
            labels: (B, L) ids to predict, -100 where there is nothing to.
            use_cache: of no use to this head.
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            deterministic: no dropout.

        Returns:
            `loss` () if there are labels, `logits` (B, L, V), and what was asked for.

        Raises:
            InputError: labels that are no integers, or of another shape (`BadShape`).
        """
        _check_labels(self.config, "masked-lm", labels, input_ids, inputs_embeds)
        out = self.roberta(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            inputs_embeds,
            encoder_hidden_states,
            encoder_attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            deterministic=deterministic,
        )
        logits = self.score(last_rows(out))["logits"]
        return MaskedLMOutput(
            loss=None if labels is None else cross_entropy(logits, labels),
            logits=logits,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )


class FlaxRobertaForCausalLMModule(_LanguageModelModule):
    """The model with the head that predicts the next word; with `is_decoder` a token sees only those before it."""

    def __call__(
        self,
        input_ids: jax.Array | None = None,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        head_mask: jax.Array | None = None,
        inputs_embeds: jax.Array | None = None,
        encoder_hidden_states: jax.Array | None = None,
        encoder_attention_mask: jax.Array | None = None,
        labels: jax.Array | None = None,
        *,
        use_cache: bool = False,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> CausalLMOutputWithCrossAttentions[jax.Array]:
        """Score the vocabulary for the token behind each position.

        Args:
            input_ids: (B, L); see `FlaxRobertaModule`, as for all others that are not named here.
            attention_mask: (B, L) or (B, L, L); with a cache (B, K).
            token_type_ids: (B, L).
            position_ids: (B, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, L, W).
            encoder_hidden_states: (B, K, W).
            encoder_attention_mask: (B, K).
            labels: (B, L), usually `input_ids`: each token predicts the label behind it; -100 where there is nothing
                to. No new cache is made with them.
            use_cache: see `FlaxRobertaModule`.
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            deterministic: no dropout.

        Returns:
            `loss` () if there are labels, `logits` (B, L, V), and what was asked for.

        Raises:
            InputError: labels that are no integers, or of another shape (`BadShape`).
        """
        _check_labels(self.config, "causal-lm", labels, input_ids, inputs_embeds)
        out = self.roberta(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            inputs_embeds,
            encoder_hidden_states,
            encoder_attention_mask,
            use_cache=use_cache and labels is None,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            deterministic=deterministic,
        )
        logits = self.score(last_rows(out))["logits"]
        return CausalLMOutputWithCrossAttentions(
            loss=None if labels is None else cross_entropy(logits, next_tokens(labels)),
            logits=logits,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
            cross_attentions=out.cross_attentions,
        )


def _check_labels(
    config: RobertaConfig,
    head: str,
    labels: jax.Array | None,
    input_ids: jax.Array | None,
    inputs_embeds: jax.Array | None,
) -> None:
    if labels is not None:
        shape = leading_shape(input_ids, inputs_embeds, kind_of=kind_of)
        check_labels(config, head, {"labels": labels}, shape, kind_of=kind_of)


class FlaxRobertaForMaskedLM(FlaxRobertaPreTrainedModel):
    """The encoder with the head that predicts masked words.

    Example:
        >>> import jax.numpy as jnp
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ... )
        >>> out = FlaxRobertaForMaskedLM(config)(jnp.array([[0, 9, 2]]), labels=jnp.array([[-100, 8, -100]]))
        >>> out.logits.shape, out.loss.shape
        ((1, 3, 99), ())
    """

    head = "masked-lm"
    module_class = FlaxRobertaForMaskedLMModule


class FlaxRobertaForCausalLM(FlaxGenerationMixin, FlaxRobertaPreTrainedModel):
    """The model with the head that predicts the next word; with `is_decoder` a token sees only those before it.

    Example:
        >>> import jax.numpy as jnp
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        ...     is_decoder=True,
        ... )
        >>> model = FlaxRobertaForCausalLM(config)
        >>> out = model(jnp.array([[0, 9]]), past_key_values=model.init_cache(1, 8))
        >>> model(jnp.array([[8]]), past_key_values=out.past_key_values).logits.shape
        (1, 1, 99)
    """

    head = "causal-lm"
    module_class = FlaxRobertaForCausalLMModule
