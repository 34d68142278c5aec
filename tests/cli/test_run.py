"""``robertakit run`` as a program: input of every kind, order, streams, interruptions."""

import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from robertakit.cli.run import Line, as_text, blocks
from robertakit.errors import InputError
from robertakit.tasks import pipeline

PARIS = "The capital of France is <mask>."
PIZZA = "I love <mask> and I like pasta."


@pytest.fixture(autouse=True)
def children_see_the_source(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))


@pytest.fixture(scope="module")
def tiny(golden: Path) -> Path:
    return golden / "fill_mask" / "roberta"


def command(tiny: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "robertakit", "run", "--model", str(tiny), *map(str, arguments)]


def run(
    tiny: Path, *arguments: object, text: str | bytes = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    raw = text.encode() if isinstance(text, str) else text
    done = subprocess.run(command(tiny, *arguments), input=raw, capture_output=True, timeout=60, cwd=cwd)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_documented_command(tiny: Path) -> None:
    done = run(tiny, "--task", "fill-mask", "--device", "-1", text=PARIS + "\n")
    assert (done.returncode, done.stderr) == (0, "")
    head, *ranked = done.stdout.splitlines()
    assert head == PARIS
    assert len(ranked) == 5
    assert ranked[0].split() == ["68.8", "%", "Paris"]


@pytest.mark.parametrize(
    ("arguments", "tolerance"),
    [
        pytest.param(["--engine", "torch"], 0.05, marks=pytest.mark.slow),  # the next one says more
        (["--engine", "torch", "--device", "cpu", "--dtype", "float64"], 0.05),
        (["--device", "auto"], 0.05),
        (["--dtype", "bfloat16"], 2),
    ],
)
def test_pytorch_by_the_options(tiny: Path, arguments: list[str], tolerance: float) -> None:
    pytest.importorskip("torch", reason="PyTorch is not here")
    found = run(tiny, *arguments, "--format", "json", text=PARIS)
    assert (found.returncode, found.stderr) == (0, "")
    answers = json.loads(found.stdout)["output"]
    with pipeline("fill-mask", tiny) as fill:
        wanted = fill(PARIS)
    assert answers[0]["token_str"] == wanted[0]["token_str"]
    assert abs(answers[0]["score"] - wanted[0]["score"]) < tolerance / 100
    assert answers != wanted  # another engine's last digits


def test_json_lines_are_the_answers_of_the_pipeline_in_order(tiny: Path) -> None:
    texts = [PARIS, PIZZA, "The <mask> of <mask> is Paris.", "今日はとても<mask>天気です。"] * 5
    done = run(tiny, "--format", "json", "--top-k", 3, "--batch-tokens", 40, text="\n".join(texts))
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["input"] for record in records] == texts
    with pipeline("fill-mask", tiny, top_k=3) as fill:
        for record, expected in zip(records, fill(texts), strict=True):
            flat = [r for item in record["output"] for r in (item if isinstance(item, list) else [item])]
            wanted = [r for item in expected for r in (item if isinstance(item, list) else [item])]
            assert [r["sequence"] for r in flat] == [r["sequence"] for r in wanted]
            assert [r["score"] for r in flat] == pytest.approx([r["score"] for r in wanted], abs=1e-5)


def test_texts_as_arguments(tiny: Path) -> None:
    done = run(tiny, PARIS, PIZZA, "--top-k", 1, "--targets", "pizza,Paris", "--targets", "Rome")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [lines[0], lines[2]] == [PARIS, PIZZA]
    assert [lines[1].split()[-1], lines[3].split()[-1]] == ["Paris", "pizza"]


