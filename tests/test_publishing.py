"""Pushing to a stand-in of the Hub: what arrives, in how many commits, and what is said where it does not."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from robertakit import AutoConfig, AutoTokenizer, RobertaConfig, RobertaTokenizer
from robertakit.errors import ArgumentError, SaveFailed
from robertakit.publishing import PushToHub
from robertakit.tokenizers.training import train_byte_level_bpe

if TYPE_CHECKING:
    from hub_stand_in import StandIn

# huggingface_hub 2.4 uses its HTTP library in a way that this one wants to be rid of.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TOKEN = "hf_write"
CARD = "---\nlicense: mit\n---\nA card.\n"


class Parts(PushToHub):
    """Saves numbered parts, as a large model does, and brings a card."""

    def __init__(self, count: int, card: str | None = CARD) -> None:
        self.count, self.card = count, card

    def save_pretrained(self, folder: str, push_to_hub: bool = False, **kwargs: object) -> None:
        publication = self._publication(folder, push_to_hub, kwargs)
        names = [f"part-{number}-of-{self.count}.safetensors" for number in range(self.count)]
        for name in names:
            Path(folder, name).write_text(f"{name}, some values")
        if publication is not None:
            publication.upload(folder, names)

    def _card(self, repo_id: str) -> str | None:
        return self.card

    def _obsolete(self, there: Collection[str], written: Collection[str]) -> list[str]:
        return [name for name in there if name.startswith("part-") and name not in written]


@pytest.fixture(autouse=True)
def nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which whatever a push leaves behind would be seen."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_configuration_is_pushed_and_comes_back(hub: StandIn, nowhere_else: Path) -> None:
    config = RobertaConfig(num_hidden_layers=3, vocab_size=77)
    address = config.push_to_hub(
        "me/small", token=TOKEN, commit_message="Three layers", commit_description="Why"
    )
    assert address == f"{hub.endpoint}/me/small/commit/{hub.commit_of('me/small', 'main')}"
    (push,) = hub.pushes
    assert (push["summary"], push["description"], push["added"]) == ("Three layers", "Why", ["config.json"])
    assert AutoConfig.from_pretrained("me/small") == config
    assert list(nowhere_else.iterdir()) == []


def test_the_commit_of_a_repository_is_known(hub: StandIn) -> None:
    RobertaConfig().push_to_hub("me/small", token=TOKEN)
    assert AutoConfig.from_pretrained("me/small")._commit_hash == hub.commit_of("me/small", "main")


def test_a_name_alone_is_in_the_own_namespace(hub: StandIn) -> None:
    RobertaConfig().push_to_hub("small", token=TOKEN)
    assert "config.json" in hub.at("me/small")
    assert hub.pushes[0]["summary"] == "Upload RobertaConfig"


def test_a_tokenizer_is_pushed_and_comes_back(hub: StandIn, tmp_path: Path) -> None:
    folder = train_byte_level_bpe(["some small text"] * 3, 270, tmp_path / "trained")
    fast = AutoTokenizer.from_pretrained(folder)
    fast.push_to_hub("me/words", token=TOKEN)
    assert {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"} < set(hub.at("me/words"))
    assert AutoTokenizer.from_pretrained("me/words")("some text") == fast("some text")
    assert "README.md" not in hub.at("me/words")


def test_files_that_new_ones_make_obsolete_go_in_the_same_commit(hub: StandIn, tmp_path: Path) -> None:
    folder = train_byte_level_bpe(["some small text"] * 3, 270, tmp_path / "trained")
    AutoTokenizer.from_pretrained(folder).push_to_hub("me/words", token=TOKEN)
    RobertaTokenizer.from_pretrained(folder).push_to_hub("me/words", token=TOKEN)
    assert hub.pushes[1]["deleted"] == ["tokenizer.json"]
    Parts(3).push_to_hub("me/words", token=TOKEN)
    Parts(2).push_to_hub("me/words", token=TOKEN)
    assert len(hub.pushes) == 4
    assert [name for name in hub.at("me/words") if name.startswith("part")] == [
        "part-0-of-2.safetensors",
        "part-1-of-2.safetensors",
    ]
    assert "vocab.json" in hub.at("me/words")


def test_large_files_go_to_the_large_storage_once(hub: StandIn) -> None:
    Parts(2).push_to_hub("me/model", token=TOKEN)
    assert hub.at("me/model")["part-1-of-2.safetensors"] == b"part-1-of-2.safetensors, some values"
    puts = [path for command, path in hub.requests if command == "PUT"]
    assert len(puts) == 2
    Parts(2).push_to_hub("me/model", token=TOKEN)  # nothing is new: no upload, no commit
    assert [path for command, path in hub.requests if command == "PUT"] == puts
    assert len(hub.pushes) == 1


def test_a_card_comes_once_and_is_then_the_users(hub: StandIn) -> None:
    Parts(1).push_to_hub("me/model", token=TOKEN)
    assert hub.at("me/model")["README.md"].decode() == CARD
    Parts(1, card="another").push_to_hub("me/model", token=TOKEN, commit_message="again")
    assert hub.at("me/model")["README.md"].decode() == CARD
    Parts(2).push_to_hub("me/model", token=TOKEN, tags=["small"])
    assert hub.at("me/model")["README.md"].decode() == "---\nlicense: mit\ntags:\n- small\n---\nA card.\n"
    Parts(3).push_to_hub("me/model", token=TOKEN, tags=["small"])
    assert "README.md" not in hub.pushes[-1]["added"]


def test_tags_alone_make_a_card(hub: StandIn) -> None:
    RobertaConfig().push_to_hub("me/small", token=TOKEN, tags=["tiny", "test"])
    assert "tags:\n- tiny\n- test\n" in hub.at("me/small")["README.md"].decode()
    with pytest.raises(ArgumentError, match="tags='tiny'; expected a list"):
        RobertaConfig().push_to_hub("me/small", token=TOKEN, tags="tiny")


def test_private_counts_for_a_new_repository_and_must_fit_an_old_one(hub: StandIn) -> None:
    config = RobertaConfig()
    config.push_to_hub("me/secret", token=TOKEN, private=True)
    assert hub.private == {"me/secret": True}
    config.push_to_hub("me/secret", token=TOKEN, private=True)
    config.push_to_hub("me/secret", token=TOKEN)
    with pytest.raises(SaveFailed, match="'me/secret' is there already and private, which private=False"):
        config.push_to_hub("me/secret", token=TOKEN, private=False)
    config.push_to_hub("me/open", token=TOKEN, private=False)
    with pytest.raises(SaveFailed, match="'me/open' is there already and not private"):
        config.push_to_hub("me/open", token=TOKEN, private=True)
    assert len(hub.pushes) == 2


def test_a_branch_is_made_where_it_is_not_there(hub: StandIn) -> None:
    RobertaConfig(vocab_size=70).push_to_hub("me/model", token=TOKEN)
    RobertaConfig(vocab_size=80).push_to_hub("me/model", token=TOKEN, revision="next")
    RobertaConfig(vocab_size=90).push_to_hub("me/model", token=TOKEN, revision="next")
    assert [push["branch"] for push in hub.pushes] == ["main", "next", "next"]
    assert AutoConfig.from_pretrained("me/model").vocab_size == 70
    assert AutoConfig.from_pretrained("me/model", revision="next").vocab_size == 90


def test_a_pull_request_to_somebody_elses_repository(hub: StandIn) -> None:
    hub.add("other/model", "config.json", "{}")
    address = RobertaConfig().push_to_hub("other/model", token=TOKEN, create_pr=True)
    assert address == f"{hub.endpoint}/other/model/discussions/1"
    assert hub.pushes[0]["branch"] == "refs/pr/1"
    assert hub.at("other/model") == {"config.json": b"{}"}
    with pytest.raises(SaveFailed, match="the token may not write there"):
        RobertaConfig().push_to_hub("other/model", token=TOKEN)


def test_save_pretrained_pushes_what_it_saves(hub: StandIn, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "README.md").write_text(CARD)
    RobertaConfig(vocab_size=70).save_pretrained(folder, push_to_hub=True, repo_id="me/kept", token=TOKEN)
    assert hub.pushes[0]["added"] == ["README.md", "config.json"]
    assert hub.at("me/kept")["README.md"].decode() == CARD
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "notes.txt"]
    tokens = train_byte_level_bpe(["some small text"] * 3, 270, tmp_path / "words")
    paths = AutoTokenizer.from_pretrained(tokens).save_pretrained(
        tmp_path / "words", push_to_hub=True, token=TOKEN, filename_prefix="my"
    )
    assert hub.pushes[1]["repository"] == "me/words"  # by default the folder's name
    assert hub.pushes[1]["added"] == sorted(Path(path).name for path in paths)


@pytest.mark.parametrize("token", [None, True, False])
def test_without_a_token_nothing_happens_anywhere(hub: StandIn, tmp_path: Path, token: bool | None) -> None:
    with pytest.raises(SaveFailed) as caught:
        RobertaConfig().save_pretrained(tmp_path / "new", push_to_hub=True, token=token)
    assert "needs an access token, and there is none; pass token=…, set HF_TOKEN" in str(caught.value)
    assert not (tmp_path / "new").exists()
    assert hub.requests == []


def test_the_token_of_the_environment(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    RobertaConfig().push_to_hub("me/small")
    assert set(hub.tokens) == {f"Bearer {TOKEN}"}
    RobertaConfig().push_to_hub("me/other", use_auth_token=TOKEN)
    with pytest.raises(ArgumentError, match="token and use_auth_token, which differ"):
        RobertaConfig().push_to_hub("me/other", token="hf_a", use_auth_token="hf_b")


@pytest.mark.parametrize(
    ("token", "said"), [("hf_old", "token is not accepted"), ("hf_read", "may not write")]
)
def test_a_token_that_does_not_do(hub: StandIn, tmp_path: Path, token: str, said: str) -> None:
    with pytest.raises(SaveFailed, match=said):
        RobertaConfig().save_pretrained(tmp_path / "new", push_to_hub=True, token=token)
    assert not (tmp_path / "new").exists()
    assert hub.pushes == []


def test_without_a_network(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens on the discard port
    with pytest.raises(SaveFailed) as caught:
        RobertaConfig().save_pretrained(tmp_path / "new", push_to_hub=True, token=TOKEN)
    text = str(caught.value)
    assert text.startswith("pushing to 'new' at http://127.0.0.1:9 failed: the Hub cannot be reached (")
    assert text.endswith("no file there was changed; check the connection.")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_by_the_environment(hub: StandIn, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SaveFailed, match="needs the Hub, which the environment forbids to ask"):
        RobertaConfig().push_to_hub("me/small", token=TOKEN)
    assert hub.requests == []


@pytest.mark.parametrize("broken", ["/commit/", "/preupload/", "/api/repos/create"])
def test_a_failure_on_the_way_changes_nothing(
    hub: StandIn, monkeypatch: pytest.MonkeyPatch, nowhere_else: Path, broken: str
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client's pauses between its attempts
    Parts(1).push_to_hub("me/model", token=TOKEN)
    before = hub.at("me/model")
    hub.failing.add(broken)
    with pytest.raises(SaveFailed, match=r"failed: HfHubHTTPError: something broke here; no file there was"):
        Parts(2).push_to_hub("me/model", token=TOKEN)
    assert hub.at("me/model") == before
    assert list(nowhere_else.iterdir()) == []


def test_arguments_that_are_none(hub: StandIn, tmp_path: Path) -> None:
    config = RobertaConfig()
    for arguments, said in [
        (
            {"repo_id": "me/x"},
            "argument 'repo_id' of save_pretrained; expected it together with push_to_hub=True",
        ),
        ({"commit": "x"}, "unknown argument 'commit' of save_pretrained"),
        ({"push_to_hub": True, "source": "x"}, "unknown argument 'source'"),
        ({"push_to_hub": True, "repo_id": "a/b/c"}, "repo_id='a/b/c'; expected 'name'"),
    ]:
        with pytest.raises(ArgumentError, match=said):
            config.save_pretrained(tmp_path / "new", **arguments)
    with pytest.raises(ArgumentError, match="unknown argument 'max_shard_size'"):
        config.push_to_hub("me/x", token=TOKEN, max_shard_size="1GB")
    with pytest.raises(ArgumentError, match="use_temp_dir=False"):
        config.push_to_hub("me/x", token=TOKEN, use_temp_dir=False)
    assert not (tmp_path / "new").exists()
    assert hub.pushes == []


def test_what_is_pushed_is_json_that_people_can_read(hub: StandIn) -> None:
    RobertaConfig(id2label={0: "straße", 1: "ok"}).push_to_hub("me/small", token=TOKEN)
    assert json.loads(hub.at("me/small")["config.json"])["id2label"] == {"0": "straße", "1": "ok"}


def test_a_model_is_pushed_with_its_card_and_comes_back(hub: StandIn) -> None:
    pytest.importorskip("torch")
    from robertakit.torch import RobertaForMaskedLM, RobertaForSequenceClassification

    sizes = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = RobertaForMaskedLM(RobertaConfig(**sizes, intermediate_size=16, max_position_embeddings=12))
    model.push_to_hub("me/model", token=TOKEN, max_shard_size="3KB")
    first = hub.at("me/model")
    assert len([name for name in first if name.startswith("model-")]) > 2
    card = first["README.md"].decode()
    assert "pipeline_tag: fill-mask" in card
    assert 'model = AutoModelForMaskedLM.from_pretrained("me/model")' in card
    assert f"| parameters | {model.num_parameters():,} |" in card
    again = RobertaForMaskedLM.from_pretrained("me/model")
    assert all(
        bool((one == other).all()) for one, other in zip(model.parameters(), again.parameters(), strict=True)
    )
    model.push_to_hub("me/model", token=TOKEN)  # one file in place of the shards
    assert set(hub.at("me/model")) == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    assert len(hub.pushes) == 2
    fetched = RobertaForSequenceClassification.from_pretrained("me/model")
    fetched.add_model_tags("ours")
    fetched.push_to_hub("me/classes", token=TOKEN, tags=["mine", "ours"])
    card = hub.at("me/classes")["README.md"].decode()
    assert "base_model: me/model" in card
    assert "- ours\n- mine\n" in card


def test_a_model_that_is_saved_is_pushed_with_what_was_saved(hub: StandIn, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from robertakit.torch import RobertaModel

    sizes = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = RobertaModel(RobertaConfig(**sizes), add_pooling_layer=False)
    names = model.save_pretrained(
        tmp_path / "kept", push_to_hub=True, repo_id="me/kept", token=TOKEN, variant="fp16"
    )
    assert hub.pushes[0]["added"] == sorted([*names, "README.md"])
    assert "model.fp16.safetensors" in names
    assert not (tmp_path / "kept" / "README.md").exists()
    assert "pooler" not in hub.at("me/kept")["README.md"].decode()
    with pytest.raises(SaveFailed, match="there is none"):
        model.save_pretrained(tmp_path / "new", push_to_hub=True, repo_id="me/kept")
    assert not (tmp_path / "new").exists()
