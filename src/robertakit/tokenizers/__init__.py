"""Text to ids and back: RoBERTa's and XLM-R's tokenizers, each slow (the specification) and fast.

Names are resolved on first use, so that a slow class imports nothing of what the fast ones need.
"""

from robertakit.exports import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from robertakit.tokenizers.added_tokens import AddedToken as AddedToken
    from robertakit.tokenizers.auto import AutoTokenizer as AutoTokenizer
    from robertakit.tokenizers.batch_encoding import BatchEncoding as BatchEncoding
    from robertakit.tokenizers.pretrained import *  # noqa: F403
    from robertakit.tokenizers.roberta import *  # noqa: F403
    from robertakit.tokenizers.xlm_roberta import *  # noqa: F403

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "robertakit.tokenizers.added_tokens": ("AddedToken",),
        "robertakit.tokenizers.auto": ("AutoTokenizer",),
        "robertakit.tokenizers.batch_encoding": ("BatchEncoding",),
        "robertakit.tokenizers.pretrained": (
            "PreTrainedTokenizer",
            "PreTrainedTokenizerBase",
            "PreTrainedTokenizerFast",
        ),
        "robertakit.tokenizers.roberta": ("RobertaTokenizer", "RobertaTokenizerFast"),
        "robertakit.tokenizers.xlm_roberta": ("XLMRobertaTokenizer", "XLMRobertaTokenizerFast"),
    },
)
