"""Weights of TensorFlow and Flax that lie, swell, or lead elsewhere: as in ``test_checkpoint_attacks.py``.

A mutated file may still be sound, or hold other names: it must not hang, grow, or end in anything but our errors.
"""

import os
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import msgpack
import numpy as np
import pytest

from robertakit import errors

LEAVES = {"CorruptFile", "UnsupportedFormat", "NotFound"}
MOST_SECONDS = 1.0
MOST_KIB = 64 << 10
GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "checkpoints"
MUTATIONS = 150


def hold(result, leaves: set[str] = LEAVES) -> None:  # type: ignore[no-untyped-def]
    assert result.leaf in leaves, f"{result.leaf}: {result.text}"
    assert not result.leaf or issubclass(getattr(errors, result.leaf), errors.RobertakitError)
    assert result.created == []
    assert result.seconds < MOST_SECONDS
    assert result.growth < MOST_KIB, f"{result.growth} KiB"
    assert len(result.text) < 2000


@pytest.fixture
def tensorflow(tmp_path: Path) -> Path:
    return copied("mlm_tf_h5", tmp_path / "tensorflow")


@pytest.fixture
def flax(tmp_path: Path) -> Path:
    return copied("mlm_flax_msgpack", tmp_path / "flax")


def copied(name: str, folder: Path) -> Path:
    """A sound checkpoint that a test then spoils."""
    folder.mkdir()
    for path in (GOLDEN / name).iterdir():
        shutil.copyfile(path, folder / path.name)
    return folder


def test_the_sound_ones_pass(attempt, tensorflow: Path, flax: Path) -> None:  # type: ignore[no-untyped-def]
    hold(attempt(tensorflow), {""})
    hold(attempt(flax), {""})


# --- HDF5 ---

EMBEDDING = "roberta/tf_roberta_for_masked_lm/roberta/embeddings/word_embeddings/weight:0"


def edited(change: Callable[[h5py.File], object]) -> Callable[[Path], None]:
    def attack(folder: Path) -> None:
        with h5py.File(folder / "tf_model.h5", "r+") as file:
            change(file)

    return attack


def replaced(**arguments: object) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        del file[EMBEDDING]
        file.create_dataset(EMBEDDING, **arguments)

    return edited(change)


def linked(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def attack(folder: Path) -> None:
        target = make(folder)
        with h5py.File(folder / "tf_model.h5", "r+") as file:
            del file[EMBEDDING]
            file[EMBEDDING] = target

    return attack


def to_a_pipe(folder: Path) -> h5py.ExternalLink:
    """Whoever follows it waits for ever."""
    os.mkfifo(folder / "pipe.h5")
    return h5py.ExternalLink(str(folder / "pipe.h5"), "/a")


def to_a_sound_file(folder: Path) -> h5py.ExternalLink:
    shutil.copyfile(GOLDEN / "mlm_tf_h5" / "tf_model.h5", folder.parent / "outside.h5")
    return h5py.ExternalLink("../outside.h5", EMBEDDING)


def virtual(folder: Path) -> None:
    os.mkfifo(folder / "pipe.h5")
    layout = h5py.VirtualLayout((99, 32), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "pipe.h5"), "a", (99, 32))
    with h5py.File(folder / "tf_model.h5", "r+") as file:
        del file[EMBEDDING]
        file.create_virtual_dataset(EMBEDDING, layout)


def external(folder: Path) -> None:
    (folder / "raw").write_bytes(bytes(4 * 99 * 32))
    with h5py.File(folder / "tf_model.h5", "r+") as file:
        del file[EMBEDDING]
        file.create_dataset(
            EMBEDDING, (99, 32), "f4", external=[(str(folder / "raw"), 0, h5py.h5f.UNLIMITED)]
        )


def cycle(file: h5py.File) -> None:
    file["roberta/self"] = file["roberta"]


def tree_of_links(file: h5py.File) -> None:
    """Two names for each group below: 2^60 paths."""
    group = file.create_group("a")
    for _ in range(60):
        below = group.create_group("b")
        group["c"] = below
        group = below


def deep(file: h5py.File) -> None:
    group = file
    for _ in range(300):
        group = group.create_group("a")


