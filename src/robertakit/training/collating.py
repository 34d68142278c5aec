"""Examples as people have them to columns of arrays, and arrays to the tensors that they asked for."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robertakit.errors import InputError, TokenizerError, require
from robertakit.tokenizers import BatchEncoding
from robertakit.tokenizers.padding import TensorType, tensor_type, to_tensors
from robertakit.tokenizers.values import Value

if TYPE_CHECKING:
    from robertakit.tokenizers import PreTrainedTokenizerBase

__all__ = ["Examples", "laid_out", "padded_columns", "rows_of_examples", "stacked", "words_given"]

#: A list of lists, arrays or tensors of ids, or of dicts with ``input_ids``.
Examples = Sequence[Value]


def rows_of_examples(examples: Examples) -> list[dict[str, Value]]:
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
    rows = []
    for example in examples:
        row = dict(example) if isinstance(example, Mapping) else {"input_ids": example}
        if "input_ids" not in row:
            raise InputError(
                given=f"an example with {', '.join(row) or 'nothing'}", expected="input_ids among them"
            )
        rows.append(row)
    return rows


def words_given(example: Value, row: dict[str, Value]) -> NDArray[np.bool_] | None:
    """Return where words begin as an example says itself, (n,); None where it does not.

    An example says so by a column ``word_ids`` (None or -1 at special tokens), or by being the `BatchEncoding` that a
    tokenizer made of one text.
    """
    words = row.get("word_ids")
    count = len(row["input_ids"])
    if words is None:
        made = example.encodings if isinstance(example, BatchEncoding) else None
        if not made or len(made) != 1 or list(made[0].ids) != list(row["input_ids"]):
            return None
        encoding = made[0]
        words = [  # a pair numbers each text's words from 0
            None if word is None else 2 * word + (sequence or 0)
            for word, sequence in zip(encoding.word_ids, encoding.sequence_ids, strict=True)
        ]
    if len(words) != count:
        raise InputError(given=f"{len(words)} word_ids", expected=f"{count}, one for each id")
    numbers = np.array([-1 if word is None else int(word) for word in words], np.int64)
    starts = np.ones(count, np.bool_)
    starts[1:] = (numbers[1:] != numbers[:-1]) | (numbers[1:] < 0)
    return starts


def padded_columns(
    tokenizer: "PreTrainedTokenizerBase", rows: Sequence[dict[str, Value]], multiple: int | None
) -> dict[str, NDArray[np.generic]]:
    """Pad rows to the longest one, and return their columns, (B, L) each.

    Raises:
        TokenizerError: rows of unequal length and no padding token.
    """
    lengths = {len(row["input_ids"]) for row in rows}
    if tokenizer.pad_token_id is None and (len(lengths) > 1 or max(lengths) % (multiple or 1)):
        raise TokenizerError(given="rows to pad and no pad_token", hint="set tokenizer.pad_token")
    if tokenizer.pad_token_id is None:
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        columns.setdefault("attention_mask", [[1] * len(row["input_ids"]) for row in rows])
        return {name: stacked(column, "np") for name, column in columns.items()}
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


def stacked(values: Sequence[Value], kind: str) -> Value:
    """Stack the values of one column: numbers, lists, arrays or tensors of one shape.

    Raises:
        BadShape: shapes that differ, or what holds no numbers.
    """
    wanted = tensor_type(kind)
    if wanted is TensorType.PYTORCH:
        torch = require("torch", extra="torch", needed_for="return_tensors='pt'")
        if all(isinstance(value, torch.Tensor) and value.shape == values[0].shape for value in values):
            return torch.stack(list(values))
    lists = [value.numpy() if hasattr(value, "numpy") else value for value in values]
    return to_tensors({"column": lists}, wanted)["column"]
