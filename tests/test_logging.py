"""What is told, to whom, and how often: each documented function does something."""

import io
import logging as standard
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from robertakit import RobertaConfig, logging
from robertakit.architecture import initial_weights
from robertakit.checkpoints import load_weights, save_weights
from robertakit.errors import ArgumentError, listed

SOURCE = Path(__file__).resolve().parent.parent / "src"


@pytest.fixture(autouse=True)
def as_at_first() -> Iterator[None]:
    """Each test leaves the process as it found it."""
    library = logging.get_logger()
    level, handlers, propagate = library.level, list(library.handlers), library.propagate
    yield
    library.setLevel(level)
    library.propagate = propagate
    for handler in list(library.handlers):
        library.removeHandler(handler)
    for handler in handlers:
        library.addHandler(handler)
    logging.reset_format()
    logging.captureWarnings(False)


def told(code: str, **environment: str) -> list[str]:
    """The lines that a fresh interpreter writes to its standard error."""
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_VERBOSITY")}
    done = subprocess.run(
        [sys.executable, "-c", "from robertakit import logging\n" + code],
        capture_output=True,
        text=True,
        check=False,
        env={**clean, "PYTHONPATH": str(SOURCE), **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


LEVELS = ["critical", "error", "warning", "info", "debug"]
SAY_ALL = (
    "logger = logging.get_logger('robertakit.example')\n"
    "for level in (10, 20, 30, 40, 50): logger.log(level, level)\n"
)


def levels() -> None:
    for level in (10, 20, 30, 40, 50):
        logging.get_logger("robertakit.example").log(level, level)


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the root logger what it is in a program that sets nothing up: without the handlers of this call."""
    monkeypatch.setattr(standard.root, "handlers", [])


@pytest.mark.parametrize(
    ("before", "lines"),
    [
        ([], ["30", "40", "50"]),
        ([logging.set_verbosity_debug], ["10", "20", "30", "40", "50"]),
        ([logging.set_verbosity_info], ["20", "30", "40", "50"]),
        ([logging.set_verbosity_error, logging.set_verbosity_warning], ["30", "40", "50"]),
        ([logging.set_verbosity_error], ["40", "50"]),
        ([lambda: logging.set_verbosity(logging.CRITICAL)], ["50"]),
        ([lambda: logging.set_verbosity("Info")], ["20", "30", "40", "50"]),
        ([lambda: standard.getLogger("robertakit").setLevel(45)], ["50"]),
        ([logging.disable_default_handler], []),
        ([logging.disable_default_handler, logging.enable_default_handler], ["30", "40", "50"]),
        ([logging.enable_default_handler], ["30", "40", "50"]),
    ],
)
def test_what_is_told(
    before: list[Callable[[], None]],
    lines: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone(monkeypatch)
    for step in before:
        step()
    levels()
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize(
    ("before", "lines"),
    [
        ([], ["app 30", "app 40", "app 50"]),
        ([logging.disable_propagation], ["30", "40", "50"]),
        ([logging.disable_propagation, logging.enable_propagation], ["app 30", "app 40", "app 50"]),
        ([logging.disable_default_handler], ["app 30", "app 40", "app 50"]),
        ([logging.disable_default_handler, logging.disable_propagation], []),
    ],
)
def test_an_application_with_handlers_of_its_own_is_told_once(
    before: list[Callable[[], None]],
    lines: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone(monkeypatch)
    standard.basicConfig(format="app %(message)s")
    for step in before:
        step()
    levels()
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize(
    ("environment", "lines"),
    [
        ({"ROBERTAKIT_VERBOSITY": "error"}, ["40", "50"]),
        ({"TRANSFORMERS_VERBOSITY": "INFO"}, ["20", "30", "40", "50"]),
        ({"ROBERTAKIT_VERBOSITY": "critical", "TRANSFORMERS_VERBOSITY": "info"}, ["50"]),
        (
            {"TRANSFORMERS_VERBOSITY": "loud"},
            [
                f"TRANSFORMERS_VERBOSITY=loud is no level; warnings are told: one of {listed(LEVELS)}",
                "30",
                "40",
                "50",
            ],
        ),
    ],
)
def test_the_environment_names_the_first_level(environment: dict[str, str], lines: list[str]) -> None:
    assert told(SAY_ALL, **environment) == lines


def test_a_level_that_the_application_set_before_stays() -> None:
    code = (
        "import logging; logging.getLogger('robertakit').setLevel(50); from robertakit import logging\n"
        + SAY_ALL
    )
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_VERBOSITY")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**clean, "PYTHONPATH": str(SOURCE)},
    )
    assert done.stderr.splitlines() == ["50"]


def test_levels_have_names_and_numbers() -> None:
    for name, level in logging.get_log_levels_dict().items():
        logging.set_verbosity(name)
        assert logging.get_verbosity() == level == getattr(logging, name.upper())
    assert (logging.WARN, logging.FATAL) == (logging.WARNING, logging.CRITICAL)


@pytest.mark.parametrize("level", ["loud", -1, True, None, 10.0])
def test_no_such_level(level: object) -> None:
    with pytest.raises(
        ArgumentError, match=r"^verbosity=.*expected a level such as logging\.INFO, or one of critical"
    ):
        logging.set_verbosity(level)


def test_a_handler_of_ones_own() -> None:
    stream = io.StringIO()
    handler = standard.StreamHandler(stream)
    logging.add_handler(handler)
    logger = logging.get_logger("robertakit.example")
    logger.error("one")
    logging.enable_explicit_format()
    logger.error("two")
    logging.reset_format()
    logger.error("three")
    logging.remove_handler(handler)
    logger.error("four")
    one, two, three = stream.getvalue().splitlines()
    assert (one, three) == ("one", "three")
    assert two.startswith("[ERROR|test_logging.py:")
    assert two.endswith(">> two")
    with pytest.raises(ArgumentError, match="one that add_handler was given"):
        logging.remove_handler(handler)


def test_get_logger_is_the_standard_one() -> None:
    assert logging.get_logger() is standard.getLogger("robertakit")
    assert logging.get_logger("somebody.else") is standard.getLogger("somebody.else")


def test_warnings_are_told_like_the_rest(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(monkeypatch)

    def seen() -> list[str]:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("old", stacklevel=1)
            logging.captureWarnings(False)
        return capsys.readouterr().err.splitlines()

    assert "UserWarning: old" in seen()[0]
    logging.set_verbosity_error()
    assert seen() == []
    logging.set_verbosity_warning()
    logging.disable_default_handler()
    assert seen() == []
    stream = io.StringIO()
    logging.add_handler(standard.StreamHandler(stream))
    seen()
    assert "UserWarning: old" in stream.getvalue()
    with pytest.warns(UserWarning, match="ours no more"):
        warnings.warn("ours no more", stacklevel=1)


def test_a_warning_that_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.get_logger("robertakit.example")
    for message in ("a", "b", "a", "a"):
        logging.warning_once(logger, f"{message} of {caplog}")
    assert [record.message[0] for record in caplog.records] == ["a", "b"]


def test_progress_of_downloads() -> None:
    from huggingface_hub.utils import are_progress_bars_disabled

    assert logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        assert are_progress_bars_disabled()
        assert not logging.is_progress_bar_enabled()
    finally:
        logging.enable_progress_bar()
    assert not are_progress_bars_disabled()


def test_a_new_head_is_announced_through_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(monkeypatch)
    config = RobertaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    save_weights(tmp_path, initial_weights(config, "masked-lm", 0), config_json=config.to_json_string())
    load_weights(tmp_path, config, "question-answering")
    load_weights(tmp_path, config, "question-answering")
    lines = capsys.readouterr().err.splitlines()
    assert [("newly initialised" in line, "qa_outputs.weight" in line) for line in lines] == [
        (True, True)
    ] * 2
    logging.set_verbosity_error()
    load_weights(tmp_path, config, "question-answering")
    assert capsys.readouterr().err == ""
