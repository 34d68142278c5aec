"""The call: texts or ids in, a padded, truncated `BatchEncoding` out. One way for slow and fast classes.

The text goes through the tokenizer's pipeline; everything after that is here and in the pure functions of
`truncation.py` and `padding.py`. No call changes the tokenizer, so that threads may share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from robertakit.errors import ArgumentError, InputError, TokenizerError
from robertakit.tokenizers.batch_encoding import BatchEncoding
from robertakit.tokenizers.encoding import FIRST, SECOND, Template
from robertakit.tokenizers.given import Ids, Item, ids_of, item_of, items_of, items_of_batch
from robertakit.tokenizers.options import CallOptions, call_options
from robertakit.tokenizers.padding import (
    PaddingStrategy,
    TensorType,
    padded,
    padding_strategy,
    side_of,
    width,
)
from robertakit.tokenizers.preparing import Setting, columns_of_rows, encode_items, warn_of_length
from robertakit.tokenizers.truncation import TruncationStrategy, cut, head, overflow
from robertakit.tokenizers.truncation import truncation_strategy as strategy_named
from robertakit.tokenizers.values import Value
from robertakit.tokenizers.vocabulary import VocabularyMixin

TextInput = str | Sequence[str] | Sequence[Sequence[str]]
IdsInput = str | Sequence[str] | Sequence[int]


class CallMixin(VocabularyMixin):
    """`__call__` and its relatives."""

    model_max_length: int
    padding_side: str
    truncation_side: str
    model_input_names: list[str]
    split_special_tokens: bool
    _call_arguments = frozenset({"split_special_tokens", "pad_to_max_length", "truncation_strategy"})
    _odd_to_longer = False
    _warned_of_length = False

    # --- the documented calls ---

    def __call__(
        self,
        text: TextInput | None = None,
        text_pair: TextInput | None = None,
        text_target: TextInput | None = None,
        text_pair_target: TextInput | None = None,
        add_special_tokens: bool = True,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool | str | TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | TensorType | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        **kwargs: Value,
    ) -> BatchEncoding:
        """Tokenize a text, a list of texts, or pairs of them.

        Args:
            text: a text or a list of texts; with `is_split_into_words` a list of words or of such lists.
            text_pair: the second texts of pairs, as many as `text`.
            text_target: texts whose ids become `labels`.
            text_pair_target: their second texts.
            add_special_tokens: put `<s>` and `</s>` around.
            padding: `True` or `"longest"`, `"max_length"`, or `False`.
            truncation: `True` or `"longest_first"`, `"only_first"`, `"only_second"`, or `False`.
            max_length: length in tokens, special ones included; default `model_max_length`.
            stride: tokens that neighbouring windows of a long text share.
            is_split_into_words: the text comes as words; each of them is tokenized on its own.
            pad_to_multiple_of: pad on to a multiple of this.
            padding_side: `"right"` or `"left"`; default `tokenizer.padding_side`.
            return_tensors: `"np"`, `"pt"`, `"tf"` or `"jax"`; default lists.
            return_token_type_ids: default only if `model_input_names` has them.
            return_attention_mask: likewise.
            return_overflowing_tokens: fast classes give a row for each window, and `overflow_to_sample_mapping`;
                slow ones what was cut off in `overflowing_tokens`, and `num_truncated_tokens`.
            return_special_tokens_mask: 1 for tokens that were added, 0 for those of the text.
            return_offsets_mapping: the characters of each token as `offset_mapping`.
            return_length: number of tokens of each row, padding included, as `length`.
            verbose: log what a caller may not expect.
            **kwargs: `split_special_tokens`, and for byte-level BPE `add_prefix_space`.

        Returns:
            The columns as lists (of lists for several texts), or arrays of shape (B, L).

        Raises:
            ArgumentError: an argument that is unknown, or contradicts another.
            InputError: text that is no text, or a `max_length` or `stride` that cannot be met.
        """
        if text is None and text_target is None:
            raise InputError(given="neither text nor text_target", expected="one of them at least")
        named = {
            "add_special_tokens": add_special_tokens,
            "padding": padding,
            "truncation": truncation,
            "max_length": max_length,
            "stride": stride,
            "is_split_into_words": is_split_into_words,
            "pad_to_multiple_of": pad_to_multiple_of,
            "padding_side": padding_side,
            "return_tensors": return_tensors,
            "return_token_type_ids": return_token_type_ids,
            "return_attention_mask": return_attention_mask,
            "return_overflowing_tokens": return_overflowing_tokens,
            "return_special_tokens_mask": return_special_tokens_mask,
            "return_offsets_mapping": return_offsets_mapping,
            "return_length": return_length,
            "verbose": verbose,
        }
        options = self._options(named, kwargs)
        given = [(text, text_pair), (text_target, text_pair_target)]
        encoded = [
            self._encode(*items_of(first, second, is_split_into_words), options)
            for first, second in given
            if first is not None
        ]
        if len(encoded) == 2:
            encoded[0]["labels"] = encoded[1][self.model_input_names[0]]
        return encoded[0]

    def encode(
        self,
        text: IdsInput,
        text_pair: IdsInput | None = None,
        add_special_tokens: bool = True,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool | str | TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        padding_side: str | None = None,
        return_tensors: str | TensorType | None = None,
        **kwargs: Value,
    ) -> Value:
        """Return the ids of one text or pair: a list, or with `return_tensors` an array of shape (1, L).

        A text may also be given as tokens (list of str) or as ids without special tokens.
        """
        return self.encode_plus(
            text,
            text_pair,
            add_special_tokens,
            padding,
            truncation,
            max_length,
            stride,
            padding_side=padding_side,
            return_tensors=return_tensors,
            **kwargs,
        )["input_ids"]

    def encode_plus(
        self,
        text: IdsInput,
        text_pair: IdsInput | None = None,
        add_special_tokens: bool = True,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool | str | TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        **kwargs: Value,
    ) -> BatchEncoding:
        """Tokenize one text or pair; a text may also be given as tokens or as ids. Otherwise as calling."""
        given = (add_special_tokens, padding, truncation, max_length, stride, is_split_into_words)
        options = self._options(dict(zip(_POSITIONAL, given, strict=True)), kwargs)
        item = item_of(text, text_pair, is_split_into_words, self._tokens_to_ids)
        return self._encode([item], False, options)

    def batch_encode_plus(
        self,
        batch_text_or_text_pairs: Sequence[Value],
        add_special_tokens: bool = True,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool | str | TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        **kwargs: Value,
    ) -> BatchEncoding:
        """Tokenize a list of texts, or of pairs of texts. Otherwise as calling."""
        given = (add_special_tokens, padding, truncation, max_length, stride, is_split_into_words)
        options = self._options(dict(zip(_POSITIONAL, given, strict=True)), kwargs)
        items = items_of_batch(batch_text_or_text_pairs, is_split_into_words, self._tokens_to_ids)
        return self._encode(items, True, options)

    def prepare_for_model(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        add_special_tokens: bool = True,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool | str | TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | TensorType | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        prepend_batch_axis: bool = False,
        **kwargs: Value,
    ) -> BatchEncoding:
        """Truncate ids, put special tokens around them, and pad. Arguments as of the call."""
        if return_offsets_mapping:
            raise ArgumentError(
                given="return_offsets_mapping for ids", hint="ids have no text: call the tokenizer"
            )
        given = (add_special_tokens, padding, truncation, max_length, stride, False)
        named = dict(zip(_POSITIONAL, given, strict=True)) | {
            "pad_to_multiple_of": pad_to_multiple_of,
            "padding_side": padding_side,
            "return_tensors": return_tensors,
            "return_token_type_ids": return_token_type_ids,
            "return_attention_mask": return_attention_mask,
            "return_overflowing_tokens": return_overflowing_tokens,
            "return_special_tokens_mask": return_special_tokens_mask,
            "return_length": return_length,
            "verbose": verbose,
        }
        options = self._options(named, kwargs)
        item = (ids_of(ids), None if pair_ids is None else ids_of(pair_ids))
        return self._encode([item], False, options, batch_axis=prepend_batch_axis)

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **kwargs: Value
    ) -> list[str]:
        """Return the pieces of a text (and of a second one) as strings, unknown ones as the text has them.

        Args:
            text: the text.
            pair: a second text.
            add_special_tokens: put the special tokens around.
            **kwargs: `split_special_tokens`, `is_split_into_words` (the text is a list of words then), and for
                byte-level BPE `add_prefix_space`.
        """
        options = self._options({"add_special_tokens": add_special_tokens}, kwargs)
        texts = [
            given
            for given in item_of(text, pair, options.pre_split, self._tokens_to_ids)
            if given is not None and not isinstance(given, Ids)
        ]
        surfaces = [
            self._pipeline.surfaces(
                each, prefix_space=options.prefix_space, split_special_tokens=options.split_special_tokens
            )
            for each in texts
        ]
        template = self._template_of(options.add_special_tokens, len(texts) == 2)
        row: list[str] = []
        for slot in template.slots:
            row += [self._token_of_id(slot)] if slot >= 0 else surfaces[-1 - slot]
        return row

    def truncate_sequences(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        num_tokens_to_remove: int = 0,
        truncation_strategy: str | TruncationStrategy = "longest_first",
        stride: int = 0,
    ) -> tuple[list[int], list[int] | None, list[int]]:
        """Take ids off one or both sequences.

        Returns:
            The two sequences, and the ids taken off with `stride` neighbours (none for a pair cut on both sides).
        """
        sequences = [list(ids), *([] if pair_ids is None else [list(pair_ids)])]
        lengths = tuple(map(len, sequences))
        cutting = cut(
            lengths,
            sum(lengths) - max(num_tokens_to_remove, 0),
            strategy_named(truncation_strategy),
            stride=stride,
            side=self.truncation_side,
        )
        kept = [
            sequence[start:stop] for sequence, (start, stop) in zip(sequences, head(cutting), strict=True)
        ]
        return kept[0], kept[1] if pair_ids is not None else None, overflow(cutting, sequences)

    def pad(
        self,
        encoded_inputs: Mapping[str, Value] | Sequence[Mapping[str, Value]],
        padding: bool | str | PaddingStrategy = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | TensorType | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pad encoded rows, as a data collator does.

        Args:
            encoded_inputs: rows (a list of dicts), or their columns (a dict of lists, arrays or tensors), or one
                row. Columns that are no model input, labels among them, stay as they are.
            padding: as of the call.
            max_length: as of the call.
            pad_to_multiple_of: as of the call.
            padding_side: as of the call.
            return_attention_mask: make one where there is none; default if `model_input_names` has it.
            return_tensors: as of the call.
            verbose: log what a caller may not expect.
        """
        columns, single = columns_of_rows(encoded_inputs)
        main = self.model_input_names[0]
        if main not in columns:
            raise InputError(
                given=f"rows with {', '.join(columns) or 'nothing'}", expected=f"{main} among them"
            )
        strategy = padding_strategy(padding)
        if strategy is PaddingStrategy.MAX_LENGTH and max_length is None:
            max_length = self.model_max_length
        if return_attention_mask is None:
            return_attention_mask = "attention_mask" in self.model_input_names
        lengths = [len(row) for row in columns[main]]
        if return_attention_mask and "attention_mask" not in columns:
            columns["attention_mask"] = [[1] * length for length in lengths]
        target = width(lengths, strategy, max_length, pad_to_multiple_of)
        side = side_of(padding_side or self.padding_side, "padding_side")
        for name, filler in self._fillers().items():
            if name in columns:
                columns[name] = [padded(row, target, filler, side) for row in columns[name]]
        data = {name: rows[0] for name, rows in columns.items()} if single else columns
        return BatchEncoding(data, tensor_type=return_tensors, is_fast=self.is_fast)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return how many special tokens a text, or a pair, gets."""
        return self._template_of(True, pair).specials

    @property
    def max_len_single_sentence(self) -> int:
        """Most tokens of a text that fit beside the special ones."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """Most tokens of a pair that fit beside the special ones."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    # --- behind them ---

    def _options(self, named: Mapping[str, Value], extra: Mapping[str, Value]) -> CallOptions:
        """Check arguments; those of `extra` that `__call__` has by name may be among them."""
        by_name = {name: value for name, value in extra.items() if name in _BY_NAME}
        rest = {name: value for name, value in extra.items() if name not in _BY_NAME}
        return call_options(self, **named, **by_name, extra=rest, known=self._call_arguments)

    def _encode(
        self, items: Sequence[Item], batched: bool, options: CallOptions, *, batch_axis: bool = True
    ) -> BatchEncoding:
        templates = {pair: self._template_of(options.add_special_tokens, pair) for pair in (False, True)}
        setting = Setting(
            pipeline=self._pipeline,
            template=templates.__getitem__,
            tokens_of=self._ids_to_tokens,
            fast=self.is_fast,
            odd_to_longer=self._odd_to_longer,
            main=self.model_input_names[0],
            fillers=self._fillers() if options.padding is not PaddingStrategy.DO_NOT_PAD else {},
        )
        encoded = encode_items(items, options, setting, batched=batched, batch_axis=batch_axis)
        if options.verbose and not self._warned_of_length and encoded.encodings:
            self._warned_of_length = warn_of_length(list(map(len, encoded.encodings)), self.model_max_length)
        return encoded

    def _template_of(self, add_special_tokens: bool, pair: bool) -> Template:
        """Where special tokens stand: asked of the documented methods, so that a subclass may override them."""
        first, second = [FIRST], [SECOND] if pair else None
        slots = tuple(self.build_inputs_with_special_tokens(first, second))
        template = Template(slots, tuple(self.create_token_type_ids_from_sequences(first, second)))
        if add_special_tokens:
            return template
        kept = [place for place, slot in enumerate(slots) if slot < 0]
        return Template(tuple(slots[place] for place in kept), tuple(template.types[place] for place in kept))

    def _fillers(self) -> dict[str, int]:
        """The padding of each column that is padded; ids come first."""
        pad_id = self.pad_token_id
        if pad_id is None:
            raise TokenizerError(given="padding, and no padding token", hint="set tokenizer.pad_token")
        main = self.model_input_names[0]
        return {
            main: pad_id,
            "attention_mask": 0,
            "token_type_ids": self.pad_token_type_id,
            "special_tokens_mask": 1,
        }


_POSITIONAL = ("add_special_tokens", "padding", "truncation", "max_length", "stride", "is_split_into_words")
_BY_NAME = {
    *_POSITIONAL,
    "pad_to_multiple_of",
    "padding_side",
    "return_tensors",
    "return_token_type_ids",
    "return_attention_mask",
    "return_overflowing_tokens",
    "return_special_tokens_mask",
    "return_offsets_mapping",
    "return_length",
    "verbose",
}
