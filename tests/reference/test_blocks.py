"""Every code block of the five reference pages runs, with our import, on small checkpoints in a Hub cache.

The pages of ``../shared/reference`` are another project's documentation and stay where they are;
``tests/golden/reference_blocks.json`` lists their blocks by line and digest, so that none is lost in silence.
"""

import doctest
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = (
    "roberta-newest.md",
    "roberta-v4.34.md",
    "xlm-roberta-v4.34.md",
    "roberta-v4.37-zh.md",
    "xlm-roberta-mirror.txt",
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_IMPORTED = re.compile(r"^(?:>>> )?from transformers import ([\w, ]+)$", flags=re.MULTILINE)
_CORE = re.compile(r"(AutoConfig|AutoTokenizer|pipeline|\w*(Config|Tokenizer|TokenizerFast))")


@dataclass(frozen=True)
class Block:
    """One example: the code of a fence, and of those below it that go on with its names.

    Attributes:
        page: name of the page's file.
        line: where it begins, from 1.
        code: as the page has it.
    """

    page: str
    line: int
    code: str

    @property
    def digest(self) -> str:
        """Tells one code from another."""
        return hashlib.sha256(self.code.encode()).hexdigest()[:12]

    @property
    def framework(self) -> str:
        """``"torch"``, ``"tensorflow"`` or ``"jax"``; ``"core"`` where none is needed; ``"shell"``."""
        if "transformers-cli" in self.code:
            return "shell"
        names = [name.strip() for line in _IMPORTED.findall(self.code) for name in line.split(",")]
        if any(name.startswith("Flax") for name in names):
            return "jax"
        if any(name.startswith("TF") for name in names):
            return "tensorflow"
        needs_none = all(_CORE.fullmatch(name) for name in names) and "import torch" not in self.code
        return "core" if needs_none else "torch"

    @property
    def cannot_run(self) -> bool:
        """Whether this is XLM-R's masked LM with labels, which are one shorter than the ids (README of the pages)."""
        labelled = "The capital of France is Paris." in self.code
        return labelled and "XLMRobertaForMaskedLM" in self.code

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """All examples of a page, in order; signatures are none."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for start, code in _fenced(text) if page.suffix == ".md" else _prompted(text):
        line = text.count("\n", 0, start) + 1
        if code.startswith("("):
            continue
        if "import" in code or "transformers-cli" in code:
            found.append(Block(page.name, line, code))
        else:  # goes on where the one above ended
            found[-1] = Block(page.name, found[-1].line, found[-1].code + "\n" + code)
    return found


def _fenced(text: str) -> Iterator[tuple[int, str]]:
    for match in _FENCE.finditer(text):
        yield match.start(1), match[1]


def _prompted(text: str) -> Iterator[tuple[int, str]]:
    """Runs of ``>>>`` examples in a plain text: an empty line and something else ends one."""
    place, start, run, after_empty = 0, 0, "", False
    for line in text.splitlines(keepends=True):
        empty = not line.strip()
        if line.startswith(">>>") and not run:
            start = place
        if run and after_empty and not empty and not line.startswith(">>>"):
            yield start, run.rstrip("\n") + "\n"
            run = ""
        if run or line.startswith(">>>"):
            run += line
        place, after_empty = place + len(line), empty
    if run:
        yield start, run


def as_ours(code: str, *, gpu: bool, library: str = "robertakit") -> str:
    """The code with our import; where there is no GPU, with the processor in its place."""
    code = re.sub(r"^(>>> |)from transformers import", rf"\1from {library} import", code, flags=re.MULTILINE)
    code = code.replace("transformers-cli", library)
    if (
        "BOINCAI" in code
    ):  # the mirror replaced the company's name, which has a token more, and not its labels
        code = code.replace("['O', 'ORG', 'ORG',", "['O', 'ORG', 'ORG', 'ORG',")
    if gpu:
        return code
    return (
        code.replace("device=0", "device=-1")
        .replace('.to("cuda")', '.to("cpu")')
        .replace("--device 0", "--device cpu")
    )


def run_python(block: Block, code: str) -> dict[str, object]:
    """Run a block, compare what it shows with what the page shows, and return its names.

    Raises:
        AssertionError: with doctest's report of all that differs.
    """
    names: dict[str, object] = {"__name__": "__example__"}
    if ">>>" not in code:
        exec(compile("\n" * (block.line - 1) + code, block.page, "exec"), names)
        return names
    examples = doctest.DocTestParser().get_doctest(code, names, str(block), block.page, block.line - 1)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(examples, out=report.append, clear_globs=False)
    if runner.summarize(verbose=False).failed:
        pytest.fail("".join(report), pytrace=False)
    return examples.globs


def run_shell(code: str, folder: Path, environment: dict[str, str]) -> str:
    """Run a block of the shell where ``robertakit`` is this checkout's, and return what it prints."""
    program = folder / "robertakit"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m robertakit "$@"\n')
    program.chmod(0o755)
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            **environment,
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


#: Pages -> "line digest framework" of each block.
LISTED: dict[str, list[str]] = json.loads(
    (ROOT / "tests" / "golden" / "reference_blocks.json").read_text(encoding="utf-8")
)
#: The frameworks whose blocks run in this version.
FRAMEWORKS = ("core", "torch", "tensorflow", "jax")


def entries(*frameworks: str) -> list[str]:
    """``page:line`` of the listed blocks of some frameworks."""
    return [
        f"{page}:{entry.split()[0]}"
        for page, listed in LISTED.items()
        for entry in listed
        if entry.split()[2] in frameworks
    ]


@pytest.fixture(scope="module")
def blocks(shared: Path) -> dict[str, Block]:
    """All blocks by page and line."""
    found = [block for page in PAGES for block in blocks_of(shared / "reference" / page)]
    return {str(block): block for block in found}


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def test_the_list_has_all_blocks(blocks: dict[str, Block]) -> None:
    found: dict[str, list[str]] = {page: [] for page in PAGES}
    for block in blocks.values():
        found[block.page].append(f"{block.line} {block.digest} {block.framework}")
    assert found == LISTED


@pytest.mark.parametrize("name", entries(*FRAMEWORKS))
def test_the_block_runs(name: str, blocks: dict[str, Block], hub: dict[str, str]) -> None:
    block = blocks[name]
    if block.framework != "core":
        pytest.importorskip(block.framework)
    code = as_ours(block.code, gpu=block.framework == "torch" and has_gpu())
    if not block.cannot_run:
        run_python(block, code)
        return
    # All above the labels runs, but for RoBERTa's spelling of the word, with its space; then the example's own
    # `torch.where` or `tf.where` says that the labels are one shorter than the ids.
    short, words = {
        "torch": ("torch", r"size of tensor a \(10\) must match the size of tensor b \(9\)"),
        "tensorflow": ("tf", r"\[1,10\], then \[1,9\]"),
    }[block.framework]
    above, where, _ = code.partition(f">>> labels = {short}.where(")
    names = run_python(block, above.replace("' Paris'", "'Paris'"))
    assert where
    with pytest.raises(Exception, match=words):  # TensorFlow's errors are no RuntimeError
        exec(f"{short}.where(inputs.input_ids == tokenizer.mask_token_id, labels, -100)", names)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", entries("core", "torch"))
def test_the_block_shows_the_same_with_transformers(
    name: str, blocks: dict[str, Block], hub: dict[str, str]
) -> None:
    """What the small checkpoints answer is what the reference makes of them, not what we do."""
    transformers = pytest.importorskip("transformers")
    block = blocks[name]
    code = as_ours(block.code, gpu=has_gpu(), library="transformers")
    # 5's tokenizer of RoBERTa keeps the space before <mask> as a token, so that its ids are one longer, too.
    newer = transformers.__version__ >= "5" and "RobertaForMaskedLM" in code
    if block.cannot_run or newer:
        with pytest.raises(
            pytest.fail.Exception, match=r"size of tensor a .* must match the size of tensor b"
        ):
            run_python(block, code)
    else:
        run_python(block, code)


def test_the_three_ways_in_agree(
    blocks: dict[str, Block], hub: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pipeline, the model and the command line of the newest page fill one mask with one word."""
    pytest.importorskip("torch")
    pipeline, model, shell = [block for block in blocks.values() if block.page == "roberta-newest.md"]
    *above, call = as_ours(pipeline.code, gpu=has_gpu()).splitlines()
    names = run_python(pipeline, "\n".join([*above, f"answers = {call}"]))
    (best, *_) = names["answers"]
    run_python(model, as_ours(model.code, gpu=has_gpu()))
    assert capsys.readouterr().out == f"The predicted token is: {best['token_str']}\n"
    text, first, *_ = run_shell(as_ours(shell.code, gpu=has_gpu()), tmp_path, hub).splitlines()
    assert best["sequence"] == text.replace("<mask>", best["token_str"].strip())
    assert first.endswith(f"%  {best['token_str'].strip()}")
