import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from robertakit.errors import InputError
from robertakit.tokenizers.core import refuse_lone_surrogates

SLOW = ["byte_level_bpe", "unigram", "normalization", "sentencepiece_model", "splitter", "tokenizer_json"]


@pytest.mark.parametrize("module", SLOW)
def test_slow_cores_import_no_tokenizer_library(module, root):
    forbidden = ["tokenizers", "sentencepiece", "regex", "numpy", "google.protobuf"]
    code = (
        f"import sys, robertakit.tokenizers.{module}; "
        f"print([name for name in {forbidden} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(root / "src")},
    )
    assert done.stdout.strip() == "[]"


def test_slow_cores_encode_without_the_libraries(trained, root):
    code = """
import sys
for name in ("tokenizers", "sentencepiece", "regex"):
    sys.modules[name] = None
from pathlib import Path
from robertakit.tokenizers.byte_level import ByteLevelModel, read_merges, read_vocabulary
from robertakit.tokenizers.byte_level_bpe import ByteLevelBPE
from robertakit.tokenizers.sentencepiece_model import SentencePieceModel
from robertakit.tokenizers.unigram import Unigram
folder = Path(sys.argv[1])
bpe = ByteLevelBPE(ByteLevelModel(read_vocabulary(folder / "vocab.json"), read_merges(folder / "merges.txt")))
unigram = Unigram(SentencePieceModel.from_file(folder / "sentencepiece.bpe.model"))
for core in (bpe, unigram):
    assert core.decode([core.piece_of(id) for id in core.encode("der Hund").ids]) == "der Hund"
"""
    subprocess.run(
        [sys.executable, "-c", code, str(trained)], check=True, env={"PYTHONPATH": str(root / "src")}
    )


def test_lone_surrogates_are_named():
    refuse_lone_surrogates("all is well 🃏")
    with pytest.raises(InputError, match=r"U\+DC80 at character 3"):
        refuse_lone_surrogates("abc\udc80")


@pytest.mark.parametrize("family", ["trained_byte_level", "trained_unigram"])
def test_cores_are_shared_between_threads(family, request, training_texts):
    pair = request.getfixturevalue(family)
    texts = training_texts[:400]
    turned = [texts[start:] + texts[:start] for start in range(4)]
    for core in (pair.slow, pair.fast):
        alone = core.encode_batch(texts, True)
        with ThreadPoolExecutor(4) as threads:
            together = list(threads.map(core.encode_batch, turned, [True] * 4))
        for start, found in enumerate(together):
            assert found == alone[start:] + alone[:start]
