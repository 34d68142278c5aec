"""The models in JAX: seven heads of both families in flax.linen, and the engine; nothing here knows a tokenizer."""

from robertakit.errors import require

require("flax", extra="jax", needed_for="robertakit.jax")

from robertakit.jax.cache import init_cache  # noqa: E402
from robertakit.jax.encoder import FlaxRobertaModel  # noqa: E402
from robertakit.jax.engine import Engine as Engine  # noqa: E402
from robertakit.jax.generation import FlaxGenerationMixin  # noqa: E402
from robertakit.jax.language_models import FlaxRobertaForCausalLM, FlaxRobertaForMaskedLM  # noqa: E402
from robertakit.jax.output_trees import register_outputs  # noqa: E402
from robertakit.jax.pretrained import FlaxPreTrainedModel, FlaxRobertaPreTrainedModel  # noqa: E402
from robertakit.jax.sequence_models import (  # noqa: E402
    FlaxRobertaForMultipleChoice,
    FlaxRobertaForSequenceClassification,
)
from robertakit.jax.token_models import (  # noqa: E402
    FlaxRobertaForQuestionAnswering,
    FlaxRobertaForTokenClassification,
)
from robertakit.jax.xlm_roberta import (  # noqa: E402
    FlaxXLMRobertaForCausalLM,
    FlaxXLMRobertaForMaskedLM,
    FlaxXLMRobertaForMultipleChoice,
    FlaxXLMRobertaForQuestionAnswering,
    FlaxXLMRobertaForSequenceClassification,
    FlaxXLMRobertaForTokenClassification,
    FlaxXLMRobertaModel,
    FlaxXLMRobertaPreTrainedModel,
)

__all__ = [
    "FlaxGenerationMixin",
    "FlaxPreTrainedModel",
    "FlaxRobertaForCausalLM",
    "FlaxRobertaForMaskedLM",
    "FlaxRobertaForMultipleChoice",
    "FlaxRobertaForQuestionAnswering",
    "FlaxRobertaForSequenceClassification",
    "FlaxRobertaForTokenClassification",
    "FlaxRobertaModel",
    "FlaxRobertaPreTrainedModel",
    "FlaxXLMRobertaForCausalLM",
    "FlaxXLMRobertaForMaskedLM",
    "FlaxXLMRobertaForMultipleChoice",
    "FlaxXLMRobertaForQuestionAnswering",
    "FlaxXLMRobertaForSequenceClassification",
    "FlaxXLMRobertaForTokenClassification",
    "FlaxXLMRobertaModel",
    "FlaxXLMRobertaPreTrainedModel",
    "init_cache",
]

register_outputs()
