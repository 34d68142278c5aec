"""From items (a text or ids, perhaps with a second) to rows and columns: cut, joined, padded.

Pure but for the pipeline's call; which items a caller meant is `given.py`'s question, the documented methods
stand in `calling.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from robertakit.errors import InputError
from robertakit.tokenizers.batch_encoding import BatchEncoding
from robertakit.tokenizers.core import Pieces
from robertakit.tokenizers.encoding import Source, Template, TextEncoding
from robertakit.tokenizers.given import Given, Ids, Item
from robertakit.tokenizers.options import CallOptions, logger
from robertakit.tokenizers.padding import padded, width
from robertakit.tokenizers.pipeline import Pipeline, Text
from robertakit.tokenizers.truncation import Cutting, Span, TruncationStrategy, cut, head, overflow, windows
from robertakit.tokenizers.values import Value


@dataclass(frozen=True, slots=True)
class Setting:
    """What preparing needs to know of a tokenizer; taken at the start of a call, so that nothing changes in it.

    `template`: for a single text (False) or a pair (True). `fast`: overflow as windows, not as one flat list.
    `fillers`: value of padding for each column that is padded. `main`: name of the column of ids.
    """

    pipeline: Pipeline
    template: Callable[[bool], Template]
    tokens_of: Callable[[Sequence[int]], list[str]]
    fast: bool
    odd_to_longer: bool
    main: str
    fillers: Mapping[str, int]


@dataclass(slots=True)
class _Row:
    """One row before padding: the item it is of, what was kept of each sequence, and the ids."""

    item: int
    spans: tuple[Span, ...]
    ids: list[int]
    template: Template


def encode_items(
    items: Sequence[Item], options: CallOptions, setting: Setting, *, batched: bool, batch_axis: bool = True
) -> BatchEncoding:
    """Encode items and return their columns.

    Without `batched` the columns of the only row, unless it has windows; tensors keep their first axis all the same
    where `batch_axis` says so.
    """
    sources = _sources(items, options, setting.pipeline)
    rows: list[_Row] = []
    flat: dict[str, list[object]] = {}
    for number, item in enumerate(sources):
        template = setting.template(len(item) == 2)
        ids = [pieces.ids for _, pieces in item]
        cutting = _cutting(ids, template, options, setting.odd_to_longer)
        if options.overflow and not setting.fast:
            flat.setdefault("overflowing_tokens", []).append(overflow(cutting, ids))
            flat.setdefault("num_truncated_tokens", []).append(_surplus(cutting, template, options))
            if len(ids) == 2 and cutting.kept != cutting.lengths and not flat["overflowing_tokens"][-1]:
                logger.warning(
                    "A pair cut on both sides has no overflowing_tokens: use 'only_first' or a fast class"
                )
        for spans in windows(cutting) if options.overflow and setting.fast else [head(cutting)]:
            kept = [row[start:stop] for row, (start, stop) in zip(ids, spans, strict=True)]
            rows.append(_Row(number, spans, template.join(kept), template))

    encodings = _encodings(rows, sources, options, setting)
    columns: dict[str, list[object]] = {**flat, **_columns(encodings, options, setting.main)}
    windowed = options.overflow and setting.fast
    if windowed:
        columns["overflow_to_sample_mapping"] = [row.item for row in rows]
    unpacked = not (batched or windowed) and (options.tensors is None or not batch_axis)
    data: Mapping[str, object] = {name: each[0] for name, each in columns.items()} if unpacked else columns
    return BatchEncoding(
        data, encodings, options.tensors, n_sequences=_n_sequences(items), is_fast=setting.fast
    )


def _n_sequences(items: Sequence[Item]) -> int | None:
    return None if not items else 1 if items[0][1] is None else 2


def _sources(
    items: Sequence[Item], options: CallOptions, pipeline: Pipeline
) -> list[list[tuple[Source, Pieces]]]:
    """Encode all texts of all items in one call, and put the results where the texts were."""
    texts: list[Text] = [
        each for item in items for each in item if each is not None and not isinstance(each, Ids)
    ]
    settings = (options.prefix_space, options.split_special_tokens)
    encoded = iter(
        pipeline.encode_batch(
            texts,
            options.offsets or pipeline.draws,
            prefix_space=settings[0],
            split_special_tokens=settings[1],
        )
        if texts
        else ()
    )

    def source(given: Given) -> tuple[Source, Pieces]:
        if isinstance(given, Ids):
            made = Source.of_ids(given, pipeline)
            return made, made.pieces()
        pieces = next(encoded)
        return Source(given, pieces, pipeline, *settings), pieces

    return [[source(each) for each in item if each is not None] for item in items]


def _cutting(
    ids: Sequence[list[int]], template: Template, options: CallOptions, odd_to_longer: bool
) -> Cutting:
    lengths = tuple(map(len, ids))
    if options.truncation is TruncationStrategy.DO_NOT_TRUNCATE or options.max_length is None:
        return Cutting(lengths, lengths, options.truncation, options.stride, options.truncation_side)
    return cut(
        lengths,
        options.max_length - template.specials,
        options.truncation,
        stride=options.stride,
        side=options.truncation_side,
        odd_to_longer=odd_to_longer,
    )


def _surplus(cutting: Cutting, template: Template, options: CallOptions) -> int:
    """What the slow classes call `num_truncated_tokens`: negative where there was room left."""
    return sum(cutting.lengths) + template.specials - (options.max_length or 0)


def _encodings(
    rows: Sequence[_Row],
    sources: Sequence[Sequence[tuple[Source, Pieces]]],
    options: CallOptions,
    setting: Setting,
) -> list[TextEncoding]:
    target = width([len(row.ids) for row in rows], options.padding, options.max_length, options.multiple)
    filler = setting.fillers[setting.main] if target is not None else 0
    made: list[TextEncoding] = []
    for row in rows:
        missing = 0 if target is None else max(0, target - len(row.ids))
        padding = (0, missing) if options.padding_side == "right" else (missing, 0)
        ids = padded(row.ids, target, filler, options.padding_side) if missing else row.ids
        item = tuple(source for source, _ in sources[row.item])
        made.append(TextEncoding(ids, row.template, item, row.spans, padding, setting.tokens_of))
    return made


def _columns(encodings: Sequence[TextEncoding], options: CallOptions, main: str) -> dict[str, list[object]]:
    columns: dict[str, list[object]] = {main: [list(encoding.ids) for encoding in encodings]}
    if options.token_type_ids:
        columns["token_type_ids"] = [encoding.type_ids for encoding in encodings]
    if options.special_tokens_mask:
        columns["special_tokens_mask"] = [encoding.special_tokens_mask for encoding in encodings]
    if options.attention_mask:
        columns["attention_mask"] = [encoding.attention_mask for encoding in encodings]
    if options.offsets:
        columns["offset_mapping"] = [encoding.offsets for encoding in encodings]
    if options.length:
        columns["length"] = [len(encoding) for encoding in encodings]
    return columns


def warn_of_length(lengths: Sequence[int], limit: int) -> bool:
    """Log once that a row is longer than the model takes; return whether there was one."""
    longest = max(lengths, default=0)
    if longest <= limit:
        return False
    logger.warning(
        "A row of %d tokens is longer than the model's %d: pass truncation=True, or cut it into windows",
        longest,
        limit,
    )
    return True


def columns_of_rows(encoded: object) -> tuple[dict[str, list[Value]], bool]:
    """Return rows of any documented form as columns of lists, and whether it was a single row."""
    if isinstance(encoded, Mapping):
        columns = {str(name): _listed(values) for name, values in encoded.items()}
        first = next(iter(columns.values()), None)
        single = bool(columns) and (
            not isinstance(first, list) or not first or not isinstance(first[0], list)
        )
        if single:
            return {name: [values] for name, values in columns.items()}, True
        return {
            name: list(values) if isinstance(values, list) else [values] for name, values in columns.items()
        }, False
    if (
        not isinstance(encoded, Sequence)
        or isinstance(encoded, str)
        or not all(isinstance(r, Mapping) for r in encoded)
    ):
        raise InputError(
            given=f"{type(encoded).__name__} to pad", expected="a dict, or a list of dicts, of encoded rows"
        )
    names = dict.fromkeys(str(name) for row in encoded for name in row)
    for row in encoded:
        for name in names:
            if name not in row:
                raise InputError(given=f"a row without {name!r}", expected="the same keys in every row")
    return {name: [_listed(row[name]) for row in encoded] for name in names}, False


def _listed(values: object) -> object:
    """Arrays and tensors of any framework as lists."""
    tolist = getattr(values, "tolist", None) or getattr(
        getattr(values, "numpy", lambda: None)(), "tolist", None
    )
    return tolist() if callable(tolist) else values