def crowd(file: h5py.File) -> None:
    names = file.create_group("crowd")
    for number in range(11_000):
        h5py.h5o.link(file[EMBEDDING].id, names.id, str(number).encode())


def same_place(file: h5py.File) -> None:
    file["again"] = file[EMBEDDING]


def unknown_filter(folder: Path) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((99, 32))
    plan.set_filter(32_000, h5py.h5z.FLAG_OPTIONAL, (1,))
    with h5py.File(folder / "tf_model.h5", "r+") as file:
        del file[EMBEDDING]
        parent = file[EMBEDDING.rpartition("/")[0]]
        space = h5py.h5s.create_simple((99, 32))
        h5py.h5d.create(parent.id, b"weight:0", h5py.h5t.IEEE_F32LE, space, plan)


def patched(find: bytes, put: bytes, occurrence: int = 0) -> Callable[[Path], None]:
    def attack(folder: Path) -> None:
        path = folder / "tf_model.h5"
        data = path.read_bytes()
        place = -1
        for _ in range(occurrence + 1):
            place = data.index(find, place + 1)
        path.write_bytes(data[:place] + put + data[place + len(find) :])

    return attack


def cut(length: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / "tf_model.h5", length)


def moved_layout(offset: int | None = None, length: int | None = None) -> Callable[[Path], None]:
    """Let the header of the word embeddings say other bytes: where they begin, or how many they are."""

    def attack(folder: Path) -> None:
        path = folder / "tf_model.h5"
        with h5py.File(path) as file:
            dataset = file[EMBEDDING].id
            old = struct.pack("<QQ", dataset.get_offset(), dataset.get_storage_size())
        data = path.read_bytes()
        assert data.count(old) == 1
        first, size = struct.unpack("<QQ", old)
        new = struct.pack("<QQ", first if offset is None else offset, size if length is None else length)
        path.write_bytes(data.replace(old, new))

    return attack


#: The sizes of a dataspace in a header; behind them stand their bounds, which are the same.
SHAPE = struct.pack("<QQ", 99, 32)
HDF5: dict[str, Callable[[Path], None]] = {
    "soft link": linked(lambda folder: h5py.SoftLink(f"/lm_head/{EMBEDDING.partition('/')[2]}")),
    "soft link to nowhere": linked(lambda folder: h5py.SoftLink("/nowhere")),
    "soft link to itself": linked(lambda folder: h5py.SoftLink(f"/{EMBEDDING}")),
    "external link to a pipe": linked(to_a_pipe),
    "external link to a sound file": linked(to_a_sound_file),
    "virtual dataset": virtual,
    "external storage": external,
    "chunks": replaced(data=np.zeros((99, 32), "f4"), chunks=(9, 8)),
    "chunks of terabytes": replaced(shape=(1 << 30, 1 << 10), dtype="f4", chunks=(1 << 15, 1 << 10)),
    "bomb of gzip": replaced(
        shape=(1 << 26,), dtype="f4", chunks=(1 << 20,), compression="gzip", fillvalue=0
    ),
    "written bomb of gzip": replaced(data=np.zeros(1 << 22, "f4"), chunks=(1 << 22,), compression="gzip"),
    "filter of h5py": replaced(data=np.zeros((99, 32), "f4"), compression="lzf"),
    "checksum": replaced(data=np.zeros((99, 32), "f4"), fletcher32=True),
    "filter of a plugin": unknown_filter,
    "shape of petabytes, no bytes": replaced(shape=(1 << 40, 1 << 10), dtype="f4"),
    "shape beyond 64 bits": patched(2 * SHAPE, 2 * struct.pack("<QQ", 1 << 62, 1 << 62)),
    "shape larger than its bytes": patched(2 * SHAPE, 2 * struct.pack("<QQ", 100, 32)),
    "shape smaller than its bytes": patched(2 * SHAPE, 2 * struct.pack("<QQ", 98, 32)),
    "shape larger than its bound": patched(SHAPE, struct.pack("<QQ", 100, 32)),
    "shape of zero": patched(2 * SHAPE, 2 * struct.pack("<QQ", 0, 32)),
    "bytes beyond the file": moved_layout(offset=1 << 40),
    "bytes at no address": moved_layout(offset=(1 << 64) - 1),
    "bytes of another tensor": edited(same_place),
    "more bytes than values": moved_layout(length=1 << 40),
    "fewer bytes than values": moved_layout(length=4),
    "group within itself": edited(cycle),
    "tree of links": edited(tree_of_links),
    "three hundred deep": edited(deep),
    "eleven thousand names": edited(crowd),
    "named type": edited(lambda file: file.__setitem__("kind", np.dtype("f4"))),
    "compound values": replaced(data=np.zeros(3, [("a", "f4"), ("b", "f4")])),
    "texts of any length": replaced(data=["a", "bb"], dtype=h5py.string_dtype()),
    "references": replaced(shape=(3,), dtype=h5py.ref_dtype),
    "big-endian values": replaced(data=np.zeros((99, 32), ">f4")),
    "name of five thousand bytes": edited(lambda file: file.__setitem__("x" * 5000, 1.0)),
    "name that is not UTF-8": edited(lambda file: h5py.h5g.create(file.id, b"\xff\xfe")),
    "other values under the same name": edited(
        lambda file: file[f"lm_head/{EMBEDDING.partition('/')[2]}"].__setitem__(0, 7)
    ),
    "signature alone": cut(8),
    "header alone": cut(96),
    "half": cut(80_000),
    "all but a byte": cut(171_519),
    "root elsewhere": patched(b"TREE", b"FREE"),
    "names elsewhere": patched(b"HEAP", b"LEAP"),
    "no symbols": patched(b"SNOD", b"SNOW"),
    "symbols without end": patched(b"SNOD\x01\x00\x03\x00", b"SNOD\x01\x00\xff\xff"),
}


