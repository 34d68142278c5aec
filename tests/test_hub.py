"""The Hub's protocol as a local stand-in speaks it, its cache, and the environment that leads there."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from robertakit.errors import NotFound
from robertakit.files import locate

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "89abcdef0123456789abcdef0123456789abcdef"


def folder_of(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


class StandIn:
    """Serves repositories as the Hub does: HEAD and GET below ``/resolve/``, with its headers and error codes."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str, str], bytes] = {}
        self.branches = {"main": COMMIT, "v1": OLDER}
        self.requests: list[tuple[str, str]] = []
        self.tokens: list[str | None] = []
        self.gated: set[str] = set()
        self.redirected = False
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                stand_in.answer(self, with_body=False)

            def do_GET(self) -> None:
                stand_in.answer(self, with_body=True)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def add(self, repository: str, filename: str, content: str, commit: str = COMMIT) -> None:
        self.files[repository, commit, filename] = content.encode()

    def answer(self, handler: http.server.BaseHTTPRequestHandler, *, with_body: bool) -> None:
        self.requests.append((handler.command, handler.path))
        self.tokens.append(handler.headers.get("Authorization"))
        path = handler.path.partition("?")[0].removeprefix("/storage")
        repository, found, rest = path.lstrip("/").partition("/resolve/")
        revision, _, filename = rest.partition("/")
        commit = self.branches.get(revision, revision)
        known = {key[0] for key in self.files}
        body = self.files.get((repository, commit, filename))
        headers = {"X-Repo-Commit": commit}
        status = 200
        if repository in self.gated:
            status, headers = 403, {"X-Error-Code": "GatedRepo"}
        elif not found or repository not in known:
            status, headers = 404, {"X-Error-Code": "RepoNotFound"}
        elif commit not in {key[1] for key in self.files}:
            status, headers = 404, {"X-Error-Code": "RevisionNotFound"}
        elif body is None:
            status, headers["X-Error-Code"] = 404, "EntryNotFound"
        elif self.redirected and not handler.path.startswith("/storage"):
            status, headers["Location"] = 302, f"{self.endpoint}/storage{path}"
            headers |= {
                "X-Linked-Etag": f'"{hashlib.sha256(body).hexdigest()}"',
                "X-Linked-Size": str(len(body)),
            }
            body = b""
        else:
            headers["ETag"] = f'"{hashlib.sha1(body).hexdigest()}"'
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body or b"")))
        handler.end_headers()
        if with_body and body:
            handler.wfile.write(body)

    def fetched(self) -> list[str]:
        return [
            path.rpartition("/")[2]
            for command, path in self.requests
            if command == "GET" and "/resolve/" in path
        ]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    stand_in = StandIn()
    for variable in (
        "HF_TOKEN",
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", stand_in.endpoint)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    stand_in.add("org/model", "config.json", '{"a": 1}')
    stand_in.add("org/model", "model.safetensors", "weights")
    stand_in.add("org/model", "tf_model.h5", "large and not asked for")
    stand_in.add("org/model", "encoder/config.json", '{"b": 2}')
    stand_in.add("org/model", "config.json", '{"a": 0}', OLDER)
    yield stand_in
    stand_in.close()


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


def test_unreachable_hub_serves_from_the_cache(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    locate("org/model")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens on the discard port
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client's pauses between its attempts
    assert locate("org/model").require("config.json").read_text() == '{"a": 1}'
    with pytest.raises(
        NotFound, match=r"'org/other' was not found: no folder 'org/other', .* cannot be reached"
    ):
        locate("org/other")


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
