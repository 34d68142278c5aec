"""Sentences: the laws for any text, and boundaries as readers see them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.training.sentences import split_sentences


@given(st.text(alphabet=st.sampled_from("aAb .!?…\"'”)」。।1\n\t\u3000"), max_size=60) | st.text(max_size=60))
def test_sentences_joined_are_the_paragraph(paragraph: str) -> None:
    sentences = split_sentences(paragraph)
    if paragraph.strip():
        assert "".join(sentences) == paragraph
        assert all(sentence.strip() for sentence in sentences)
    else:
        assert sentences == []


@pytest.mark.parametrize(
    "sentences",
    [
        ["It rained.", " We stayed.", " Nobody came!"],
        ["He said “No.”", " Then he left."],
        ["It is 3.5 m long.", " It weighs 2 kg."],
        ["In 1999.", " 2000 came."],
        ["1. First of all."],
        ["He died at 35.", " She lived on."],
        ["Mr. Smith met Dr. J. R. Jones."],
        ["See e.g. Figure 2 and Fig. 3."],
        ["“Really?” she asked."],
        ["Wait... what?", " Yes."],
        ["(It rained.)", " [We stayed.]", " Done"],
        ["¿Qué?", " ¡Nada!", " ¿Por qué?"],
        ["今日は雨です。", "明日は？", "「はい。」", "そうです"],
        ["यह एक वाक्य है।", " यह दूसरा है।"],
        ["ما اسمك؟", " اسمي علي."],
        ["no capital. so no end"],
        ["ends with spaces.  "],
    ],
)
def test_boundaries(sentences: list[str]) -> None:
    assert split_sentences("".join(sentences)) == sentences
