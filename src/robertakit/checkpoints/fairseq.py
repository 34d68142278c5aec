"""Fairseq's names of the tensors, in all its spellings, as the architecture table has them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from robertakit.architecture import BACKBONE_PREFIX
from robertakit.checkpoints.tensors import StoredTensor
from robertakit.errors import CorruptFile, UnsupportedFormat

__all__ = ["MODULES", "in_our_names"]

#: Stem of a row of the table -> fairseq's names of it, below its sentence encoder.
MODULES: Final[dict[str, tuple[str, ...]]] = {
    "embeddings.word_embeddings": ("embed_tokens",),
    "embeddings.position_embeddings": ("embed_positions",),
    "embeddings.token_type_embeddings": ("segment_embeddings",),
    "embeddings.LayerNorm": ("emb_layer_norm", "layernorm_embedding"),
    "encoder.layer.{layer}.attention.self.query": ("layers.{layer}.self_attn.q_proj",),
    "encoder.layer.{layer}.attention.self.key": ("layers.{layer}.self_attn.k_proj",),
    "encoder.layer.{layer}.attention.self.value": ("layers.{layer}.self_attn.v_proj",),
    "encoder.layer.{layer}.attention.output.dense": ("layers.{layer}.self_attn.out_proj",),
    "encoder.layer.{layer}.attention.output.LayerNorm": ("layers.{layer}.self_attn_layer_norm",),
    "encoder.layer.{layer}.intermediate.dense": ("layers.{layer}.fc1",),
    "encoder.layer.{layer}.output.dense": ("layers.{layer}.fc2",),
    "encoder.layer.{layer}.output.LayerNorm": ("layers.{layer}.final_layer_norm",),
}
_STEMS: Final = {theirs: ours for ours, names in MODULES.items() for theirs in names}
_ENCODER: Final = re.compile(r"(?:de|en)coder\.sentence_encoder\.(?P<stem>.+)\.(?P<leaf>weight|bias)")
#: The oldest form: query, key and value in one matrix and one bias, in this order.
_STACKED: Final = re.compile(
    r"(?:de|en)coder\.sentence_encoder\.layers\.(?P<layer>\d+)\.self_attn\.in_proj_(?P<leaf>weight|bias)"
)
_LM_HEAD: Final = re.compile(r"(?:de|en)coder\.(?P<name>lm_head\.(?:(?:dense|layer_norm)\.)?(?:weight|bias))")
_CLASSES: Final = re.compile(
    r"classification_heads\.(?P<task>.+)\.(?P<name>(?:dense|out_proj)\.(?:weight|bias))"
)
#: Buffers: the version of a module's layout, and an empty tensor that tells a dtype.
_BUFFERS: Final = (".version", "._float_tensor")


def in_our_names(tensors: Mapping[str, StoredTensor], path: Path) -> dict[str, StoredTensor]:
    """Return a fairseq checkpoint's tensors by our names; those that RoBERTa has not keep theirs.

    Stacked queries, keys and values are cut apart, buffers are left out, and segments, of which fairseq's RoBERTa has
    none, are zeros. The one classification head, whatever its task, is ours; of several none is.

    Args:
        tensors: by fairseq's names.
        path: the file, for errors.

    Raises:
        CorruptFile: one tensor under two names, or a stack that is not three.
        UnsupportedFormat: the layers of another architecture.
    """
    if any(name.endswith("sentence_encoder.layer_norm.weight") for name in tensors):
        raise UnsupportedFormat(
            given=f"'{path}' has a LayerNorm behind its last layer: its blocks normalise first, as XLM-R XL's do",
            expected="RoBERTa's, which normalise last",
        )
    tasks = {match["task"] for match in map(_CLASSES.fullmatch, tensors) if match}
    found: dict[str, StoredTensor] = {}
    for stored, tensor in tensors.items():
        for name, part in _renamed(stored, tensor, path, one_task=len(tasks) == 1):
            if name in found:
                raise CorruptFile(given=f"'{path}' stores {name} twice, the second time as {stored}")
            found[name] = part
    words = found.get(f"{BACKBONE_PREFIX}embeddings.word_embeddings.weight")
    segments = f"{BACKBONE_PREFIX}embeddings.token_type_embeddings.weight"
    if words is not None and len(words.shape) == 2 and segments not in found:
        found[segments] = StoredTensor("F32", np.zeros((1, words.shape[1]), np.float32))
    return found


def _renamed(
    stored: str, tensor: StoredTensor, path: Path, *, one_task: bool
) -> Iterator[tuple[str, StoredTensor]]:
    if stored.endswith(_BUFFERS):
        return
    if match := _STACKED.fullmatch(stored):
        if not tensor.shape or tensor.shape[0] % 3:
            raise CorruptFile(
                given=f"'{path}' stacks query, key and value in {stored} of shape {tensor.shape}"
            )
        for name, bits in zip(("query", "key", "value"), np.split(tensor.bits, 3), strict=True):
            stem = f"encoder.layer.{match['layer']}.attention.self.{name}"
            yield f"{BACKBONE_PREFIX}{stem}.{match['leaf']}", StoredTensor(tensor.dtype, bits)
        return
    name = stored
    if match := _ENCODER.fullmatch(stored):
        layer = re.match(r"layers\.(\d+)\.", match["stem"])
        theirs = match["stem"] if layer is None else match["stem"].replace(layer[1], "{layer}", 1)
        if theirs in _STEMS:
            ours = _STEMS[theirs] if layer is None else _STEMS[theirs].format(layer=layer[1])
            name = f"{BACKBONE_PREFIX}{ours}.{match['leaf']}"
    elif match := _LM_HEAD.fullmatch(stored):
        name = "lm_head.decoder.weight" if match["name"] == "lm_head.weight" else match["name"]
    elif one_task and (match := _CLASSES.fullmatch(stored)):
        name = f"classifier.{match['name']}"
    yield name, tensor
