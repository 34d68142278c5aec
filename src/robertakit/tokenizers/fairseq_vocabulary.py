"""XLM-R's ids: SentencePiece's shifted by fairseq's special tokens; and where the pieces of a text stand."""

from collections.abc import Sequence

from robertakit.errors import TokenizerError
from robertakit.tokenizers.normalization import WORD_MARK, Normalized
from robertakit.tokenizers.sentencepiece_model import PieceType, SentencePieceModel

FIRST_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
MASK_TOKEN = "<mask>"
OFFSET = 1
"""What a piece's index in the file lacks to its id: `<pad>` came in among the first three."""


class FairseqVocabulary:
    """Ids and pieces of an XLM-R model.

    The first three pieces of the file are `<unk>`, `<s>`, `</s>`; ids 0 to 3 are fairseq's first tokens, each
    later piece has its index + 1, and `<mask>` is last. Raises TokenizerError for another order in the file.
    """

    def __init__(self, model: SentencePieceModel) -> None:
        if model.unk_id != 0 or PieceType.NORMAL in model.types[:3]:
            raise TokenizerError(
                given=f"a SentencePiece model that begins with the pieces {', '.join(map(repr, model.pieces[:3]))}",
                expected="the unknown piece, then two control pieces, as in XLM-R",
            )
        self.pieces = [*FIRST_TOKENS, *model.pieces[3:], MASK_TOKEN]
        self.ids = {piece: id for id, piece in reversed(list(enumerate(self.pieces)))}
        self.unk_id = FIRST_TOKENS.index("<unk>")
        self.of_index = [self.unk_id, self.ids["<s>"], self.ids["</s>"]]
        self.of_index += range(3 + OFFSET, len(model.pieces) + OFFSET)


def text_pieces(model: SentencePieceModel) -> dict[str, int]:
    """The pieces that text can hold -> their index; not so unknown, control and unused ones."""
    normal = PieceType.NORMAL
    return {
        piece: index
        for index, (piece, type) in enumerate(zip(model.pieces, model.types, strict=True))
        if type == normal
    }


def places(normalized: Normalized, surfaces: Sequence[str]) -> tuple[list[tuple[int, int]], list[int]]:
    """Offsets and word numbers of the stretches that normalised text was cut into; a `▁` begins a word."""
    starts, ends = normalized.starts, normalized.ends
    assert starts is not None
    assert ends is not None
    offsets, words = [], []
    begin, word = 0, -1
    for surface in surfaces:
        end = begin + len(surface)
        offsets.append((starts[begin], ends[end - 1]))
        words.append(word + (surface[0] == WORD_MARK))
        word += surface.count(WORD_MARK)
        begin = end
    return offsets, words