def small(root: bytes, tail: bytes) -> bytes:
    """A file of its own: a superblock, the root's header at 96 with the given messages, and what follows."""
    size = 96 + 16 + len(root) + len(tail)
    start = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + struct.pack("<HHI", 4, 16, 0)
    entry = struct.pack("<QQII16x", 0, 96, 0, 0)
    superblock = start + struct.pack("<4Q", 0, 2**64 - 1, size, 2**64 - 1) + entry
    assert len(superblock) == 96
    return superblock + struct.pack("<BxHII4x", 1, 1, 1, len(root)) + root + tail


def symbols(tree: int, heap: int) -> bytes:
    return struct.pack("<HHB3xQQ", 0x11, 16, 0, tree, heap)


#: Where what follows the root's header begins, if it has one message of 24 bytes.
TAIL = 96 + 16 + 24


def heap(names: bytes) -> bytes:
    return b"HEAP" + struct.pack("<B3x3Q", 0, len(names), 2**64 - 1, TAIL + 32) + names


def trees(number: int) -> bytes:
    """Nodes that lie over each other: each has 65,535 children, and the next node is the first of them."""
    names = heap(b"a\0")
    first = TAIL + len(names)
    nodes = b"".join(
        b"TREE" + struct.pack("<BBHQQQQ", 0, 1, 65535, 0, 0, 0, first + 40 * (each + 1))
        for each in range(number)
    )
    return small(symbols(first, TAIL), names + nodes + bytes(16 * 65536))


def tables(number: int) -> bytes:
    """Tables of symbols that lie over each other."""
    names = heap(b"a\0")
    first = TAIL + len(names)
    body = first + 32 + 16 * number
    tree = b"TREE" + struct.pack("<BBHQQ", 0, 0, number, 0, 0)
    tree += b"".join(struct.pack("<QQ", 0, body + 8 * each) for each in range(number)) + bytes(8)
    table = b"SNOD" + struct.pack("<BxH", 1, 65535)
    return small(symbols(first, TAIL), names + tree + table * number + bytes(40 * 65536))


def names_over_names() -> bytes:
    names = heap(b"a" * 60_000 + b"\0" * 8)
    first = TAIL + len(names)
    tree = b"TREE" + struct.pack("<BBHQQQQQ", 0, 0, 1, 0, 0, 0, first + 48, 0)
    entries = b"".join(struct.pack("<QQII16x", 59_800 - each % 50, 0, 0, 0) for each in range(60_000))
    return small(symbols(first, TAIL), names + tree + b"SNOD" + struct.pack("<BxH", 1, 60_000) + entries)


