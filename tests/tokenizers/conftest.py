"""Models for the tests of tokenizers: the published ones where ../shared is, and small ones trained here."""

import copy
import json
import lzma
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import strategies as st

import robertakit.tokenizers
from robertakit.tokenizers.byte_level import ByteLevelModel, read_merges, read_vocabulary
from robertakit.tokenizers.byte_level_bpe import ByteLevelBPE
from robertakit.tokenizers.charsmap import Node, read_charsmap
from robertakit.tokenizers.core import Core
from robertakit.tokenizers.fast_bpe import FastByteLevelBPE
from robertakit.tokenizers.fast_unigram import FastUnigram
from robertakit.tokenizers.pretrained import PreTrainedTokenizerBase
from robertakit.tokenizers.sentencepiece_model import SentencePieceModel
from robertakit.tokenizers.training import train_byte_level_bpe, train_unigram
from robertakit.tokenizers.unigram import Unigram

SPECIAL_TOKENS = ("<s>", "</s>", "<pad>", "<unk>", "<mask>")
SENTENCES = """
It's what they've said: we'll see, I'm sure you'd say; don't 'll're 'RE 12345 3.14159 2²³ ½.
Der schnelle braune Fuchs springt über den faulen Hund. Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich.
Voix ambiguë d’un cœur qui, au zéphyr, préfère les jattes de kiwis. El pingüino Wenceslao hizo kilómetros.
Съешь же ещё этих мягких французских булок, да выпей чаю. Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.
いろはにほへと ちりぬるを。わかよたれそ つねならむ。我能吞下玻璃而不伤身体。키스의 고유조건은 입술끼리 만나야 하고.
नमस्ते दुनिया। यह एक परीक्षण वाक्य है। صِف خَلقَ خَودِ كَمِثلِ الشَمسِ. דג סקרן שט בים מאוכזב ולפתע מצא חברה.
เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน. ከመምከር ሲሻል ማሞገስ. გთხოვთ ახლავე გაიაროთ რეგისტრაცია.
""".strip().split("\n")


@dataclass(frozen=True)
class Pair:
    """A slow core and the fast one that has to equal it."""

    slow: Core
    fast: Core


@pytest.fixture(scope="session")
def training_texts(root: Path) -> list[str]:
    """A few hundred lines in some scripts, and English of an early state of our own source: it never changes."""
    english = (root / "tests" / "golden" / "english.txt").read_text(encoding="utf-8")
    return SENTENCES * 20 + english.splitlines()


