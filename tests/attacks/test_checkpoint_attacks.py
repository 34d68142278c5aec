"""Files that lie, swell or want to run code: each ends in a leaf of the error tree, cheaply, with nothing created.

Processor time is bounded, not the clock: two busy cores say nothing about the reader.
"""

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from robertakit import errors
from robertakit.checkpoints.safetensors import HEADER_LIMIT
from robertakit.files import JSON_LIMIT

Attack = Callable[[Path], None]
#: What a spoiled file may end in. Not TensorMismatch: that would mean that its contents were believed.
LEAVES = {"CorruptFile", "UnsupportedFormat", "NotFound"}
MOST_SECONDS = 1.0
MOST_KIB = 64 << 10
GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "checkpoints"
BROKEN = sorted(path.parent.name for path in (GOLDEN / "broken").glob("*/expect.json"))
SOUND_FOR_MASKED_LM = {"label_count"}  # its attack is an argument; see tests/checkpoints/test_loading.py


def hold(result, leaves: Iterable[str] = LEAVES) -> None:  # type: ignore[no-untyped-def]
    assert result.leaf in leaves, f"{result.leaf}: {result.text}"
    assert issubclass(getattr(errors, result.leaf), errors.RobertakitError)
    assert result.created == []
    assert result.seconds < MOST_SECONDS
    assert result.growth < MOST_KIB, f"{result.growth} KiB"
    assert len(result.text) < 2000


def test_a_sound_checkpoint_passes(attempt, victim: Path) -> None:  # type: ignore[no-untyped-def]
    assert attempt(victim).leaf == ""


@pytest.mark.parametrize("name", sorted(set(BROKEN) - SOUND_FOR_MASKED_LM))
def test_broken_golden_checkpoint(attempt, name: str) -> None:  # type: ignore[no-untyped-def]
    hold(attempt(GOLDEN / "broken" / name), {*LEAVES, "TensorMismatch", "ConfigError"})


# --- safetensors ---


