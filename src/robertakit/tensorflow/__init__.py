"""The models in TensorFlow, on Keras 3: seven heads of both families; nothing here knows a tokenizer."""

import os

from robertakit.errors import require
from robertakit.tensorflow.backend import check_backend

require("tensorflow", extra="tensorflow", needed_for="robertakit.tensorflow")
check_backend(os.environ.get("KERAS_BACKEND", "tensorflow"))  # before Keras looks for what it names
require("keras", extra="tensorflow", needed_for="robertakit.tensorflow")

from robertakit.seeding import seed_tensorflow  # noqa: E402
from robertakit.tensorflow.encoder import TFRobertaMainLayer, TFRobertaModel  # noqa: E402
from robertakit.tensorflow.engine import Engine as Engine  # noqa: E402
from robertakit.tensorflow.generation import TFGenerationMixin  # noqa: E402
from robertakit.tensorflow.language_models import TFRobertaForCausalLM, TFRobertaForMaskedLM  # noqa: E402
from robertakit.tensorflow.output_trees import register_outputs  # noqa: E402
from robertakit.tensorflow.pretrained import TFPreTrainedModel, TFRobertaPreTrainedModel  # noqa: E402
from robertakit.tensorflow.sequence_models import (  # noqa: E402
    TFRobertaForMultipleChoice,
    TFRobertaForSequenceClassification,
)
from robertakit.tensorflow.token_models import (  # noqa: E402
    TFRobertaForQuestionAnswering,
    TFRobertaForTokenClassification,
)
from robertakit.tensorflow.xlm_roberta import (  # noqa: E402
    TFXLMRobertaForCausalLM,
    TFXLMRobertaForMaskedLM,
    TFXLMRobertaForMultipleChoice,
    TFXLMRobertaForQuestionAnswering,
    TFXLMRobertaForSequenceClassification,
    TFXLMRobertaForTokenClassification,
    TFXLMRobertaModel,
    TFXLMRobertaPreTrainedModel,
)

__all__ = [
    "TFGenerationMixin",
    "TFPreTrainedModel",
    "TFRobertaForCausalLM",
    "TFRobertaForMaskedLM",
    "TFRobertaForMultipleChoice",
    "TFRobertaForQuestionAnswering",
    "TFRobertaForSequenceClassification",
    "TFRobertaForTokenClassification",
    "TFRobertaMainLayer",
    "TFRobertaModel",
    "TFRobertaPreTrainedModel",
    "TFXLMRobertaForCausalLM",
    "TFXLMRobertaForMaskedLM",
    "TFXLMRobertaForMultipleChoice",
    "TFXLMRobertaForQuestionAnswering",
    "TFXLMRobertaForSequenceClassification",
    "TFXLMRobertaForTokenClassification",
    "TFXLMRobertaModel",
    "TFXLMRobertaPreTrainedModel",
]

register_outputs()
seed_tensorflow()
