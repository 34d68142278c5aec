"""Examples as people have them to columns of arrays, and arrays to the tensors that they asked for."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robertakit.errors import InputError, TokenizerError, require
from robertakit.tokenizers import BatchEncoding
from robertakit.tokenizers.padding import TensorType, tensor_type, to_tensors

if TYPE_CHECKING:
    from robertakit.tokenizers import PreTrainedTokenizerBase

__all__ = [
    "Examples",
    "Row",
    "ids_of",
    "laid_out",
    "padded_columns",
    "rows_of_examples",
    "stacked",
    "words_given",
]

#: A list of lists, arrays or tensors of ids, or of dicts with ``input_ids``.
Examples = Sequence[object]
Row = dict[str, object]


def rows_of_examples(examples: Examples) -> list[Row]:
    """Return examples as dicts that may be changed.

    Raises:
        InputError: no example, or one that holds no ids.
    """
    if isinstance(examples, Mapping) or not len(examples):
        given = (
            "no example" if not len(examples) else f"{type(examples).__name__} in place of a list of examples"
        )
        raise InputError(
            given=given, expected="a list of examples, each a list of ids or a dict with input_ids"
        )
    rows: list[Row] = []
    for example in examples:
        row: Row = dict(example) if isinstance(example, Mapping) else {"input_ids": example}
        if "input_ids" not in row:
            raise InputError(
                given=f"an example with {', '.join(row) or 'nothing'}", expected="input_ids among them"
            )
        rows.append(row)
    return rows


def words_given(example: object, row: Row) -> NDArray[np.bool_] | None:
    """Return where words begin as an example says itself, (n,); None where it does not.

    An example says so by a column ``word_ids`` (None or -1 at special tokens), or by being the `BatchEncoding` that a
    tokenizer made of one text.
    """
    ids = ids_of(row)
    if "word_ids" in row:
        words = np.asarray(row["word_ids"], np.float64)  # None is not a number
        if words.shape != ids.shape:
            raise InputError(given=f"{words.size} word_ids", expected=f"{len(ids)}, one for each id")
        numbers = np.nan_to_num(words, nan=-1).astype(np.int64)
    else:
        made = example.encodings if isinstance(example, BatchEncoding) else None
        if not made or len(made) != 1 or made[0].ids != ids.tolist():
            return None
        numbers = np.array(  # a pair numbers each text's words from 0
            [
                -1 if word is None else 2 * word + (sequence or 0)
                for word, sequence in zip(made[0].word_ids, made[0].sequence_ids, strict=True)
            ],
            np.int64,
        )
    starts = np.ones(len(ids), np.bool_)
    starts[1:] = (numbers[1:] != numbers[:-1]) | (numbers[1:] < 0)
    return starts


def ids_of(row: Row) -> NDArray[np.int64]:
    """Return the ids of a row, (n,).

    Raises:
        InputError: what is no row of whole numbers.
    """
    ids = np.asarray(row["input_ids"])
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise InputError(
            given=f"input_ids of shape {ids.shape} and type {ids.dtype}",
            expected="one row of whole numbers an example",
        )
    return ids.astype(np.int64)


def padded_columns(
    tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Row], multiple: int | None
) -> dict[str, NDArray[np.generic]]:
    """Pad rows to the longest one, and return their columns, (B, L) each.

    Raises:
        TokenizerError: rows of unequal length and no padding token.
    """
    lengths = {len(ids_of(row)) for row in rows}
    if tokenizer.pad_token_id is None and (len(lengths) > 1 or max(lengths) % (multiple or 1)):
        raise TokenizerError(given="rows to pad and no pad_token", hint="set tokenizer.pad_token")
    if tokenizer.pad_token_id is None:
        columns = {name: np.asarray(stacked([row[name] for row in rows], "np")) for name in rows[0]}
        return {"attention_mask": np.ones_like(columns["input_ids"])} | columns
    return dict(tokenizer.pad(rows, pad_to_multiple_of=multiple, return_tensors="np"))


def laid_out(rows: Sequence[NDArray[np.generic]], width: int, side: str, filler: int) -> NDArray[np.int64]:
    """Lay rows of values into (B, L) on the side where the tokens are.

    Example:
        >>> laid_out([np.array([1, 2]), np.array([3])], 3, "right", 0).tolist()
        [[1, 2, 0], [3, 0, 0]]
    """
    found = np.full((len(rows), width), filler, np.int64)
    for number, row in enumerate(rows):
        place = slice(None, len(row)) if side == "right" else slice(width - len(row), None)
        found[number, place] = row
    return found


def stacked(values: Sequence[object], kind: str) -> object:
    """Stack the values of one column: numbers, lists, arrays or tensors of one shape.

    Raises:
        BadShape: shapes that differ, or what holds no numbers.
    """
    wanted = tensor_type(kind)
    if wanted is TensorType.PYTORCH:
        torch = require("torch", extra="torch", needed_for="return_tensors='pt'")
        alike = len({getattr(value, "shape", None) for value in values}) == 1
        if alike and all(isinstance(value, torch.Tensor) for value in values):
            stack: object = torch.stack(list(values))
            return stack
    lists = [value.numpy() if hasattr(value, "numpy") else value for value in values]
    return to_tensors({"column": lists}, wanted)["column"]
