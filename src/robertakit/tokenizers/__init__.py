"""Text to ids and back: RoBERTa's and XLM-R's tokenizers, each slow (the specification) and fast.

Names are resolved on first use, so that a slow class imports nothing of what the fast ones need.
"""

#: Where each public name lives.
HOMES = {
    "AddedToken": "added_tokens",
    "AutoTokenizer": "auto",
    "BatchEncoding": "batch_encoding",
    "PreTrainedTokenizer": "pretrained",
    "PreTrainedTokenizerBase": "pretrained",
    "PreTrainedTokenizerFast": "pretrained",
    "RobertaTokenizer": "roberta",
    "RobertaTokenizerFast": "roberta",
    "XLMRobertaTokenizer": "xlm_roberta",
    "XLMRobertaTokenizerFast": "xlm_roberta",
}
__all__ = sorted(HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module 'robertakit.tokenizers' has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(f"robertakit.tokenizers.{HOMES[name]}"), name)
    globals()[name] = value
    return value
