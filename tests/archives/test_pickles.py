"""The closed pickle machine: what it builds, and that its list of names is the whole list."""

import argparse
import pickle
import pickletools
from collections import OrderedDict
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.archives import pickles
from robertakit.archives.pickles import Namespace, read_pickle
from robertakit.errors import CorruptFile

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(value=PLAIN, protocol=st.integers(2, 5))
def test_plain_data_comes_back_and_its_end_is_known(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    found = read_pickle(data + b"more", "a")
    assert (found.value, found.length, found.storages) == (value, len(data), {})


@given(data=st.binary(max_size=200))
def test_any_bytes_end_in_an_error_of_ours_or_in_plain_data(data: bytes) -> None:
    try:
        found = read_pickle(data, "a")
    except CorruptFile:
        return
    assert found.length <= len(data)
    plain = type(None) | bool | int | float | str | bytes | list | tuple | dict
    assert isinstance(found.value, plain | Namespace | pickles._Name | pickles._Dtype)


OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]


@given(
    pieces=st.lists(
        st.sampled_from([*OPCODES, b"K\1", b"X\1\0\0\0a", b"ctorch\nSize\n", b"ccollections\nOrderedDict\n"])
    )
)
def test_any_opcodes_end_in_an_error_of_ours_or_in_plain_data(pieces: list[bytes]) -> None:
    with suppress(CorruptFile):
        read_pickle(b"\x80\x02" + b"".join(pieces) + b".", "a")


def test_ordered_dictionaries_of_both_pythons() -> None:
    assert read_pickle(pickle.dumps(OrderedDict(a=1), 2), "a").value == {"a": 1}
    of_python_2 = b"\x80\x02ccollections\nOrderedDict\n(](X\1\0\0\0aK\1eatR."  # the items as a list of lists
    assert read_pickle(of_python_2.replace(b"](X", b"]](X"), "a").value == {"a": 1}


def test_trap_18_nothing_but_tensors_can_be_named() -> None:
    """The list of functions is closed, and each is one of this module's own."""
    assert {str(name) for name in pickles._FUNCTIONS} == {
        "collections.OrderedDict",
        "torch.Size",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch._utils._rebuild_parameter",
    }
    assert {function.__module__ for function in pickles._FUNCTIONS.values()} == {
        "robertakit.archives.pickles"
    }


@pytest.mark.parametrize(
    "thing",
    [print, OrderedDict, ValueError, object(), {-1: 2}, {True: 2}, {2**63: 1}, {("a",): 1}, {1, 2}, 1j],
)
def test_everything_else_is_refused(thing: object) -> None:
    data = pickle.dumps({"a": thing}, 4)
    if thing is OrderedDict:  # named and not called: inert, and no tensor
        assert str(read_pickle(data, "a").value["a"]) == "collections.OrderedDict"  # type: ignore[index]
        return
    with pytest.raises(
        CorruptFile, match=r"^a: .*robertakit reads tensors and settings only and has run nothing"
    ):
        read_pickle(data, "a")


def test_a_namespace_is_a_table() -> None:
    value = argparse.Namespace(a=1, b=[argparse.Namespace(), {"c": (None, 0.5)}], d={7: "seven"})
    found = read_pickle(pickle.dumps(value, 2), "a").value
    assert found == Namespace({"a": 1, "b": [Namespace({}), {"c": (None, 0.5)}], "d": {7: "seven"}})


@pytest.mark.parametrize(
    ("opcodes", "words"),
    [
        (b"cargparse\nNamespace\nK\1\x85\x81", "it makes an object"),
        (b"cargparse\nNamespace\n)\x81]b", "it builds an object"),
        (b"cargparse\nNamespace\n)\x81}K\1\x86b", "it builds an object"),
        (b"cargparse\nNamespace\n)\x81}K\xffJ\xff\xff\xff\xffsb", None),
        (b"cargparse\nNamespace\n)R", "it calls something that is no function of tensors"),
        (b"cargparse\nArgumentParser\n)\x81", "it asks for argparse.ArgumentParser"),
        (b"ccollections\nOrderedDict\n)\x81", "it makes an object"),
        (b"ctorch\nFloatStorage\n)\x81", "it makes an object"),
        (b"cargparse\nNamespace\n)\x81}(X\1\0\0\0aK\1ub}(X\1\0\0\0aK\2ub", "one name twice"),
    ],
)
def test_nothing_but_an_empty_namespace_is_made(opcodes: bytes, words: str | None) -> None:
    data = b"\x80\x02" + opcodes + b"."
    if words is None:
        assert read_pickle(data, "a").value == Namespace({255: -1})
        return
    with pytest.raises(CorruptFile, match=words):
        read_pickle(data, "a")