def continued(number: int) -> bytes:
    """Messages that say that more of them lie elsewhere, a step of eight bytes further each time."""
    more = struct.pack("<HHB3x", 0x10, 16, 0)
    return small(more + struct.pack("<QQ", TAIL, 24), b"".join(
        more + struct.pack("<QQ", TAIL + 24 * (each + 1), 24) for each in range(number)
    ))  # fmt: skip


STEPS = "more than 100,000 nodes, names and messages"
SOUND = small(b"", b"")
CRAFTED: dict[str, tuple[Callable[[], bytes], str]] = {
    "trees over trees": (lambda: trees(20_000), STEPS),
    "tables over tables": (lambda: tables(20_000), "outside its heap"),
    "names over names": (names_over_names, STEPS),
    "a header of nothing": (lambda: small(b"\0" * (8 << 20), b""), STEPS),
    "a header that goes on for ever": (lambda: continued(200_000), STEPS),
    "a header that goes on in itself": (
        lambda: small(struct.pack("<HHB3xQQ", 0x10, 16, 0, 112, 24), b""),
        "byte 112 twice",
    ),
    "a header beyond the file": (
        lambda: small(struct.pack("<HHB3xQQ", 0x10, 16, 0, 2**63, 2**63), b""),
        "no header at byte 9,223,372,036,854,775,808",
    ),
    "a message that leaves its header": (
        lambda: small(struct.pack("<HHB3xQQ", 0x11, 24, 0, 0, 0), b""),
        "whose messages leave it",
    ),
    "a root of no group": (lambda: small(struct.pack("<HHB3xQQ", 0, 16, 0, 0, 0), b""), "no HEAP"),
    "a tree at the end of addresses": (lambda: small(symbols(2**64 - 4, TAIL), heap(b"a\0")), "no TREE"),
    "a heap at the end of addresses": (lambda: small(symbols(TAIL, 2**64 - 4), b"TREE"), "no HEAP"),
    "a heap of all memory": (
        lambda: small(symbols(TAIL, TAIL), b"HEAP" + struct.pack("<B3x3Q", 0, 2**62, 2**64 - 1, 0)),
        "names of 4,611,686,018,427,387,904 bytes",
    ),
    "a tree of chunks": (
        lambda: small(symbols(TAIL + 34, TAIL), heap(b"a\0") + b"TREE\1" + bytes(60)),
        "a tree of chunks",
    ),
    "a base elsewhere": (
        lambda: SOUND.replace(struct.pack("<QQ", 0, 2**64 - 1), struct.pack("<QQ", 8, 0), 1),
        "begins behind its beginning",
    ),
    "offsets of four bytes": (lambda: SOUND[:13] + b"\4" + SOUND[14:], "with addresses of 4 bytes"),
    "superblock of the newest form": (lambda: SOUND[:8] + b"\3" + SOUND[9:], "superblock version 3"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_hdf5(attempt, tensorflow: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    make, words = CRAFTED[name]
    (tensorflow / "tf_model.h5").write_bytes(make())
    result = attempt(tensorflow)
    hold(result)
    assert words in result.text


def test_a_crafted_file_is_refused_for_what_was_done_to_it(attempt, tensorflow: Path) -> None:  # type: ignore[no-untyped-def]
    """What the crafted files begin with is sound: a group without members, which lacks all tensors."""
    names = heap(b"a\0")
    empty = b"TREE" + struct.pack("<BBHQQQ", 0, 0, 0, 0, 0, 0)
    (tensorflow / "tf_model.h5").write_bytes(small(symbols(TAIL + len(names), TAIL), names + empty))
    result = attempt(tensorflow)
    assert (result.leaf, "it stores" in result.text or "missing" in result.text) == ("TensorMismatch", True)


@pytest.mark.parametrize("name", HDF5)
def test_hdf5_attack(attempt, tensorflow: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    HDF5[name](tensorflow)
    hold(attempt(tensorflow))


def bytes_of_the_directory(path: Path) -> list[int]:
    """Places in an HDF5 file that hold no values: what is mutated there is structure."""
    free = np.ones(path.stat().st_size, bool)

    def note(name: str, thing: object) -> None:
        if isinstance(thing, h5py.Dataset) and thing.id.get_offset() is not None:
            free[thing.id.get_offset() : thing.id.get_offset() + thing.id.get_storage_size()] = False

    with h5py.File(path) as file:
        file.visititems(note)
    return [int(place) for place in np.flatnonzero(free)]


def mutants(data: bytes, places: list[int], seed: int) -> Iterator[bytes]:
    """Files with a few bytes drawn anew, set, or copied from elsewhere in the structure; some cut."""
    draw = random.Random(seed)
    for _ in range(MUTATIONS):
        mutant = bytearray(data)
        for _ in range(draw.choice([1, 1, 2, 4, 8])):
            place, other = draw.choice(places), draw.choice(places)
            way = draw.random()
            if way < 0.4:
                mutant[place] = draw.randrange(256)
            elif way < 0.7:
                width = draw.choice([1, 2, 4, 8])
                mutant[place : place + width] = b"\xff" * width
            else:
                mutant[place : place + 8] = data[other : other + 8]
        yield bytes(mutant[: draw.randrange(len(data)) if draw.random() < 0.1 else len(data)])


def test_mutated_hdf5(attempt, tensorflow: Path) -> None:  # type: ignore[no-untyped-def]
    path = tensorflow / "tf_model.h5"
    places = bytes_of_the_directory(path)
    leaves = set()
    for mutant in mutants(path.read_bytes(), places, seed=5):
        path.write_bytes(mutant)
        result = attempt(tensorflow)
        hold(result, {*LEAVES, "", "TensorMismatch"})
        leaves.add(result.leaf)
    assert leaves >= {"", "CorruptFile"}, "else nothing was tried"


# --- msgpack ---


def array(shape: object, dtype: object = "float32", values: bytes = b"") -> bytes:
    return msgpack.packb(msgpack.ExtType(1, msgpack.packb([shape, dtype, values], use_bin_type=True)))


def one(value: bytes) -> bytes:
    """A file with one entry."""
    return b"\x81\xa1a" + value


def pieces(number: int, shape: dict[str, object]) -> bytes:
    chunk = array([0])
    table = b"\xdf" + struct.pack(">I", number)
    table += b"".join(msgpack.packb(str(each)) + chunk for each in range(number))
    start = b"\x83" + msgpack.packb("__msgpack_chunked_array__") + b"\xc3"
    return one(start + msgpack.packb("shape") + msgpack.packb(shape) + msgpack.packb("chunks") + table)


MSGPACK: dict[str, bytes] = {
    "maps a million deep": one(b"\x81\xa1a" * 10**6),
    "lists a million deep": one(b"\x91" * 10**6),
    "map of four billion": b"\xdf\xff\xff\xff\xff\xa1a\xc0",
    "list of four billion": one(b"\xdd\xff\xff\xff\xff\xc0"),
    "bytes of four gigabytes": one(b"\xc6\xff\xff\xff\xff"),
    "text of four gigabytes": one(b"\xdb\xff\xff\xff\xff"),
    "extension of four gigabytes": one(b"\xc9\xff\xff\xff\xff\x01"),
    "key of two megabytes": b"\x81\xdb" + struct.pack(">I", 2 << 20) + b"a" * (2 << 20) + b"\xc0",
    "ten million nothings": one(b"\xdd" + struct.pack(">I", 10**7) + b"\xc0" * 10**7),
    "a million entries": b"\xdf" + struct.pack(">I", 10**6) + b"".join(
        b"\xce" + struct.pack(">I", number) + b"\xc0" for number in range(10**6)
    ),
    "a million names": b"\xdf" + struct.pack(">I", 10**6) + b"".join(
        b"\xa6%06d\x90" % number for number in range(10**6)
    ),
    "keys of numbers": b"\x81\x01" + array([0]),
    "a key that is a map": b"\x81\x80\xc0",
    "one name twice": b"\x82" + (b"\xa1a" + array([1], "float32", b"\0" * 4)) * 2,
    "name that is not UTF-8": b"\x81\xa1\xff\xc0",
    "a byte that begins nothing": one(b"\xc1"),
    "a date": one(b"\xd6\xff\0\0\0\0"),
    "code of another kind": one(msgpack.packb(msgpack.ExtType(7, b"os.system"))),
    "complex number": one(msgpack.packb(msgpack.ExtType(2, msgpack.packb((1.0, 2.0))))),
    "array without bytes": one(array([1 << 40])),
    "array of zero times huge": one(array([0, 1 << 62, 1 << 62])),
    "array of huge product": one(array([1 << 32, 1 << 32], "float32", b"\0" * 8)),
    "array of a negative size": one(array([-1, -1], "float32", b"\0" * 4)),
    "array of a fractional size": one(array([1.0], "float32", b"\0" * 4)),
    "array of fifty axes": one(array([1] * 50, "float32", b"\0" * 4)),
    "array of a million axes": one(array([1] * 10**6, "float32", b"\0" * 4)),
    "array with bytes to spare": one(array([1], "float32", b"\0" * 8)),
    "array of objects": one(array([1], "object", b"\0" * 8)),
    "array of a structure": one(array([1], "[('a', 'O')]", b"\0" * 8)),
    "array of 8-bit floats": one(array([1], "float8_e5m2", b"\0")),
    "array whose dtype is a number": one(array([1], 4, b"\0" * 4)),
    "array whose bytes are a list": one(msgpack.packb(msgpack.ExtType(1, msgpack.packb([[1], "float32", [0] * 4])))),
    "array that leaves its extension": one(b"\xc7\x08\x01" + b"\x93\x91\x01\xa7float32\xc4\x04\0\0\0\0"),
    "array within an array": one(msgpack.packb(msgpack.ExtType(1, array([1])))),
    "pieces without end": pieces(60_000, {"0": 1 << 40}),
    "pieces of a huge shape": pieces(1, {"0": 1 << 47}),
    "pieces without a shape": one(b"\x81" + msgpack.packb("__msgpack_chunked_array__") + b"\xc3"),
    "pieces that are one value": one(msgpack.packb({"__msgpack_chunked_array__": True, "shape": {}, "chunks": 1})),
    "bytes to spare": msgpack.packb({}) + b"\0" * 100,
    "two maps": b"\x81\xa1a" + array([0]) + b"\x80",
    "a list": b"\x91\x80",
    "nothing but a map's beginning": b"\xde",
    "a page of HTML": b"<!DOCTYPE html><html>not found</html>",
    "a pickle": b"\x80\x02cposix\nsystem\nX\x0b\0\0\0touch PWNED\x85R.",
    "empty": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", MSGPACK)
def test_msgpack_attack(attempt, flax: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    (flax / "flax_model.msgpack").write_bytes(MSGPACK[name])
    hold(attempt(flax))


def test_cut_msgpack(attempt, flax: Path) -> None:  # type: ignore[no-untyped-def]
    path = flax / "flax_model.msgpack"
    data = path.read_bytes()
    for length in range(1, len(data), len(data) // 60):
        path.write_bytes(data[:length])
        hold(attempt(flax))


def test_mutated_msgpack(attempt, flax: Path) -> None:  # type: ignore[no-untyped-def]
    path = flax / "flax_model.msgpack"
    data = path.read_bytes()
    near = [
        place
        for at in range(len(data))
        if data.startswith(b"float32", at)
        for place in range(at - 40, at + 10)
    ]
    leaves = set()
    for mutant in mutants(data, [place for place in near if place >= 0], seed=6):
        path.write_bytes(mutant)
        result = attempt(flax)
        hold(result, {*LEAVES, "", "TensorMismatch"})
        leaves.add(result.leaf)
    assert leaves >= {"", "CorruptFile"}, "else nothing was tried"


# --- shards ---


@pytest.mark.parametrize("name", ["tf_masked_lm_sharded", "flax_masked_lm_sharded"])
@pytest.mark.parametrize("place", ["../outside", "/etc/hostname", ".hidden", "a/b"])
def test_index_that_leads_outside(attempt, tmp_path: Path, name: str, place: str) -> None:  # type: ignore[no-untyped-def]
    folder = copied(f"../frameworks/{name}", tmp_path / "sharded")
    (index,) = folder.glob("*.index.json")
    (shard, *_) = sorted(path.name for path in folder.glob("*0001*"))
    index.write_text(index.read_text().replace(shard, place))
    hold(attempt(folder), {"CorruptFile"})
