"""Answers to prompts while a model learns: what a report shows beside the curves.

The task and the module are masked language modelling's own; a prompt goes through the module's ``forward``, since
that is what FSDP2 gathers weights for, on every process alike.
"""

from collections.abc import Callable, Sequence
from typing import TypedDict, cast

import numpy as np

from robertakit.errors import RecipeError, require
from robertakit.tokenizers import PreTrainedTokenizerBase
from robertakit.training.masked_lm import MaskedLM, MaskedLMStep
from robertakit.training.micro_batches import MaskedRows

require("torch", extra="train", needed_for="training")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

__all__ = ["Answer", "AnsweringStep", "AnsweringTask", "Sample", "prompt_rows"]

_BEST = 5


class Answer(TypedDict):
    """A token, with its text and its probability."""

    token: str
    score: float


class Sample(TypedDict):
    """A prompt, and the best answers, best first."""

    text: str
    answers: list[Answer]


class AnsweringStep(MaskedLMStep):
    """The module of a step that also says what it would fill in."""

    def forward(self, micro: MaskedRows, judge: bool = False, best: int = 0) -> Tensor:
        """Return the loss of a micro-batch, or the best words.

        Args:
            micro: masked rows.
            judge: as of `MaskedLMStep.forward`.
            best: return in place of a loss the likeliest words of each masked place: (R, best, 2), their ids and
                probabilities.
        """
        if not best:
            return super().forward(micro, judge)
        device = self.model.lm_head.bias.device
        ids, positions, predicted = (
            torch.from_numpy(array).to(device)
            for array in (micro.input_ids, micro.position_ids, micro.predicted)
        )
        states = self.model.roberta.encode_packed(ids, positions, torch.from_numpy(micro.cumulative_lengths))
        scores = self.model.score(states.index_select(0, predicted))["logits"]
        shares, words = scores.float().softmax(-1).topk(min(best, scores.shape[-1]))
        return torch.stack([words.double(), shares.double()], -1)


class AnsweringTask(MaskedLM):
    """Masked language modelling whose evaluation fills in prompts, too.

    Attributes:
        prompts: texts with one mask token each; ``ask`` sets them.
    """

    _prompts: tuple[str, ...] = ()
    _asked: MaskedRows | None = None
    _tokenizer: PreTrainedTokenizerBase | None = None
    _evaluated: Callable[[], None] | None = None

    def ask(
        self,
        prompts: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        evaluated: Callable[[], None] | None = None,
    ) -> None:
        """Ask these prompts at each evaluation.

        Args:
            prompts: texts with one ``<mask>`` each.
            tokenizer: of the model.
            evaluated: called before each evaluation: the place to write a report of what the log has so far.

        Raises:
            RecipeError: a prompt without one mask, or longer than the model takes.
        """
        self._prompts, self._tokenizer, self._evaluated = tuple(prompts), tokenizer, evaluated
        longest = self.config.max_position_embeddings - self.config.pad_token_id - 1
        self._asked = prompt_rows(prompts, tokenizer, longest, self.config.pad_token_id) if prompts else None

    def evaluate(self, model: nn.Module) -> dict[str, object]:
        """Judge held-out text, and fill in the prompts: ``samples`` beside what `MaskedLM.evaluate` returns."""
        if self._evaluated is not None:
            self._evaluated()
        figures = super().evaluate(model)
        if self._asked is None or self._tokenizer is None:
            return figures
        found = model(self._asked, best=_BEST).cpu().tolist()
        samples = [
            Sample(
                text=prompt,
                answers=[
                    Answer(token=self._tokenizer.decode([int(word)]), score=share) for word, share in answers
                ],
            )
            for prompt, answers in zip(self._prompts, found, strict=True)
        ]
        return {**figures, "samples": samples}


def prompt_rows(
    prompts: Sequence[str], tokenizer: PreTrainedTokenizerBase, longest: int, pad_token_id: int
) -> MaskedRows:
    """Return prompts as masked rows, one behind another.

    Args:
        prompts: texts with one ``<mask>`` each.
        tokenizer: its mask token takes the place of ``<mask>``.
        longest: most tokens of a row.
        pad_token_id: of the model; positions are counted from the one behind it.

    Raises:
        RecipeError: a prompt without one mask, or longer than that.

    Example:
        >>> from robertakit import AutoTokenizer, embedded
        >>> tokenizer = AutoTokenizer.from_pretrained(embedded.folder())
        >>> rows = prompt_rows(["A <mask>.", "<mask>!"], tokenizer, 512, 1)
        >>> rows.cumulative_lengths.tolist(), rows.predicted.tolist()
        ([0, 5, 9], [2, 6])
    """
    mask = str(tokenizer.mask_token)
    rows = [cast(list[int], tokenizer(prompt.replace("<mask>", mask))["input_ids"]) for prompt in prompts]
    for prompt, row in zip(prompts, rows, strict=True):
        if row.count(cast(int, tokenizer.mask_token_id)) != 1:
            raise RecipeError(given=f"the prompt {prompt!r}", expected="one <mask> in it")
        if len(row) > longest:
            raise RecipeError(
                given=f"the prompt {prompt!r} of {len(row)} tokens", expected=f"at most {longest}"
            )
    ids = np.array([id for row in rows for id in row], np.int64)
    lengths = np.array([len(row) for row in rows], np.int64)
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    positions = np.arange(len(ids)) - np.repeat(bounds[:-1], lengths) + pad_token_id + 1
    predicted = np.flatnonzero(ids == tokenizer.mask_token_id)
    return MaskedRows(ids, positions, bounds, predicted, ids[predicted], np.zeros_like(predicted), len(ids))
