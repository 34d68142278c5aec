"""Downloads by the Hub's protocol, as a local stand-in speaks it; the cache, and the environment that leads there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from robertakit.errors import NotFound
from robertakit.files import locate

if TYPE_CHECKING:
    from hub_stand_in import StandIn

NOBODY = "http://127.0.0.1:9"  # nobody listens on the discard port
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "89abcdef0123456789abcdef0123456789abcdef"


def folder_of(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


@pytest.fixture(autouse=True)
def models(hub: StandIn) -> None:
    """What the Hub holds."""
    hub.add("org/model", "config.json", '{"a": 1}')
    hub.add("org/model", "model.safetensors", "weights")
    hub.add("org/model", "tf_model.h5", "large and not asked for")
    hub.add("org/model", "encoder/config.json", '{"b": 2}')
    hub.add("org/model", "config.json", '{"a": 0}', OLDER)


def test_only_what_is_asked_for_is_fetched_and_once(hub: StandIn, tmp_path: Path) -> None:
    place = locate("org/model")
    assert place.require("config.json").read_text() == '{"a": 1}'
    assert place.require("model.safetensors").read_text() == "weights"
    assert place.path_of("vocab.json") is None
    assert hub.fetched() == ["config.json", "model.safetensors"]
    locate("org/model").require("model.safetensors")
    assert hub.fetched() == ["config.json", "model.safetensors"]
    assert place.commit == COMMIT
    assert place.require("config.json").is_relative_to(tmp_path / "home" / "hub" / "models--org--model")
    assert place.names() == ["config.json", "model.safetensors"]


def test_redirect_to_storage_is_followed(hub: StandIn) -> None:
    hub.redirected = True
    assert locate("org/model").require("model.safetensors").read_text() == "weights"


def test_all_files_come_from_one_commit(hub: StandIn) -> None:
    place = locate("org/model")
    newer = "f" * 40
    hub.branches["main"] = newer  # someone pushes in between
    hub.add("org/model", "model.safetensors", "newer weights", newer)
    assert place.require("model.safetensors").read_text() == "weights"


def test_revision(hub: StandIn) -> None:
    assert locate("org/model", revision="v1").require("config.json").read_text() == '{"a": 0}'
    assert locate("org/model", revision=OLDER).require("config.json").read_text() == '{"a": 0}'
    with pytest.raises(NotFound, match="no revision 'v9'"):
        locate("org/model", revision="v9")


def test_subfolder_of_a_repository(hub: StandIn) -> None:
    place = locate("org/model", subfolder="encoder")
    assert place.require("config.json").read_text() == '{"b": 2}'
    assert place.commit == COMMIT


def test_sentence_transformers_repository(hub: StandIn) -> None:
    modules = [{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]
    hub.add("org/sentences", "modules.json", json.dumps(modules))
    hub.add("org/sentences", "0_Transformer/config.json", "{}")
    assert locate("org/sentences").require("config.json").parent.name == "0_Transformer"


def test_force_download_fetches_again(hub: StandIn) -> None:
    locate("org/model")
    locate("org/model", force_download=True).require("config.json")  # once more, not twice
    assert hub.fetched() == ["config.json", "config.json"]


def test_token_is_sent(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    locate("org/model", token="hf_given")
    assert hub.tokens[-1] == "Bearer hf_given"
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    locate("org/model", force_download=True)
    assert hub.tokens[-1] == "Bearer hf_environment"
    locate("org/model", force_download=True, token=False)
    assert hub.tokens[-1] is None


def test_trap_05_cache_dir_and_environment(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"
    assert locate("org/model", cache_dir=given).require("config.json").is_relative_to(given)
    for variable in ("HUGGINGFACE_HUB_CACHE", "HF_HUB_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        assert locate("org/model").require("config.json").is_relative_to(tmp_path / variable)
    for variable in ("PYTORCH_TRANSFORMERS_CACHE", "TRANSFORMERS_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        with pytest.warns(FutureWarning, match=f"^{variable} is honoured; its name today is HF_HUB_CACHE"):
            place = locate("org/model")
        assert place.require("config.json").is_relative_to(tmp_path / variable)


@pytest.mark.parametrize("how", ["argument", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_uses_the_cache_alone(hub: StandIn, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    locate("org/model").require("model.safetensors")
    asked = len(hub.requests)
    if how != "argument":
        monkeypatch.setenv(how, "1")
    place = locate("org/model", local_files_only=how == "argument")
    assert place.require("model.safetensors").read_text() == "weights"
    assert place.path_of("vocab.json") is None
    with pytest.raises(NotFound, match=r"'org/other' was not found: .*the Hub was not asked"):
        locate("org/other", local_files_only=how == "argument")
    assert len(hub.requests) == asked


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the client makes between its attempts, in seconds; they are not made."""
    made: list[float] = []
    monkeypatch.setattr("time.sleep", made.append)
    return made


def test_unreachable_hub_serves_from_the_cache(
    hub: StandIn, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    locate("org/model")
    monkeypatch.setenv("HF_ENDPOINT", NOBODY)
    place = locate("org/model")
    assert place.require("config.json").read_text() == '{"a": 1}'
    assert pauses == []
    assert [place.path_of(name) for name in ("vocab.json", "merges.txt", "tokenizer.json")] == [None] * 3
    assert sum(pauses) < 2  # for all three together
    with pytest.raises(NotFound, match="the Hub cannot be reached; leave out force_download"):
        locate("org/model", force_download=True)


def test_a_name_without_a_network_is_refused_soon(
    hub: StandIn, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", NOBODY)
    with pytest.raises(NotFound, match=r"no folder 'org/other', .* cannot be reached"):
        locate("org/other")
    assert 0 < sum(pauses) < 2


def test_a_short_failure_of_the_network_is_waited_for(hub: StandIn, pauses: list[float]) -> None:
    hub.silent = 2
    assert locate("org/model").require("config.json").read_text() == '{"a": 1}'
    assert len(pauses) == 2


def test_what_was_tried_is_said(hub: StandIn, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        locate("org/nowhere")
    text = str(caught.value)
    assert (
        f"no folder 'org/nowhere', nothing under that name in the cache '{tmp_path / 'home' / 'hub'}'" in text
    )
    assert f"at {hub.endpoint} the Hub has no such repository" in text
    assert "token" in text
    with pytest.raises(NotFound, match=r"'org/nowhere' at revision 'v9' with subfolder 'a' was not found"):
        locate("org/nowhere", revision="v9", subfolder="a")
    hub.gated.add("org/model")
    with pytest.raises(NotFound, match=r"gated.*accept its terms and pass token"):
        locate("org/model")


def test_a_local_folder_wins_over_the_hub(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(tmp_path / "org" / "model", config__json="local")
    monkeypatch.chdir(tmp_path)
    assert locate("org/model").require("config.json").read_text() == "local"
    assert hub.requests == []
