"""`tokenizer.json` in the form in which RoBERTa's and XLM-R's are published, made of a model and its tokens.

Other libraries read these files; ours has no need of them. The structures are those of `tokenizers` 0.22.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from robertakit.tokenizers.added_tokens import AddedToken

if TYPE_CHECKING:
    from robertakit.tokenizers.byte_level import ByteLevelModel
    from robertakit.tokenizers.sentencepiece_model import SentencePieceModel

Json = dict[str, object]
METASPACE: Json = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


def roberta_json(
    model: ByteLevelModel,
    added: Mapping[int, AddedToken],
    ends: tuple[tuple[str, int], tuple[str, int]],
    *,
    add_prefix_space: bool,
    trim_offsets: bool,
) -> str:
    """Return RoBERTa's `tokenizer.json`; `ends` are the tokens (with ids) put before and after a text."""
    byte_level: Json = {"type": "ByteLevel", "trim_offsets": trim_offsets, "use_regex": True}
    (cls, cls_id), (sep, sep_id) = ends
    processor: Json = {
        "type": "RobertaProcessing",
        "sep": [sep, sep_id],
        "cls": [cls, cls_id],
        "trim_offsets": trim_offsets,
        "add_prefix_space": add_prefix_space,
    }
    bpe: Json = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": dict(sorted(model.vocabulary.items(), key=lambda item: item[1])),
        "merges": [f"{left} {right}" for left, right in model.merges],
    }
    return _whole(
        added,
        normalizer=None,
        pre_tokenizer={**byte_level, "add_prefix_space": add_prefix_space},
        post_processor=processor,
        decoder={**byte_level, "add_prefix_space": True},
        model=bpe,
    )


def xlm_roberta_json(
    model: SentencePieceModel,
    vocabulary: Mapping[str, int],
    added: Mapping[int, AddedToken],
    ends: tuple[tuple[str, int], tuple[str, int]],
    *,
    converted: bool = False,
) -> str:
    """Return XLM-R's `tokenizer.json`.

    Args:
        model: the SentencePiece model.
        vocabulary: piece -> model id, fairseq's offset included.
        added: id -> added token.
        ends: the tokens (with ids) put before and after a text.
        converted: the pipeline that transformers 4.57 makes of a `.model`, instead of the published one.
    """
    scores = dict(zip(model.pieces, model.scores, strict=True))
    controls = {piece for piece, type in zip(model.pieces, model.types, strict=True) if type != 1}
    ordered = sorted(vocabulary.items(), key=lambda item: item[1])
    pieces = [[piece, 0.0 if piece in controls else scores.get(piece, 0.0)] for piece, _ in ordered]
    charsmap: Json | None = None
    if model.charsmap:
        encoded = base64.b64encode(model.charsmap).decode("ascii")
        charsmap = {"type": "Precompiled", "precompiled_charsmap": encoded}
    normalizer, pre_tokenizer = charsmap, _sequence("pretokenizers", [{"type": "WhitespaceSplit"}, METASPACE])
    if converted:
        spaces: list[Json] = [
            {"type": "Strip", "strip_left": False, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
        ]
        normalizer = _sequence("normalizers", [*([charsmap] if charsmap else []), *spaces])
        pre_tokenizer = METASPACE
    unigram: Json = {
        "type": "Unigram",
        "unk_id": vocabulary[model.pieces[model.unk_id]],
        "vocab": pieces,
        "byte_fallback": False,
    }
    return _whole(
        added,
        normalizer=normalizer,
        pre_tokenizer=pre_tokenizer,
        post_processor=template_json(ends),
        decoder=METASPACE,
        model=unigram,
    )


def template_json(ends: tuple[tuple[str, int], tuple[str, int]]) -> Json:
    """Return the post-processor that puts `<s> A </s>` and `<s> A </s></s> B </s>`."""

    def special(token: str) -> Json:
        return {"SpecialToken": {"id": token, "type_id": 0}}

    def sequence(name: str) -> Json:
        return {"Sequence": {"id": name, "type_id": 0}}

    (cls, _), (sep, _) = ends
    single = [special(cls), sequence("A"), special(sep)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, special(sep), sequence("B"), special(sep)],
        "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]} for token, id in ends},
    }


def _sequence(name: str, parts: Sequence[Json]) -> Json:
    return {"type": "Sequence", name: list(parts)}


def _whole(added: Mapping[int, AddedToken], **parts: Json | None) -> str:
    tokens = [
        {"id": id, "content": token.content}
        | {
            name: getattr(token, name)
            for name in ("single_word", "lstrip", "rstrip", "normalized", "special")
        }
        for id, token in sorted(added.items())
    ]
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, **parts}
    return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"


def template_slots(processor: object, pair: bool, places: tuple[int, int]) -> tuple[list[int], list[int]]:
    """Read from a post-processor where special tokens stand.

    Args:
        processor: the `post_processor` of a `tokenizer.json`.
        pair: for a pair of texts.
        places: what stands for the two sequences.

    Returns:
        The ids of a row with `places` in it, and its token type ids.
    """
    bare = ([places[0], *([places[1]] if pair else [])], [0, *([1] if pair else [])])
    if not isinstance(processor, dict):
        return bare
    kind = processor.get("type")
    if kind == "Sequence":
        for each in processor["processors"]:
            found = template_slots(each, pair, places)
            if found != bare:
                return found
        return bare
    if kind in ("RobertaProcessing", "BertProcessing"):
        cls, sep = processor["cls"][1], processor["sep"][1]
        second_type = 1 if kind == "BertProcessing" else 0
        between = [] if kind == "BertProcessing" else [sep]
        tail = [*between, places[1], sep] if pair else []
        return [cls, places[0], sep, *tail], [0, 0, 0, *[second_type] * len(tail)]
    if kind == "TemplateProcessing":
        slots, types = [], []
        for part in processor["pair" if pair else "single"]:
            ((name, content),) = part.items()
            if name == "Sequence":
                new = [places[0 if content["id"] == "A" else 1]]
            else:
                new = processor["special_tokens"][content["id"]]["ids"]
            slots += new
            types += [content["type_id"]] * len(new)
        return slots, types
    return bare
