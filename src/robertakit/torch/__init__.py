"""The models in PyTorch. This part: the encoder and the masked-LM head; nothing here knows a tokenizer."""

from robertakit.errors import require

require("torch", extra="torch", needed_for="robertakit.torch")

from robertakit.torch.encoder import RobertaModel  # noqa: E402
from robertakit.torch.engine import Engine  # noqa: E402
from robertakit.torch.heads import RobertaForMaskedLM  # noqa: E402
from robertakit.torch.pretrained import RobertaPreTrainedModel  # noqa: E402
from robertakit.torch.xlm_roberta import XLMRobertaForMaskedLM, XLMRobertaModel  # noqa: E402

__all__ = [
    "Engine",
    "RobertaForMaskedLM",
    "RobertaModel",
    "RobertaPreTrainedModel",
    "XLMRobertaForMaskedLM",
    "XLMRobertaModel",
]