def test_files_in_their_order_and_output_file(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_bytes(b"\xef\xbb\xbf" + PARIS.encode() + b"\r\n\r\n")
    (tmp_path / "two.txt").write_text(PIZZA, encoding="utf-8")
    arguments = ("--input", "one.txt", "-", "two.txt", "--output", "out.jsonl", "--top-k", 1)
    done = run(tiny, *arguments, text=PIZZA + "\n", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["input"] for record in records] == [PARIS, PIZZA, PIZZA]
    again = run(tiny, *arguments, cwd=tmp_path)
    assert again.returncode == 1
    assert again.stderr == "robertakit run: out.jsonl is there already; pass --overwrite to replace it.\n"
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    assert run(tiny, *arguments, "--overwrite", cwd=tmp_path).returncode == 0
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_column_of_json_lines(tiny: Path) -> None:
    lines = [json.dumps({"id": 1, "text": PARIS}), '{"id": 2}', "no json", "[1]"]
    done = run(tiny, "--column", "text", "--on-error", "skip", "--format", "json", text="\n".join(lines))
    assert done.returncode == 1
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert records[0]["input"] == PARIS
    assert ["error" in record for record in records] == [False, True, True, True]
    assert (
        "standard input, line 2: another kind of line; expected a JSON object with a string 'text'"
        in done.stderr
    )


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (b"no mask here", "no <mask> in 'no mask here'"),
        (b"caf\xe9 <mask>", "byte 0xe9 at 3; expected UTF-8"),
        (b"word " * 20_000 + b"<mask>", "expected at most 62 (max_position_embeddings 64"),
    ],
    ids=["no mask", "not UTF-8", "100 kB"],
)
def test_bad_line_is_named_and_stops_or_is_skipped(tiny: Path, bad: bytes, sentence: str) -> None:
    text = PARIS.encode() + b"\n\n" + bad + b"\n" + PIZZA.encode() + b"\n"
    stopped = run(tiny, "--top-k", 1, text=text)
    assert stopped.returncode == 1
    assert stopped.stdout.splitlines()[::2] == [PARIS]
    assert stopped.stderr.startswith("robertakit run: standard input, line 3: ")
    assert sentence in stopped.stderr
    assert stopped.stderr.count("\n") == 1
    assert len(stopped.stderr) < 400
    skipped = run(tiny, "--top-k", 1, "--on-error", "skip", text=text)
    assert skipped.returncode == 1
    assert skipped.stdout.splitlines()[::2] == [PARIS, PIZZA]
    assert skipped.stderr.splitlines()[1:] == ["robertakit run: skipped 1 of 3 lines"]


def test_half_a_character(tiny: Path) -> None:
    done = subprocess.run(
        [*map(os.fsencode, command(tiny)), b"caf\xe9 <mask>"], capture_output=True, timeout=60
    )
    assert done.returncode == 1
    assert (
        done.stderr == b"robertakit run: text 1: half a character in 'caf? <mask>'; expected text in UTF-8.\n"
    )
    line = json.dumps({"text": "\ud83d <mask>"})
    done = run(tiny, "--column", "text", "--on-error", "skip", "--format", "json", text=f"{line}\n{{}}\n")
    assert done.returncode == 1
    assert "line 1: half a character" in done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_truncation(tiny: Path) -> None:
    done = run(tiny, "--truncation", "--top-k", 1, text="<mask> " + "word " * 1000)
    assert done.returncode == 0, done.stderr


def test_nothing_to_do_is_said(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    for done in (run(tiny, text=""), run(tiny, text="\n  \n"), run(tiny, "--input", tmp_path / "empty.txt")):
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == "robertakit run: no text: all of the input is empty or blank\n"


def test_missing_and_unreadable_files(tiny: Path, tmp_path: Path) -> None:
    done = run(tiny, "--input", tmp_path / "nowhere.txt")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"robertakit run: {tmp_path}/nowhere.txt cannot be read: No such file or directory;"
    )
    done = run(tiny, "--input", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be read: Is a directory" in done.stderr
    done = run(tiny, "--output", tmp_path / "no" / "such" / "file", text=PARIS)
    assert done.returncode == 1
    assert "cannot be written: No such file or directory" in done.stderr


def test_closed_input_and_full_disk(tiny: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command(tiny)], capture_output=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"robertakit run: standard input cannot be read: Bad file descriptor")
    done = subprocess.run(
        command(tiny, PARIS, "--output", "/dev/full", "--overwrite"), capture_output=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == b"robertakit run: the answers cannot be written: No space left on device.\n"
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command(tiny, PARIS)], capture_output=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == b"robertakit run: standard output is closed; pass --output FILE.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--device", "99"], "'cuda:99', on which"),
        (["--engine", "numpy", "--device", "cuda"], "'cuda' for the NumPy engine"),
        (["--top-k", "0"], "top_k=0"),
        (["--task", "fill"], "did you mean fill-mask"),
        ([PARIS, "--input", "x"], "texts and --input; expected one of them"),
        (["--revision", "x", "--model", "/no/such/folder"], "/no/such/folder"),
    ],
)
def test_bad_arguments_are_one_sentence(tiny: Path, arguments: list[str], sentence: str) -> None:
    done = run(tiny, *arguments, text=PARIS)
    assert done.returncode == 1
    assert sentence.lower() in done.stderr.lower()
    # TensorFlow, where it is the only framework, writes lines of its own before it can be told not to.
    lines = [
        line
        for line in done.stderr.splitlines()
        if not re.match(r"WARNING: All log messages|[IW]\d{4} ", line)
    ]
    assert len(lines) == 1
    assert "Traceback" not in done.stderr


