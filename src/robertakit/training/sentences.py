"""Paragraphs cut into sentences, by rules that need no language and no model.

Sentences decide where packed rows may end (Liu et al. 2019, section 4.2: full sentences), so a missed boundary costs
a row a few tokens, and a wrong one cuts a sentence in two. The rules lean to the former.
"""

import re

__all__ = ["split_sentences"]

#: Marks that end a sentence wherever they stand: CJK, Devanagari, Arabic, Urdu, Armenian, Ethiopic, Burmese, Khmer.
_ALWAYS = "。！？｡।॥؟۔։።။។"
#: What may stand between the mark and the next sentence, and what may open one.
_CLOSING = "\"'”’»›)\\]」』）】》"
_OPENING = "\"'“‘«‹(\\[„¿¡"
_END = re.compile(rf"[.!?…{_ALWAYS}]+[{_CLOSING}]*")
_NEXT = re.compile(rf"\s+[{_OPENING}]*(\S)")
#: Words that a full stop belongs to, in front of a name or a number as a rule.
_ABBREVIATION = re.compile(
    "mr|mrs|ms|dr|prof|st|sr|jr|rev|gen|col|lt|sgt|capt|cmdr|adm|gov|sen|rep|hon|messrs|mt|ft|nos?|vols?|figs?|pp|cf|"
    "ca|vs|viz|al|eds?|e\\.g|i\\.e|approx|dept|univ|inc|ltd|co|corp|bros|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|"
    "bzw|hr|fr|nr|bd|sra|srta|dra|mme|mlle",
    re.IGNORECASE,
)


def split_sentences(paragraph: str) -> list[str]:
    """Cut a paragraph into sentences; joined they are the paragraph again.

    A sentence ends behind `.`, `!`, `?` or `…` and closing quotes, where white space follows and what comes then does
    not begin with a lower-case letter; or behind a mark that means nothing else (`。`, `।`, `؟` …). Initials,
    abbreviations and the number of a list item end none. The white space stays with the sentence behind it: byte-level
    BPE then gives each sentence the ids that it has inside its paragraph.

    Args:
        paragraph: text of one paragraph.

    Returns:
        Sentences; none is blank. No sentence for a blank paragraph.

    Example:
        >>> split_sentences('Dr. J. Smith left. "Why?" she asked. 是。不是。')
        ['Dr. J. Smith left.', ' "Why?" she asked.', ' 是。', '不是。']
    """
    sentences: list[str] = []
    begin = 0
    for match in _END.finditer(paragraph):
        if match[0][0] in ".!?…" and not _ends_here(paragraph, begin, match):
            continue
        sentences.append(paragraph[begin : match.end()])
        begin = match.end()
    rest = paragraph[begin:]
    if rest and not rest.isspace():
        sentences.append(rest)
    elif sentences:
        sentences[-1] += rest
    return sentences


def _ends_here(paragraph: str, begin: int, match: re.Match[str]) -> bool:
    """Whether a sentence that began at `begin` ends with a mark that may mean something else."""
    following = _NEXT.match(paragraph, match.end())
    if following is None or following[1].islower():
        return False
    if match[0] != ".":
        return True
    start = max(paragraph.rfind(" ", begin, match.start()) + 1, begin)
    word = paragraph[start : match.start()].lstrip(_OPENING)
    if len(word) == 1 and word.isupper():  # an initial
        return False
    if word.isdecimal() and not paragraph[begin:start].strip():  # "1. First item"
        return False
    return not _ABBREVIATION.fullmatch(word)