@pytest.fixture(scope="session")
def trained(training_texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with vocab.json, merges.txt and sentencepiece.bpe.model of about 1,000 pieces."""
    folder = tmp_path_factory.mktemp("trained")
    train_byte_level_bpe(training_texts, 1000, folder)
    train_unigram(training_texts, 1000, folder)
    return folder


def byte_level_model(folder: Path) -> ByteLevelModel:
    return ByteLevelModel(read_vocabulary(folder / "vocab.json"), read_merges(folder / "merges.txt"))


def byte_level_pair_of(folder: Path) -> Pair:
    model = byte_level_model(folder)
    return Pair(ByteLevelBPE(model), FastByteLevelBPE(model))


def unigram_pair_of(folder: Path) -> Pair:
    model = SentencePieceModel.from_file(folder / "sentencepiece.bpe.model")
    return Pair(Unigram(model), FastUnigram(model))


@pytest.fixture(scope="session")
def published_byte_level(shared: Path) -> Pair:
    """RoBERTa's cores."""
    return byte_level_pair_of(shared / "data" / "tokenizers" / "roberta")


@pytest.fixture(scope="session")
def published_unigram(shared: Path) -> Pair:
    """XLM-R's cores."""
    return unigram_pair_of(shared / "data" / "tokenizers" / "xlm-roberta")


@pytest.fixture(scope="session")
def trained_byte_level(trained: Path) -> Pair:
    """Cores of a small byte-level BPE vocabulary."""
    return byte_level_pair_of(trained)


@pytest.fixture(scope="session")
def trained_unigram(trained: Path) -> Pair:
    """Cores of a small unigram vocabulary."""
    return unigram_pair_of(trained)


@pytest.fixture(scope="session", params=["trained", "published"])
def byte_level(request: pytest.FixtureRequest) -> Pair:
    """Byte-level BPE, of a small vocabulary and of the published one."""
    if request.param == "published":
        return request.getfixturevalue("published_byte_level")
    return request.getfixturevalue("trained_byte_level")


@pytest.fixture(scope="session", params=["trained", "published"])
def unigram(request: pytest.FixtureRequest) -> Pair:
    """Unigram, of a small vocabulary and of the published one."""
    if request.param == "published":
        return request.getfixturevalue("published_unigram")
    return request.getfixturevalue("trained_unigram")


def entries(node: Node, begun: str = "") -> Iterator[str]:
    """All old strings of a character map."""
    for character, (new, following) in node.items():
        if new is not None:
            yield begun + character
        yield from entries(following, begun + character)


@pytest.fixture(scope="session")
def charsmap_keys(trained: Path) -> list[str]:
    """The old strings of nmt_nfkc; of the many Hangul and enclosed sequences only a part."""
    node = read_charsmap(SentencePieceModel.from_file(trained / "sentencepiece.bpe.model").charsmap)
    found = list(entries(node))
    short = [key for key in found if len(key) == 1]
    long = [key for key in found if len(key) > 1]
    return short + long[:: max(1, len(long) // 5000)]


@pytest.fixture(scope="session")
def texts(charsmap_keys: list[str]) -> st.SearchStrategy[str]:
    """Strings of all planes: keys of the map, contractions, white space, special tokens, runs of marks and letters."""
    contractions = st.sampled_from(
        ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "’s", "'", "''"]
    )
    spaces = st.sampled_from(
        [*" \t\n\r\v\f\x1c\x1f\x85\xa0\u1680\u2003\u200b\u200d\u2028\u202f\u3000\ufeff", "  ", "\r\n", "▁"]
    )
    specials = st.sampled_from(
        [*SPECIAL_TOKENS, "<|endoftext|>", "＜mask＞", "<", ">", "Ġ", "\x00", "\x01", "\x7f"]
    )
    marks = st.text(
        "\u0301\u0300\u0323\u0302\u0308\u0327\u3099\u309a\u09be\u09d7\u0653\u0338\u20e3\ufe0f\U0001d165",
        max_size=4,
    )
    bases = st.sampled_from("aeouiAEOU1ｶﾞかはハদেোআا<>=\U0001d157나난가각")
    runs = st.builds(
        lambda letter, times: letter * times, st.sampled_from("aImny=-.IlⅢ中🃏\u0301"), st.integers(1, 40)
    )
    words = st.sampled_from([word for line in SENTENCES for word in line.split()])
    any_character = st.characters(exclude_categories=["Cs"])
    fragment = st.one_of(
        st.text(any_character, max_size=6),
        st.text(st.characters(max_codepoint=0x2FF), max_size=8),
        st.sampled_from(charsmap_keys),
        contractions,
        spaces,
        specials,
        st.builds(str.__add__, bases, marks),
        runs,
        words,
    )
    return st.lists(fragment, max_size=10).map("".join)


def reference_rows(path: Path) -> list[dict[str, object]]:
    """The rows of a reference file whose text holds no special token (those are the classes' business)."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row for row in rows if not any(token in row["text"] for token in SPECIAL_TOKENS)]


@pytest.fixture(scope="session")
def rows_of(shared: Path) -> object:
    """Function: the plain rows of a reference file under ../shared/data/tokenizers."""
    return lambda name: reference_rows(shared / "data" / "tokenizers" / name)


# --- the classes, on the trained vocabularies ---

CLASSES = ("RobertaTokenizer", "RobertaTokenizerFast", "XLMRobertaTokenizer", "XLMRobertaTokenizerFast")


@pytest.fixture(scope="session")
def make(trained: Path) -> Callable[..., PreTrainedTokenizerBase]:
    """Function: a tokenizer of a class by name, with arguments; on the trained vocabularies or those of a folder."""

    known: dict[str, PreTrainedTokenizerBase] = {}

    def made(name: str, folder: Path | None = None, **arguments: object) -> PreTrainedTokenizerBase:
        key = f"{name} {folder} {arguments}"
        if key not in known:
            known[key] = built(name, folder or trained, arguments)
        return copy.copy(known[key])  # nothing in a tokenizer is changed in place

    def built(name: str, folder: Path, arguments: dict[str, object]) -> PreTrainedTokenizerBase:
        if name.startswith("XLM"):
            files = {"vocab_file": folder / "sentencepiece.bpe.model"}
        else:
            files = {"vocab_file": folder / "vocab.json", "merges_file": folder / "merges.txt"}
        return getattr(robertakit.tokenizers, name)(**files, **arguments)

    return made


@pytest.fixture(params=CLASSES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each documented class in turn."""
    return request.param


@pytest.fixture
def tokenizer(make: Callable[..., PreTrainedTokenizerBase], name: str) -> PreTrainedTokenizerBase:
    """A tokenizer of each documented class in turn, a fresh one for each test."""
    return make(name)
