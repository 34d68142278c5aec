"""Added tokens and the splitter."""

import pickle

import pytest
import tokenizers

from robertakit.errors import ArgumentError
from robertakit.tokenizers.added_tokens import AddedToken, Cut, Splitter, added_token


def test_defaults_and_forms() -> None:
    assert AddedToken("a").normalized is True
    assert AddedToken("a", special=True).normalized is False
    foreign = tokenizers.AddedToken("<x>", lstrip=True, special=True)
    assert added_token(foreign) == AddedToken("<x>", lstrip=True, special=True)
    assert added_token(AddedToken("<x>", lstrip=True).as_dict()) == AddedToken("<x>", lstrip=True)
    assert added_token(AddedToken("<x>", rstrip=True), special=True).rstrip is True
    assert str(AddedToken("<x>")) == "<x>"
    assert len({AddedToken("a"), AddedToken("a"), AddedToken("a", lstrip=True)}) == 2
    assert pickle.loads(pickle.dumps(AddedToken("a", rstrip=True))) == AddedToken("a", rstrip=True)
    with pytest.raises(ArgumentError):
        added_token(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tokens", "text", "found"),
    [
        ([AddedToken("ab"), AddedToken("abc")], "xabcab", [(1, 1, 4), (0, 4, 6)]),  # the longest
        ([AddedToken("bc"), AddedToken("ab")], "abc", [(1, 0, 2)]),  # the leftmost
        ([AddedToken("<m>", lstrip=True)], "a \t<m> b<m>", [(0, 1, 6), (0, 8, 11)]),
        ([AddedToken("<m>", rstrip=True)], "a <m> \n b", [(0, 2, 8)]),
        ([AddedToken("<m>", lstrip=True, rstrip=True)], " <m>  <m> ", [(0, 0, 6), (0, 6, 10)]),
        (
            [AddedToken("an", single_word=True)],
            "an man an. ana _an an1 à an",
            [(0, 0, 2), (0, 7, 9), (0, 25, 27)],
        ),
        ([AddedToken("a.c"), AddedToken("")], "abc a.c", [(0, 4, 7)]),  # no pattern
        ([], "abc", []),
    ],
)
def test_cuts(tokens: list[AddedToken], text: str, found: list[tuple[int, int, int]]) -> None:
    cuts = Splitter(dict(enumerate(tokens))).cuts(text)
    assert [(cut.id, cut.start, cut.end) for cut in cuts] == found
    for cut in cuts:
        assert text[cut.inner_start : cut.inner_end] == tokens[cut.id].content


def test_a_cut_says_where_the_token_itself_stands() -> None:
    assert Splitter({7: AddedToken("<m>", lstrip=True)}).cuts("a  <m>") == [Cut(7, 1, 6, 3, 6)]
