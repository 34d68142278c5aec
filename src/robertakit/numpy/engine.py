"""The engine of the bare install: packed batches in, the named outputs of the rows that are needed out.

The same layers as the specification's models; only the attention knows that the rows are packed.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from robertakit.batch import Batch, longest_input
from robertakit.engine import Limits, ModelEngine
from robertakit.numpy.attention import PackedAttention
from robertakit.numpy.encoder import embed, encode, pool
from robertakit.numpy.heads import choice_scores, class_logits, lm_logits, span_logits, token_logits
from robertakit.numpy.layers import Array, Scope
from robertakit.numpy.loading import Model, load

__all__ = ["Engine"]

#: Tokens of a batch beyond which a processor gains nothing (measured: docs/decisions.md).
_TOKENS = 2048


class Engine(ModelEngine[Model]):
    """Runs a model of the specification on packed batches; each sequence gives what it gives alone.

    Args:
        model: a model of ``robertakit.numpy``.

    Example:
        >>> from robertakit import RobertaConfig
        >>> from robertakit.batch import Encoding
        >>> from robertakit.numpy import RobertaForMaskedLM
        >>> config = RobertaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
        >>> batch = Batch.from_encodings([Encoding([0, 5, 2]), Encoding([0, 2])], padding_idx=1)
        >>> Engine(RobertaForMaskedLM(config)).run(batch, rows=np.array([1]))["logits"].shape
        (1, 9)
    """

    def __init__(self, model: Model) -> None:
        limits = Limits(_TOKENS, longest_input(model.config), model.dtype.name)
        super().__init__(model, model.config, model.head, limits, pooler=model.add_pooling_layer)

    @classmethod
    def _load(
        cls, name_or_path: str | os.PathLike[str], head: str, **arguments: object
    ) -> tuple[Self, Mapping[str, Sequence[str]]]:
        found = load(name_or_path, head, **{**arguments, "output_loading_info": True})
        model, report = cast(tuple[Model, dict[str, list[str]]], found)
        return cls(model), report

    def _run(
        self,
        model: Model,
        batch: Batch,
        outputs: Sequence[str],
        rows: NDArray[np.integer] | None,
        first: NDArray[np.integer],
    ) -> dict[str, NDArray[np.generic]]:
        scope = model.scope()
        backbone = model.backbone_scope(scope)
        x = embed(
            backbone.at("embeddings"),
            self.config,
            position_ids=batch.position_ids,
            input_ids=batch.input_ids,
            token_type_ids=batch.token_type_ids,
        )
        attention = PackedAttention(self.config, batch.cumulative_lengths, model.dtype)
        for x in encode(backbone.at("encoder"), self.config, x, attention):  # noqa: B007, B020  the last is wanted
            pass
        wanted = x if rows is None else x[rows]
        found: dict[str, NDArray[np.generic]] = {"last_hidden_state": wanted}
        if set(outputs) - set(found):
            found |= self._head_outputs(scope, backbone, wanted, x[first])
        return {name: found[name] for name in outputs}

    def _head_outputs(
        self, scope: Scope, backbone: Scope, wanted: Array, first: Array
    ) -> dict[str, NDArray[np.generic]]:
        match self.head.name:
            case "causal-lm" | "masked-lm":
                return {"logits": lm_logits(scope, self.config, wanted)}
            case "token-classification":
                return {"logits": token_logits(scope, wanted)}
            case "question-answering":
                starts, ends = span_logits(scope, wanted)
                return {"start_logits": starts, "end_logits": ends}
            case "sequence-classification":
                return {"logits": class_logits(scope, first)}
            case "multiple-choice":
                return {"logits": choice_scores(scope, backbone, first)}
            case _:
                return {"pooler_output": pool(backbone.at("pooler"), first)}
