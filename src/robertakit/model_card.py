"""The card of a pushed model: what its configuration and the table know of it, as a ``README.md`` of the Hub."""

from robertakit.architecture import Head, parameters
from robertakit.configuration import PretrainedConfig
from robertakit.hub import is_hub_name

__all__ = ["PIPELINE_TAGS", "TO_BE_WRITTEN", "model_card"]

#: Stands where a card tells what no configuration knows; who knows it writes it in its place.
TO_BE_WRITTEN = "What it was trained on, what it is for and how well it does: to be written here."

#: What the Hub calls a head's task.
PIPELINE_TAGS: dict[str, str] = {
    "model": "feature-extraction",
    "causal-lm": "text-generation",
    "masked-lm": "fill-mask",
    "sequence-classification": "text-classification",
    "multiple-choice": "multiple-choice",
    "token-classification": "token-classification",
    "question-answering": "question-answering",
}
_SIZES = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "attention heads": "num_attention_heads",
    "feed-forward width": "intermediate_size",
    "vocabulary": "vocab_size",
}
_MOST_LABELS = 50


def model_card(
    config: PretrainedConfig,
    head: Head,
    repo_id: str,
    class_name: str,
    *,
    add_pooling_layer: bool = True,
    licence: str | None = None,
) -> str:
    """Return the text of a card.

    What the model learned from and how well it does stands in no configuration, and so not here; a licence only
    where one is given or the configuration has a field ``license``.

    Args:
        config: the model's.
        head: the model's.
        repo_id: the repository that the card is for.
        class_name: the model's class, for example ``"RobertaForMaskedLM"``.
        add_pooling_layer: whether the bare model has its pooler.
        licence: a name of the Hub's list; None takes the configuration's field ``license``, if it has one.

    Example:
        >>> from robertakit import RobertaConfig
        >>> from robertakit.architecture import HEADS
        >>> card = model_card(RobertaConfig(), HEADS["masked-lm"], "me/tiny", "RobertaForMaskedLM")
        >>> [line for line in card.splitlines() if "pipeline_tag" in line or line.startswith("# ")]
        ['pipeline_tag: fill-mask', '# tiny']
    """
    from huggingface_hub import ModelCardData

    licence = licence or getattr(config, "license", None)
    base = config.name_or_path if config._commit_hash and is_hub_name(config.name_or_path) else None
    data = ModelCardData(
        library_name="transformers",  # whose classes load it too; the Hub knows this name
        pipeline_tag=PIPELINE_TAGS[head.name],
        base_model=base if base != repo_id else None,
        license=licence if isinstance(licence, str) else None,
        tags=["robertakit", str(config.model_type)],
    )
    auto = "AutoModel" + head.class_suffix.removeprefix("Model")
    counts = _counts(config, head, add_pooling_layer)
    longest = config.max_position_embeddings - config.pad_token_id - 1
    rows = {name: f"{getattr(config, field):,}" for name, field in _SIZES.items()}
    rows |= {"longest input": f"{longest:,} tokens"}
    rows |= {f"parameters, {part}": f"{count:,}" for part, count in counts.items()}
    rows |= {"parameters": f"{sum(counts.values()):,}"}
    if head.group in ("class", "token"):
        names = list(config.id2label.values())
        shown = ", ".join(names[:_MOST_LABELS]).replace("|", "\\|")
        rows |= {"labels": shown + ", …" * (len(names) > _MOST_LABELS)}
    return f"""---
{data.to_yaml().strip()}
---

# {repo_id.rpartition("/")[2]}

A `{class_name}`.

| | |
|---|---|
{chr(10).join(f"| {name} | {value} |" for name, value in rows.items())}

{TO_BE_WRITTEN}

## Loading

```python
from robertakit import {auto}, AutoTokenizer

model = {auto}.from_pretrained("{repo_id}")
tokenizer = AutoTokenizer.from_pretrained("{repo_id}")  # where this repository holds one
```

With transformers the first line is `from transformers import …`; all else is the same.
"""


def _counts(config: PretrainedConfig, head: Head, add_pooling_layer: bool) -> dict[str, int]:
    """Return the number of trained values by part of the model, tied copies left out."""
    counts: dict[str, int] = {}
    for name, parameter in parameters(config, head, add_pooling_layer=add_pooling_layer).items():
        if parameter.tied_to is None:
            part = "embeddings" if "embeddings." in name and ".layer." not in name else "layers"
            part = part if parameter.part == "backbone" else parameter.part
            counts[part] = counts.get(part, 0) + parameter.size
    return counts
