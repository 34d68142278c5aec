"""Data collators under the names that people know: examples in, a padded (and masked) batch of tensors out.

They need no loop of ours: any `torch.utils.data.DataLoader`, `tf.data` generator or plain loop calls them. Signatures
and fields of the batch are those of transformers 4.57. Masks are drawn as `masking.py` draws them: of a row's tokens
exactly the rate, rounded up or down by chance, and never a special token in place of a word.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robertakit.errors import ArgumentError, TokenizerError, require
from robertakit.tokenizers import BatchEncoding, PreTrainedTokenizerBase
from robertakit.tokenizers.padding import PaddingStrategy, TensorType, tensor_type, to_tensors
from robertakit.training import counter_random
from robertakit.training.collating import (
    Examples,
    Row,
    ids_of,
    laid_out,
    padded_columns,
    rows_of_examples,
    stacked,
    words_given,
)
from robertakit.training.masking import IGNORED, Masking, is_special, mask_units
from robertakit.training.word_starts import WordStarts

__all__ = [
    "DataCollatorForLanguageModeling",
    "DataCollatorForWholeWordMask",
    "DataCollatorWithPadding",
    "DefaultDataCollator",
    "default_data_collator",
]

_CALLS = 6  # what a key is for


def default_data_collator(features: Examples, return_tensors: str = "pt") -> dict[str, object]:
    """Stack examples that have the same shapes already.

    ``label`` and ``label_ids`` become ``labels``; strings, and columns that are None, are left out.

    Args:
        features: dicts, or objects with such attributes, of numbers, lists, arrays or tensors.
        return_tensors: ``"pt"``, ``"tf"``, ``"np"`` or ``"jax"``.

    Raises:
        BadShape: rows of unequal length.
        ArgumentError: another kind of tensor.

    Example:
        >>> batch = default_data_collator([{"x": [1, 2], "label": 0}, {"x": [3, 4], "label": 1}], "np")
        >>> batch["x"].tolist(), batch["labels"].tolist()
        ([[1, 2], [3, 4]], [0, 1])
    """
    tensor_type(return_tensors)
    rows = [dict(each) if isinstance(each, Mapping) else dict(vars(each)) for each in features]
    if not rows:
        raise ArgumentError(given="no example", expected="one or more")
    batch: dict[str, object] = {}
    for name in ("label", "label_ids"):
        if "labels" not in batch and rows[0].get(name) is not None:
            batch["labels"] = stacked([row[name] for row in rows], return_tensors)
    for name, value in rows[0].items():
        if name not in ("label", "label_ids") and value is not None and not isinstance(value, str):
            batch[name] = stacked([row[name] for row in rows], return_tensors)
    return batch


@dataclass
class DefaultDataCollator:
    """`default_data_collator` as an object that remembers the kind of tensor.

    Args:
        return_tensors: ``"pt"``, ``"tf"``, ``"np"`` or ``"jax"``.

    Example:
        >>> DefaultDataCollator("np")([{"x": [1, 2]}])["x"].tolist()
        [[1, 2]]
    """

    return_tensors: str = "pt"

    def __call__(self, features: Examples, return_tensors: str | None = None) -> dict[str, object]:
        """Collate; see `default_data_collator`."""
        return default_data_collator(features, return_tensors or self.return_tensors)


@dataclass
class DataCollatorWithPadding:
    """Pads encoded texts to one length.

    Args:
        tokenizer: whose padding token and side are used.
        padding: True or ``"longest"``, ``"max_length"``, or False.
        max_length: of ``padding="max_length"``.
        pad_to_multiple_of: round the length up to a multiple.
        return_tensors: ``"pt"``, ``"tf"``, ``"np"`` or ``"jax"``.

    Example:
        >>> from robertakit import AutoTokenizer, embedded
        >>> tokenizer = AutoTokenizer.from_pretrained(embedded.folder())
        >>> collator = DataCollatorWithPadding(tokenizer, return_tensors="np")
        >>> batch = collator([{"input_ids": [0, 90, 2], "label": 1}, {"input_ids": [0, 91, 92, 2], "label": 0}])
        >>> batch["attention_mask"].tolist(), batch["labels"].tolist()
        ([[1, 1, 1, 0], [1, 1, 1, 1]], [1, 0])
    """

    tokenizer: PreTrainedTokenizerBase
    padding: bool | str | PaddingStrategy = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"

    def __call__(self, features: Examples) -> BatchEncoding:
        """Pad; ``label`` and ``label_ids`` become ``labels``."""
        batch = self.tokenizer.pad(
            rows_of_examples(features),
            padding=self.padding,
            max_length=self.max_length,
            pad_to_multiple_of=self.pad_to_multiple_of,
            return_tensors=self.return_tensors,
        )
        for name in ("label", "label_ids"):
            if name in batch:
                batch["labels"] = batch.pop(name)
        return batch


@dataclass
class DataCollatorForLanguageModeling:
    """Pads examples, and chooses and hides what a masked language model has to predict.

    Args:
        tokenizer: of the ids.
        mlm: mask; else labels are the ids, -100 at padding.
        whole_word_mask: choose words, not tokens, and predict all tokens of a word. Words are those that an example
            gives (``word_ids``, or a `BatchEncoding` of one text), else they are found from the ids.
        mlm_probability: expected share of the tokens that are predicted.
        mask_replace_prob: share of these that become the mask token.
        random_replace_prob: share that becomes a random word; the rest stays.
        pad_to_multiple_of: round the length up to a multiple.
        tf_experimental_compile: there is nothing to compile, since masks are drawn before TensorFlow has the ids:
            True is refused.
        return_tensors: ``"pt"``, ``"tf"``, ``"np"`` or ``"jax"``.
        seed: of the masks: the n-th call of a collator (in a worker of PyTorch's DataLoader: of that worker) draws the
            same again. None draws from the framework's generator, which `set_seed` seeds.

    Raises:
        ArgumentError: numbers that are no shares, or arguments that contradict each other.
        TokenizerError: a tokenizer without a mask token.

    Example:
        >>> from robertakit import AutoTokenizer, embedded
        >>> tokenizer = AutoTokenizer.from_pretrained(embedded.folder())
        >>> collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.5, return_tensors="np", seed=0)
        >>> batch = collator([[0, 90, 91, 92, 93, 2], [0, 94, 95, 2]])
        >>> sorted(batch), batch["input_ids"].shape, (batch["labels"] != -100).sum(1).tolist()
        (['attention_mask', 'input_ids', 'labels'], (2, 6), [2, 1])
    """

    tokenizer: PreTrainedTokenizerBase
    mlm: bool = True
    whole_word_mask: bool = False
    mlm_probability: float | None = 0.15
    mask_replace_prob: float = 0.8
    random_replace_prob: float = 0.1
    pad_to_multiple_of: int | None = None
    tf_experimental_compile: bool = False
    return_tensors: str = "pt"
    seed: int | None = None
    _calls: int = field(default=0, init=False, repr=False, compare=False)
    _words: WordStarts | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        tensor_type(self.return_tensors)
        if self.tf_experimental_compile:
            raise ArgumentError(
                given="tf_experimental_compile=True",
                expected="False",
                hint="masks are drawn before TensorFlow has the ids, so that there is nothing to compile",
            )
        if self.mlm:
            self._mask_id()
        if self.whole_word_mask and not self.mlm:
            raise ArgumentError(given="whole_word_mask=True with mlm=False", expected="mlm=True")
        self._masking()

    def _mask_id(self) -> int:
        id: int | None = self.tokenizer.mask_token_id
        if id is None:
            raise TokenizerError(
                given="a tokenizer without a mask token", hint="set tokenizer.mask_token, or pass mlm=False"
            )
        return id

    def _masking(self) -> Masking:
        """The settings as they are now: attributes may be set later, as a schedule of the rate does."""
        if self.mlm_probability is None:
            raise ArgumentError(given="mlm_probability=None", expected="a share from 0 to 1")
        stays = 1.0 - self.mask_replace_prob - self.random_replace_prob
        if stays < -1e-9:
            raise ArgumentError(
                given=f"mask_replace_prob={self.mask_replace_prob} and random_replace_prob={self.random_replace_prob}",
                expected="a sum of 1 at most",
            )
        split = (float(self.mask_replace_prob), float(self.random_replace_prob), max(stays, 0.0))
        return Masking(self.mlm_probability, split, self.whole_word_mask)

    def __call__(self, features: Examples, return_tensors: str | None = None) -> BatchEncoding:
        """Collate and mask.

        Args:
            features: lists, arrays or tensors of ids, or dicts with ``input_ids`` and other columns, all with the same
                keys; ``special_tokens_mask`` says what is not chosen, without it the tokenizer does.
            return_tensors: another kind of tensor than the collator's.

        Returns:
            The columns, with ``input_ids`` (B, L), ``attention_mask`` (B, L) and ``labels`` (B, L), -100 where nothing
            is predicted.
        """
        kind = tensor_type(return_tensors or self.return_tensors)
        rows = rows_of_examples(features)
        begins = [self._word_starts(*each) for each in zip(features, rows, strict=True)]
        for row in rows:
            for name in ("word_ids", "offset_mapping", "chinese_ref"):
                row.pop(name, None)
        columns = padded_columns(self.tokenizer, rows, self.pad_to_multiple_of)
        given = columns.pop("special_tokens_mask", None)
        ids = columns["input_ids"].astype(np.int64)
        if self.mlm:
            side = self.tokenizer.padding_side
            starts = laid_out([each for each in begins if each is not None], ids.shape[1], side, 1)
            barred = self._special(ids) if given is None else given.astype(np.bool_)
            if "attention_mask" in columns:
                barred |= columns["attention_mask"] == 0
            masked = self._masked(ids, barred, starts if self.whole_word_mask else None, self._key(kind))
            columns["input_ids"], columns["labels"] = masked
        else:
            pad = self.tokenizer.pad_token_id
            columns["labels"] = ids if pad is None else np.where(ids == pad, IGNORED, ids)
        return BatchEncoding(to_tensors(columns, kind))

    def _special(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        return is_special(ids.ravel(), self._special_ids()).reshape(ids.shape)

    def _special_ids(self) -> list[int]:
        flagged = (id for id, token in self.tokenizer.added_tokens_decoder.items() if token.special)
        return sorted({*self.tokenizer.all_special_ids, *flagged})

    def _word_starts(self, example: object, row: Row) -> NDArray[np.bool_] | None:
        """Where the words of an example begin, where that matters."""
        if not (self.mlm and self.whole_word_mask):
            return None
        starts = words_given(example, row)
        if starts is None:
            self._words = self._words or WordStarts(self.tokenizer)
            starts = self._words(ids_of(row))
        if "chinese_ref" in row:  # as the reference has it: these tokens go on with the word before
            starts[np.asarray(row["chinese_ref"], np.int64)] = False
        return starts

    def _masked(
        self,
        ids: NDArray[np.int64],
        barred: NDArray[np.bool_],
        starts: NDArray[np.int64] | None,
        key: np.uint64,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Mask (B, L) ids: inputs and labels."""
        count, width = ids.shape
        units = np.zeros_like(ids) if starts is None else np.cumsum(starts, axis=1)
        inputs, labels = mask_units(
            ids.ravel(),
            np.where(barred, -1, units).ravel(),
            np.arange(count + 1) * width,
            counter_random.bits(key, np.arange(count)),
            self._masking(),
            len(self.tokenizer),
            self._mask_id(),
            self._special_ids(),
        )
        return inputs.reshape(ids.shape), labels.reshape(ids.shape)

    def _key(self, kind: TensorType) -> np.uint64:
        """A key for this call."""
        if self.seed is not None:
            call, self._calls = self._calls, self._calls + 1
            return counter_random.key(_CALLS, self.seed, _worker(), call)
        if kind is TensorType.PYTORCH:
            torch = require("torch", extra="torch", needed_for="return_tensors='pt'")
            drawn = int(torch.randint(2**62, (1,)))
        elif kind is TensorType.TENSORFLOW:
            tensorflow = require("tensorflow", extra="tensorflow", needed_for="return_tensors='tf'")
            drawn = int(tensorflow.random.uniform((), maxval=2**62, dtype="int64"))
        else:  # JAX has no generator of its own
            drawn = int(np.random.randint(2**62, dtype=np.int64))  # noqa: NPY002 (what set_seed seeds)
        return counter_random.key(_CALLS, drawn)


@dataclass
class DataCollatorForWholeWordMask(DataCollatorForLanguageModeling):
    """`DataCollatorForLanguageModeling` that chooses words, and predicts all tokens of a word.

    The words are those of this family's tokenizers, byte-level BPE and unigram alike; the reference looks for BERT's
    ``##``, which they do not have, so that it masks single tokens. Arguments as of `DataCollatorForLanguageModeling`.

    Example:
        >>> from robertakit import AutoTokenizer, embedded
        >>> tokenizer = AutoTokenizer.from_pretrained(embedded.folder())
        >>> collator = DataCollatorForWholeWordMask(tokenizer, mlm_probability=0.5, return_tensors="np", seed=1)
        >>> collator([{"input_ids": [0, 90, 91, 92, 93, 2], "word_ids": [None, 0, 0, 0, 1, None]}])["labels"].tolist()
        [[-100, 90, 91, 92, -100, -100]]
    """

    whole_word_mask: bool = True


def _worker() -> int:
    """The number of this process among the workers of PyTorch's DataLoader, from 1; 0 in no such worker."""
    data = sys.modules.get("torch.utils.data")
    worker = None if data is None else data.get_worker_info()
    return 0 if worker is None else int(worker.id) + 1