def respell(folder: Path, change: Callable[[dict[str, dict[str, object]]], object]) -> None:
    """Rewrite the header of the victim's file; ``change`` edits it in place or returns another."""
    path = folder / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    other = change(header)
    text = other if isinstance(other, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def entry(**fields: object) -> Attack:
    return lambda folder: respell(folder, lambda header: header["lm_head.bias"].update(fields) or header)


def raw_header(text: bytes) -> Attack:
    return lambda folder: respell(folder, lambda header: text)


def bytes_of(data: bytes, name: str = "model.safetensors") -> Attack:
    return lambda folder: put(folder, name, data)


def put(folder: Path, name: str, data: bytes) -> None:
    (folder / "model.safetensors").unlink(missing_ok=True)
    (folder / name).write_bytes(data)


def special(make: Callable[[Path], object]) -> Attack:
    def attack(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        make(folder / "model.safetensors")

    return attack


def twice(folder: Path) -> None:
    respell(
        folder,
        lambda header: json.dumps(header).replace('"lm_head.bias"', '"lm_head.dense.bias"', 1).encode(),
    )


def append(folder: Path) -> None:
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"\0" * 64)


SAFETENSORS: dict[str, Attack] = {
    "overlap by one value": entry(data_offsets=[4, 48]),
    "negative offset": entry(data_offsets=[-44, 0]),
    "offsets backwards": entry(data_offsets=[44, 0]),
    "offsets beyond all": entry(data_offsets=[1 << 62, (1 << 62) + 44]),
    "offsets are floats": entry(data_offsets=[0.0, 44.0]),
    "offsets are a text": entry(data_offsets="ab"),
    "three offsets": entry(data_offsets=[0, 44, 44]),
    "shape of huge product": entry(shape=[1 << 31, 1 << 31, 1 << 31]),
    "shape of zero and huge": entry(
        shape=[0, (1 << 31) - 1, (1 << 31) - 1, (1 << 31) - 1], data_offsets=[0, 0]
    ),
    "shape of booleans": entry(shape=[True, 11]),
    "shape negative": entry(shape=[-1, -11]),
    "shape of fifty axes": entry(shape=[1] * 49 + [11]),
    "shape nested": entry(shape=[[11]]),
    "dtype a number": entry(dtype=7),
    "dtype of 8-bit floats": entry(dtype="F8_E4M3", data_offsets=[0, 11]),
    "dtype below a byte": entry(dtype="F4"),
    "entry is null": lambda folder: respell(folder, lambda header: header.update({"lm_head.bias": None})),
    "one name twice": twice,
    "name of a megabyte": lambda folder: respell(folder, lambda header: header.update({"x" * 2**20: {}})),
    "metadata of numbers": lambda folder: respell(
        folder, lambda header: header.update(__metadata__={"a": 1})
    ),
    "metadata a list": lambda folder: respell(folder, lambda header: header.update(__metadata__=[1])),
    "header a list": raw_header(b"[]"),
    "header a number": raw_header(b"1" * 5000),
    "header of empty tables": raw_header(b"[" + b"{}," * ((HEADER_LIMIT - 4) // 3) + b"0]"),
    "header of empty lists": raw_header(b'{"a":[' + b"[]," * ((HEADER_LIMIT - 16) // 3) + b"0]}"),
    "header nested a million deep": raw_header(b"[" * 10**6),
    "header of tables nested": raw_header(b'{"a":' * 300_000),
    "header in UTF-16": raw_header('{"a": 1}'.encode("utf-16")),
    "header beyond the bound": raw_header(b" " * (HEADER_LIMIT + 1)),
    "NaN for a number": raw_header(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}'),
    "bytes to spare": append,
    "seven bytes": bytes_of(b"\0" * 7),
    "length alone": bytes_of(b"\2\0\0\0\0\0\0\0"),
    "Git LFS pointer": bytes_of(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    "a page of HTML": bytes_of(b"<!DOCTYPE html><html>not found</html>"),
    "a pipe": special(os.mkfifo),
    "a folder": special(Path.mkdir),
    "an endless device": special(lambda path: path.symlink_to("/dev/zero")),
    "a link to itself": special(lambda path: path.symlink_to(path)),
    "a dangling link": special(lambda path: path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("name", SAFETENSORS)
def test_safetensors_attack(attempt, victim: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    SAFETENSORS[name](victim)
    hold(attempt(victim))


# --- an index ---


def index(content: object) -> bytes:
    return content if isinstance(content, bytes) else json.dumps(content).encode()


INDEXES: dict[str, object] = {
    "no map": {"metadata": {}},
    "map a list": {"weight_map": ["a"]},
    "map empty": {"weight_map": {}},
    "shard a number": {"weight_map": {"a": 1}},
    "shard empty": {"weight_map": {"a": ""}},
    "shard the folder": {"weight_map": {"a": "."}},
    "shard the parent": {"weight_map": {"a": ".."}},
    "shard below": {"weight_map": {"a": "b/../../c"}},
    "shard by backslash": {"weight_map": {"a": "..\\c"}},
    "shard by drive": {"weight_map": {"a": "C:c"}},
    "shard with a null": {"weight_map": {"a": "a\0b"}},
    "shard hidden": {"weight_map": {"a": ".netrc"}},
    "shard of a long name": {"weight_map": {"a": "a" * 5000}},
    "shard is the index": {"weight_map": {"a": "model.safetensors.index.json"}},
    "shard is the config": {"weight_map": {"a": "config.json"}},
    "shard lacks a tensor": {"weight_map": {"no.such.tensor": "part.safetensors"}},
    "shard holds more": {"weight_map": {"lm_head.bias": "part.safetensors"}},
    "fifty thousand shards": {"weight_map": {f"t{n}": f"s{n}" for n in range(50_000)}},
    "nested": b"[" * 10**6,
    "empty lists": b'{"weight_map": {"a": [' + b"[]," * (JSON_LIMIT // 3 - 20) + b"0]}}",
    "three megabytes": b" " * (3 << 20),
    "not UTF-8": b"\xff\xfe{}",
}


@pytest.mark.parametrize("name", INDEXES)
def test_index_attack(attempt, victim: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    (victim / "model.safetensors").rename(victim / "part.safetensors")
    (victim / "model.safetensors.index.json").write_bytes(index(INDEXES[name]))
    hold(attempt(victim))


# --- pickles ---


class Call:
    """Pickles as a call of anything by name."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.arguments


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def call(module: str, name: str, argument: bytes = b"X\x0b\0\0\0touch PWNED") -> bytes:
    return f"c{module}\n{name}\n".encode() + argument + b"\x85R"


def tensor(
    offset: bytes = b"K\0", shape: bytes = b"K\x0b\x85", strides: bytes = b"K\1\x85", size: bytes = b"K\x0b"
) -> bytes:
    """The opcodes of one tensor; storage 0 holds 11 float32."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + size + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + shape + strides + b"\x89}tR"


def state(value: bytes, key: bytes = text("lm_head.bias")) -> bytes:
    return b"\x80\x02}" + key + value + b"s."


def long(number: int) -> bytes:
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(data)) + data


def doubled(times: int) -> bytes:
    """A tuple of two of a tuple of two of ...: 2**times leaves, in a few bytes."""
    return b")" + b"2\x86".replace(b"2", b"q\0h\0") * times


MILLION_DIGITS = 1 << 3_300_000
PICKLES: dict[str, bytes] = {
    "os.system": state(call("posix", "system")),
    "os.system by stack": state(text("posix") + text("system") + b"\x93" + text("touch PWNED") + b"\x85R"),
    "eval": state(call("builtins", "eval", text("open('PWNED','w')"))),
    "torch.load": state(call("torch", "load")),
    "numpy's reconstruct": state(call("numpy.core.multiarray", "_reconstruct")),
    "a name through a tensor's module": state(call("torch._utils", "os.system")),
    "a storage is called": state(b"ctorch\nFloatStorage\n" + text("touch PWNED") + b"\x85R"),
    "an old instance": state(b"(" + text("touch PWNED") + b"iposix\nsystem\n"),
    "an old object": state(b"(cposix\nsystem\n" + text("touch PWNED") + b"o"),
    "a new object": state(b"cposix\nsystem\n" + text("touch PWNED") + b"\x85\x81"),
    "a new object with keywords": state(b"cposix\nsystem\n" + text("touch PWNED") + b"\x85}\x92"),
    "a state is set": state(b"ccollections\nOrderedDict\n)R" + b"]b"),
    "a parser": state(b"cargparse\nArgumentParser\n)\x81"),
    "a namespace is called": state(call("argparse", "Namespace")),
    "a namespace with arguments": state(b"cargparse\nNamespace\n" + text("touch PWNED") + b"\x85\x81"),
    "a namespace of slots": state(b"cargparse\nNamespace\n)\x81N}\x86b"),
    "a namespace of itself": state(b"cargparse\nNamespace\n)\x81q\0}" + text("a") + b"h\0sb"),
    "a namespace whose class is set": state(
        b"cargparse\nNamespace\n)\x81}" + text("__class__") + b"cposix\nsystem\nsb"
    ),
    "namespaces without end": b"\x80\x02" + b"cargparse\nNamespace\n)\x81" * 60_000 + b".",
    "a tuple as a name of a namespace": state(b"cargparse\nNamespace\n)\x81}" + doubled(60) + b"K\1sb"),
    "an extension": state(b"\x82\x01"),
    "a buffer from outside": state(b"\x97"),
    "a plain persistent id": state(b"Pposix system\n"),
    "a reference to something else": state(b"(" + text("module") + text("os") + b"tQ"),
    "attributes of a dictionary": state(b"}" + text("__class__") + b"cposix\nsystem\nsb"),
    "a tuple as a key": state(tensor(), key=doubled(60)),
    "a number of a million digits as a key": state(tensor(), key=long(MILLION_DIGITS)),
    "a million digits as text": state(b"L" + b"9" * 10**6 + b"L\n"),
    "shape of a million digits": state(tensor(shape=long(MILLION_DIGITS) + b"\x85")),
    "offset of a million digits": state(tensor(offset=long(MILLION_DIGITS))),
    "storage of a million digits": state(tensor(size=long(MILLION_DIGITS))),
    "negative offset": state(tensor(offset=b"J\xff\xff\xff\xff")),
    "negative shape": state(tensor(shape=b"J\xff\xff\xff\xff\x85")),
    "negative stride": state(tensor(strides=b"J\xff\xff\xff\xff\x85", offset=b"K\x0a")),
    "stride that repeats": state(tensor(shape=long(10**12) + b"\x85", strides=b"K\0\x85")),
    "stride beyond": state(tensor(strides=b"K\2\x85")),
    "strides too few": state(tensor(strides=b")")),
    "shape beyond": state(tensor(shape=b"K\x0c\x85")),
    "empty and huge": state(tensor(shape=b"K\0" + long(2**62) + b"\x86", strides=b"K\1K\1\x86")),
    "storage that lies": state(tensor(size=long(10**12))),
    "shape a list": state(tensor(shape=b"]")),
    "value no tensor": state(b"K\1"),
    "tensors further down": state(b"}" + text("a") + tensor() + b"s", key=text("state_dict")),
    "one name twice": b"\x80\x02}" + (text("a") + tensor() + b"s") * 2 + b".",
    "no dictionary": b"\x80\x02" + tensor() + b".",
    "a list of itself": b"\x80\x02]q\0h\0a.",
    "a dictionary of itself": b"\x80\x02}q\0" + text("a") + b"h\0s.",
    "nested 150,000 deep": b"\x80\x02)" + b"\x85" * 150_000 + b".",
    "half a million opcodes": b"\x80\x02" + b"N" * 500_000 + b".",
    "lists without end": b"\x80\x02" + b"](" * 90_000 + b".",
    "stack underflow": b"\x80\x02R.",
    "no mark": b"\x80\x02t.",
    "memo of nothing": b"\x80\x02h\7.",
    "no stop": b"\x80\x02N",
    "unknown opcode": b"\x80\x02\xff.",
    "text of two gigabytes": b"\x80\x02X\xff\xff\xff\x7f.",
    "bytes of exabytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".",
    "frame that lies": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.",
    "text that is not UTF-8": b"\x80\x02X\1\0\0\0\xff.",
    "nothing": b"",
    "Python's own": pickle.dumps(Call(os.system, "touch PWNED"), protocol=5),
}


def archive(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return buffer.getvalue()


def weights(pickled: bytes, **more: bytes) -> bytes:
    return archive(
        {"m/data.pkl": pickled, "m/byteorder": b"little", "m/data/0": b"\0" * 44, "m/version": b"3\n", **more}
    )


def old_format(pickled: bytes, keys: list[str] | None = None, tail: bytes = b"") -> bytes:
    head = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + pickle.dumps(1001, 2)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    return head + pickle.dumps(system, 2) + pickled + pickle.dumps(keys or [], 2) + tail


@pytest.mark.parametrize("form", ["zip", "old", "raw"])
@pytest.mark.parametrize("name", PICKLES)
def test_pickle_attack(attempt, victim: Path, name: str, form: str) -> None:  # type: ignore[no-untyped-def]
    pickled = PICKLES[name]
    tail = (11).to_bytes(8, "little") + b"\0" * 44
    forms = {"zip": weights(pickled), "old": old_format(pickled, ["0"], tail), "raw": pickled}
    put(victim, "pytorch_model.bin", forms[form])
    hold(attempt(victim))


# --- archives ---


def patched(data: bytes, old: bytes, at: int, new: bytes) -> bytes:
    """Overwrite bytes at a distance from the last occurrence of a signature."""
    place = data.rindex(old) + at
    return data[:place] + new + data[place + len(new) :]


SOUND_ZIP = weights(state(tensor()))
ARCHIVES: dict[str, bytes] = {
    "bomb in the pickle": archive({"m/data.pkl": b"N" * 10**8}, zipfile.ZIP_DEFLATED),
    "bomb in a storage": archive(
        {"m/data.pkl": state(tensor()), "m/data/0": b"\0" * 10**8}, zipfile.ZIP_DEFLATED
    ),
    "pickle of nine megabytes": archive({"m/data.pkl": b"N" * (9 << 20)}),
    "no pickle": archive({"m/data/0": b"\0" * 44}),
    "two pickles": archive({"a/data.pkl": state(tensor()), "b/data.pkl": state(tensor())}),
    "no storage": archive({"m/data.pkl": state(tensor())}),
    "storage of half a value": archive({"m/data.pkl": state(tensor()), "m/data/0": b"\0" * 43}),
    "storage too short": archive({"m/data.pkl": state(tensor()), "m/data/0": b"\0" * 40}),
    "big-endian": archive({"m/data.pkl": state(tensor()), "m/data/0": b"\0" * 44, "m/byteorder": b"big"}),
    "TorchScript": weights(state(tensor()), **{"m/constants.pkl": b"N."}),
    "cut": SOUND_ZIP[: len(SOUND_ZIP) // 2],
    "signature alone": b"PK\x03\x04",
    "more entries than there are": patched(SOUND_ZIP, b"PK\x05\x06", 10, b"\x10\x27"),
    "no entries": patched(SOUND_ZIP, b"PK\x05\x06", 10, b"\0\0"),
    "directory beyond the file": patched(SOUND_ZIP, b"PK\x05\x06", 16, b"\xff\xff\xff\x7f"),
    "directory of gigabytes": patched(SOUND_ZIP, b"PK\x05\x06", 12, b"\xff\xff\xff\x7f"),
    "entry beyond the file": patched(SOUND_ZIP, b"PK\x01\x02", 42, b"\xff\xff\xff\x7f"),
    "size beyond the file": patched(SOUND_ZIP, b"PK\x01\x02", 20, b"\xff\xff\xff\x7f" * 2),
    "size that differs": patched(SOUND_ZIP, b"PK\x01\x02", 24, b"\xff\xff\xff\x7f"),
    "encrypted": patched(SOUND_ZIP, b"PK\x01\x02", 8, b"\1\0"),
    "zip64 without its record": patched(SOUND_ZIP, b"PK\x01\x02", 42, b"\xff\xff\xff\xff"),
    "name beyond the directory": patched(SOUND_ZIP, b"PK\x01\x02", 28, b"\xff\xff"),
    "zip64 locator to nowhere": SOUND_ZIP[:-22] + b"PK\x06\x07" + b"\xff" * 16 + SOUND_ZIP[-22:],
    "compressed": zlib.compress(SOUND_ZIP),
}
OLD: dict[str, bytes] = {
    "storage that no tensor names": old_format(state(tensor()), ["0", "1"], b""),
    "storage twice": old_format(state(tensor()), ["0", "0"], ((11).to_bytes(8, "little") + b"\0" * 44) * 2),
    "storage missing": old_format(state(tensor()), [], b""),
    "storage cut": old_format(state(tensor()), ["0"], (11).to_bytes(8, "little") + b"\0" * 40),
    "negative number of values": old_format(state(tensor()), ["0"], b"\xff" * 8 + b"\0" * 44),
    "huge number of values": old_format(state(tensor()), ["0"], b"\xff" * 7 + b"\x7f" + b"\0" * 44),
    "keys of numbers": old_format(state(tensor()), [1], b""),  # type: ignore[list-item]
    "magic alone": old_format(b"")[:15],
    "another protocol": old_format(state(tensor())).replace(pickle.dumps(1001, 2), pickle.dumps(1002, 2), 1),
}


@pytest.mark.parametrize("form", ["zip", "old"])
@pytest.mark.parametrize("name", PICKLES)
def test_pickle_attack_in_the_settings_of_fairseq(attempt, tmp_path: Path, name: str, form: str) -> None:  # type: ignore[no-untyped-def]
    """The configuration is read from the same file: nothing else is there."""
    inner = PICKLES[name].removeprefix(b"\x80\x02").removesuffix(b".")
    pickled = b"\x80\x02}(" + text("args") + inner + text("model") + b"}" + text("a") + tensor() + b"su."
    tail = (11).to_bytes(8, "little") + b"\0" * 44
    (tmp_path / "fairseq").mkdir()
    forms = {"zip": weights(pickled), "old": old_format(pickled, ["0"], tail)}
    (tmp_path / "fairseq" / "model.pt").write_bytes(forms[form])
    hold(attempt(tmp_path / "fairseq"), {*LEAVES, "ConfigError"})


def duplicate_entries() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("m/data.pkl", state(tensor()))
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("m/data.pkl", state(tensor()))
    return buffer.getvalue()


@pytest.mark.parametrize("name", [*ARCHIVES, *OLD, "duplicate entries"])
def test_archive_attack(attempt, victim: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    data = duplicate_entries() if name == "duplicate entries" else (ARCHIVES | OLD)[name]
    put(victim, "pytorch_model.bin", data)
    hold(attempt(victim))


def test_the_sound_archives_of_this_file_are_sound(attempt, victim: Path) -> None:  # type: ignore[no-untyped-def]
    """Else the attacks above might be refused for a reason that has nothing to do with them."""
    axis_of_one = tensor(shape=b"K\1K\x0b\x86", strides=long(2**62) + b"K\1\x86")  # any stride will do there
    for data in (
        SOUND_ZIP,
        weights(state(axis_of_one)),
        old_format(state(tensor()), ["0"], (11).to_bytes(8, "little") + b"\0" * 44),
    ):
        put(victim, "pytorch_model.bin", data)
        result = attempt(victim)
        assert result.leaf == "TensorMismatch", result.text
        assert "unexpected" not in result.text


def test_trap_18_pickle_is_never_imported_by_the_reader() -> None:
    """Not even its machine is within reach: the readers import no pickle, shelve, marshal or torch."""
    source = Path(__file__).resolve().parents[2] / "src" / "robertakit"
    for path in (
        *source.glob("checkpoints/*.py"),
        *source.glob("archives/*.py"),
        source / "fairseq_settings.py",
    ):
        lines = [
            line.split() for line in path.read_text().splitlines() if line.startswith(("import ", "from "))
        ]
        assert not {"pickle", "torch", "marshal", "shelve", "dill", "importlib"} & {
            line[1] for line in lines
        }, path


def test_commit_note_of_a_stranger_cannot_leave_the_folder(attempt, victim: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    outside = tmp_path / "outside"
    outside.write_text("kept")
    for content in (
        {"files": [], "remove": ["../outside"]},
        {"files": ["../outside"], "remove": []},
        [1],
        {"files": 1},
    ):
        (victim / ".0123456789abcdef.robertakit-commit").write_text(json.dumps(content))
        hold(attempt(victim))
    assert outside.read_text() == "kept"
    assert (victim / "model.safetensors").exists()