def test_answers_come_while_the_input_is_open(tiny: Path) -> None:
    with subprocess.Popen(
        command(tiny, "--top-k", 1), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        for text in (PARIS, PIZZA):
            process.stdin.write(text.encode() + b"\n")
            process.stdin.flush()
            assert select.select([process.stdout], [], [], 30)[0]
            assert process.stdout.readline().decode().rstrip() == text
            assert b"%" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.fixture
def ctrl_c_arrives() -> Iterator[None]:
    """A shell starts its background jobs, tests among them, with SIGINT ignored, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_arrives")
def test_ctrl_c_ends_with_130_and_one_word(tiny: Path) -> None:
    with subprocess.Popen(
        command(tiny, "--top-k", 1), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(PARIS.encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline().decode().rstrip() == PARIS
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read().decode().strip() == "robertakit run: stopped"


def test_closed_pipe_ends_quietly(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_text(f"{PARIS}\n" * 3000, encoding="utf-8")
    with subprocess.Popen(
        command(tiny, "--input", tmp_path / "many.txt"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().decode().rstrip() == PARIS
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""


def test_progress_is_on_standard_error_and_only_where_wanted(tiny: Path) -> None:
    done = run(tiny, "--progress", "--top-k", 1, text=f"{PARIS}\n" * 20)
    assert "20 lines, " in done.stderr.splitlines()[-1]
    assert len(done.stdout.splitlines()) == 40
    assert run(tiny, text=PARIS).stderr == ""


def test_texts_for_people() -> None:
    answer = [{"score": 0.5, "token_str": " cat"}, {"score": 0.25, "token_str": "\n"}]
    assert as_text("A <mask>.", answer) == "A <mask>.\n   50.0 %  cat\n   25.0 %  '\\n'\n"
    assert as_text("<mask> <mask>", [answer[:1], answer[:1]]).splitlines()[1:] == [
        "  mask 1", "   50.0 %  cat", "  mask 2", "   50.0 %  cat",
    ]  # fmt: skip
    unlikely = [{"score": 0.0004, "token_str": "a"}, {"score": 2.4e-7, "token_str": "b"}]
    assert as_text("A", unlikely).splitlines()[1:] == ["   0.04 %  a", "  2e-05 %  b"]
    assert as_text("A", answer[:1], bold=True).startswith("\033[1mA\033[0m\n")


def lines_of(data: bytes, pause_at: int | None = None) -> list[list[Line]]:
    read, write = os.pipe()

    def feed() -> None:
        with io.FileIO(write, "w") as file:
            for part in (data,) if pause_at is None else (data[:pause_at], data[pause_at:]):
                file.write(part)
                time.sleep(0.05)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        return list(blocks("f", read))
    finally:
        feeder.join()
        os.close(read)


@pytest.mark.parametrize("pause_at", [None, 1, 3, 5, 8])
def test_blocks_give_each_line_once_however_it_comes(pause_at: int | None) -> None:
    lines = [line for block in lines_of("a\né\r\n\n c".encode(), pause_at) for line in block]
    assert [(line.place, line.text) for line in lines] == [
        ("f, line 1", "a"),
        ("f, line 2", "é"),
        ("f, line 4", " c"),
    ]
    assert lines_of(b"", None) == []
    assert [[line.text for line in block] for block in lines_of(b"a\n", None)] == [["a"]]


def test_input_without_line_breaks_is_refused_before_it_fills_the_memory() -> None:
    file = os.open("/dev/zero", os.O_RDONLY)
    try:
        with pytest.raises(InputError, match="f, line 1: more than 16 MiB without a line break"):
            next(blocks("f", file))
    finally:
        os.close(file)
