"""Ids, pieces and text of a tokenizer: the vocabulary with its added tokens, conversions, decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import overload

from robertakit.errors import InputError, TokenizerError
from robertakit.tokenizers.added_tokens import AddedToken
from robertakit.tokenizers.pipeline import Pipeline, RawPipeline
from robertakit.tokenizers.special_tokens import SpecialTokensMixin
from robertakit.tokenizers.values import Value

# What `clean_up_tokenization_spaces=True` mends in English, in this order (transformers' list).
ENGLISH_SPACES = (
    *((f" {mark}", mark) for mark in ".?!,"),
    (" ' ", "'"),
    *((f" {ending}", ending) for ending in ("n't", "'m", "'s", "'ve", "'re")),
)


class VocabularyMixin(SpecialTokensMixin):
    """The vocabulary's side of a tokenizer."""

    is_fast: bool
    clean_up_tokenization_spaces: bool
    _pipeline: Pipeline
    _added: Mapping[int, AddedToken]
    _added_ids: Mapping[str, int]
    _spaces_between_special_tokens = True

    # --- the vocabulary ---

    @property
    def vocab_size(self) -> int:
        """Size of the vocabulary without added tokens; `len(tokenizer)` counts those too."""
        return len(self._pipeline.vocabulary)

    def get_vocab(self) -> dict[str, int]:
        """Return token -> id, added tokens included."""
        return {**self._pipeline.vocabulary, **self._added_ids}

    @property
    def vocab(self) -> dict[str, int]:
        """The same as `get_vocab()`."""
        return self.get_vocab()

    def __len__(self) -> int:
        vocabulary = self._pipeline.vocabulary
        return len(vocabulary) + sum(token not in vocabulary for token in self._added_ids)

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> added token, those that the vocabulary holds as well (`<s>`, `<mask>`) among them."""
        return dict(sorted(self._added.items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Added token -> id, in the order of ids."""
        return {token.content: id for id, token in sorted(self._added.items())}

    def get_added_vocab(self) -> dict[str, int]:
        """Return the same as `added_tokens_encoder`."""
        return self.added_tokens_encoder

    def _set_added(self, added: Mapping[int, AddedToken]) -> None:
        """Take another set of added tokens. New objects are put in place: a call that runs keeps its own."""
        pipeline = self._pipeline.with_added(added)
        self._added = dict(pipeline.added)
        self._added_ids = {token.content: id for id, token in pipeline.added.items()}
        self._pipeline = pipeline

    def _add(self, tokens: Sequence[AddedToken]) -> int:
        added = dict(self._added)
        ids = {token.content: id for id, token in added.items()}
        vocabulary = self._pipeline.vocabulary
        next_id = max(len(self), 1 + max(added, default=-1), 1 + max(vocabulary.values(), default=-1))
        fresh = 0
        for token in tokens:
            if not token.content:
                continue
            id = ids.get(token.content, vocabulary.get(token.content))
            if id is None:
                id, fresh = next_id + fresh, fresh + 1
            added[id] = token
            ids[token.content] = id
        if added != self._added:
            self._set_added(added)
        return fresh

    def _id_of(self, token: str) -> int | None:
        id = self._added_ids.get(token)
        return self._pipeline.vocabulary.get(token) if id is None else id

    def _token_of_id(self, id: int) -> str:
        added = self._added.get(id)
        if added is not None:
            return added.content
        piece = self._pipeline.piece_of(id) if id >= 0 else None
        if piece is None:
            raise InputError(
                given=f"id {id}",
                expected=f"an id of the {len(self)} that this tokenizer has",
                hint="take out what is no id, such as the -100 of labels",
            )
        return piece

    # --- tokens and ids ---

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int]:
        """Return the id of a token, or the ids of several; a token that is not known has the id of `<unk>`.

        Raises:
            InputError: a token that is not known, and no `unk_token`.
        """
        if not isinstance(tokens, str):
            return self._tokens_to_ids(tokens)
        id = self._id_of(tokens)
        if id is None and self.unk_token is not None:
            id = self.unk_token_id
        if id is None:
            raise InputError(
                given=f"the token {tokens!r}", expected="a token of the vocabulary, which has no <unk>"
            )
        return id

    def _tokens_to_ids(self, tokens: Sequence[str]) -> list[int]:
        return [self.convert_tokens_to_ids(token) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...
    @overload
    def convert_ids_to_tokens(self, ids: Value, skip_special_tokens: bool = False) -> Value: ...
    def convert_ids_to_tokens(self, ids: Value, skip_special_tokens: bool = False) -> str | list[str]:
        """Return the token of an id, or the tokens of several (a list, array or tensor).

        Raises:
            InputError: an id that the tokenizer does not have.
        """
        if isinstance(ids, int):
            return self._token_of_id(ids)
        skipped = self._skipped() if skip_special_tokens else frozenset()
        return [self._token_of_id(id) for id in listed_ids(ids) if id not in skipped]

    def _ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._token_of_id(id) for id in ids]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Return the text that tokens stand for."""
        return self._pipeline.text_of(tokens)

    def _skipped(self) -> frozenset[int]:
        """The ids that `skip_special_tokens` leaves out."""
        flagged = (id for id, token in self._added.items() if token.special)
        return frozenset([*self.all_special_ids, *flagged])

    # --- decoding ---

    def decode(
        self,
        token_ids: Value,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool | None = None,
    ) -> str:
        """Return the text of ids.

        Args:
            token_ids: an id, or ids as a list, array or tensor of one dimension.
            skip_special_tokens: leave special tokens out.
            clean_up_tokenization_spaces: take away the spaces before punctuation and English endings; default
                `tokenizer.clean_up_tokenization_spaces`.
            spaces_between_special_tokens: a space around tokens that were added to the vocabulary. Default: yes,
                but not in the fast byte-level class, where the text itself has the spaces.

        Raises:
            InputError: an id that the tokenizer does not have.
        """
        ids = listed_ids(token_ids)
        spaces = spaces_between_special_tokens
        text = self._decode(
            ids, skip_special_tokens, self._spaces_between_special_tokens if spaces is None else spaces
        )
        clean = clean_up_tokenization_spaces
        if self.clean_up_tokenization_spaces if clean is None else clean:
            text = self.clean_up_tokenization(text)
        return text

    def batch_decode(
        self,
        sequences: Value,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool | None = None,
    ) -> list[str]:
        """Return the texts of rows of ids; arguments as of `decode`."""
        tolist = getattr(sequences, "tolist", None)
        rows = tolist() if callable(tolist) else sequences
        return [
            self.decode(row, skip_special_tokens, clean_up_tokenization_spaces, spaces_between_special_tokens)
            for row in rows
        ]

    def _decode(self, ids: Sequence[int], skip_special_tokens: bool, spaces: bool) -> str:
        """Runs of pieces are joined by the core; tokens beyond the vocabulary stand for themselves."""
        if isinstance(self._pipeline, RawPipeline):
            self._ids_to_tokens(ids)  # complains of ids that there are not, where `tokenizers` skips them
            text: str = self._pipeline.tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
            return text
        skipped = self._skipped() if skip_special_tokens else frozenset()
        alone = self._standing_alone()
        parts: list[str] = []
        run: list[str] = []
        for id in ids:
            if id in skipped:
                continue
            token = self._token_of_id(id)
            if id not in alone:
                run.append(token)
                continue
            if run:
                parts.append(self._pipeline.text_of(run))
                run = []
            parts.append(token)
        if run:
            parts.append(self._pipeline.text_of(run))
        return (" " if spaces else "").join(parts)

    def _standing_alone(self) -> frozenset[int]:
        """Added tokens that are no part of the text around them: plain ones, and those beyond the vocabulary."""
        named = {token.content for token in self._named.values()}
        size = self.vocab_size
        return frozenset(
            id
            for id, token in self._added.items()
            if token.content not in named and (not token.special or id >= size)
        )

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """Take away the spaces before punctuation and English endings.

        Example:
            >>> VocabularyMixin.clean_up_tokenization("I do n't know .")
            "I don't know."
        """
        for before, after in ENGLISH_SPACES:
            out_string = out_string.replace(before, after)
        return out_string

    # --- special tokens of a row ---

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Put special tokens around the ids of a text or pair; without any of its own, a tokenizer adds none."""
        return [*token_ids_0, *(token_ids_1 or [])]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Return the token type ids of a row: zeros, as there is one segment only."""
        return [0] * len(self.build_inputs_with_special_tokens(token_ids_0, token_ids_1))

    def get_special_tokens_mask(
        self,
        token_ids_0: list[int],
        token_ids_1: list[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Return 1 for each special token of a row and 0 for each other.

        Args:
            token_ids_0: ids of a text without special tokens, or a whole row.
            token_ids_1: ids of a second text.
            already_has_special_tokens: `token_ids_0` is a whole row.

        Raises:
            InputError: a whole row together with a second one.
        """
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise InputError(
                    given="a second list beside a row that has its special tokens", expected="one row"
                )
            special = self._skipped()
            return [int(id in special) for id in token_ids_0]
        marked = self.build_inputs_with_special_tokens(
            [-1] * len(token_ids_0), None if token_ids_1 is None else [-1] * len(token_ids_1)
        )
        return [int(id >= 0) for id in marked]

    def _required_id(self, name: str) -> int:
        """The id of a named token that the class cannot do without."""
        id: int | None = getattr(self, name + "_id")
        if id is None:
            raise TokenizerError(given=f"no {name}", hint=f"set tokenizer.{name}")
        return id


def listed_ids(ids: Value) -> list[int]:
    """Return an id or ids of any container as a list of int.

    Example:
        >>> listed_ids((5, 6))
        [5, 6]
    """
    if hasattr(ids, "numpy") and not hasattr(ids, "tolist"):  # a tensor of TensorFlow's
        ids = ids.numpy()
    tolist = getattr(ids, "tolist", None)
    if callable(tolist):
        ids = tolist()
    if hasattr(ids, "__index__"):
        return [ids.__index__()]
    if isinstance(ids, str) or not hasattr(ids, "__iter__"):
        raise InputError(given=f"{type(ids).__name__} instead of ids", expected="an id or a list of them")
    found: list[int] = []
    for id in ids:
        if not hasattr(id, "__index__"):
            raise InputError(
                given=f"{type(id).__name__} among ids",
                expected="whole numbers",
                hint="batch_decode takes lists of lists",
            )
        found.append(id.__index__())
    return found
