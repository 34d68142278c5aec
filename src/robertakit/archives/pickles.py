"""A closed reader of the pickles in PyTorch's weight files. It can build descriptions of tensors and plain data.

``pickle`` is not used: its machine looks names up and calls what it finds. This one knows the opcodes that
``torch.save`` writes and about ten names, each with a function of its own here; any other name or opcode ends
the reading. ``argparse.Namespace``, in which fairseq keeps settings, is one of them: a table of names and values.
Opcodes are cut by the standard library's ``pickletools.genops``, which decodes and runs nothing.
"""

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from robertakit.errors import CorruptFile

__all__ = ["BYTES_LIMIT", "Namespace", "Pickle", "StorageReference", "TensorReference", "read_pickle"]

#: Most bytes of one pickle, and most opcodes. RoBERTa-large's state dict has 70 kB and 17,000.
BYTES_LIMIT = 1 << 23
_MOST_OPCODES = 200_000
_HINT = "do not trust this file; robertakit reads tensors and settings only and has run nothing of it"


@dataclass(frozen=True, slots=True)
class StorageReference:
    """What a pickle says about a storage: its key in the file, dtype, number of values, and bytes.

    Dtypes have safetensors' names. The dtype is the one that tensors see; an untyped storage is bytes beneath.
    """

    key: str
    dtype: str
    size: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class TensorReference:
    """What a pickle says about a tensor: a view of a storage, in values."""

    storage: StorageReference
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Namespace:
    """Settings as fairseq saves them: what was an ``argparse.Namespace``, as a table of names and values."""

    fields: dict[object, object]


@dataclass(frozen=True, slots=True)
class Pickle:
    """What one pickle says.

    Attributes:
        value: dictionaries, lists, tuples, numbers, texts, ``TensorReference`` and ``Namespace``.
        length: bytes of the pickle.
        storages: the storages that it names, by key.
    """

    value: object
    length: int
    storages: dict[str, StorageReference]


@dataclass(frozen=True, slots=True)
class _Name:
    """A global that a pickle names. It is a text, never the thing."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"[:100]


@dataclass(frozen=True, slots=True)
class _Dtype:
    name: str


class _Refused(Exception):
    """A pickle that this machine does not take; becomes a CorruptFile that names the file."""


#: Name of a storage class -> dtype. Another list than that of dtypes: these are the classes of PyTorch 0.4 to 2.
_STORAGES: Final = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "UntypedStorage": "U8",
}
_DTYPES: Final = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
#: Bytes of a value of a storage class.
_ITEM_SIZES: Final = {
    "F64": 8,
    "I64": 8,
    "F32": 4,
    "I32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}


def _count(value: object) -> int:
    """A number of values. It has 63 bits: arithmetic on longer ones would take as long as a pickle likes."""
    if type(value) is int and 0 <= value < 1 << 63:
        return value
    raise _Refused("a size, offset or stride that is no natural number")


def _counts(value: object) -> tuple[int, ...]:
    if isinstance(value, tuple) and len(value) <= 8:
        return tuple(map(_count, value))
    raise _Refused("a shape that is no tuple of numbers")


def _tensor(arguments: tuple[object, ...]) -> TensorReference:
    """``_rebuild_tensor(storage, offset, shape, strides, ...)``; what follows says nothing about the values."""
    if len(arguments) < 4:
        raise _Refused("a tensor without storage, offset, shape and strides")
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, StorageReference):
        raise _Refused("a tensor without a storage")
    sizes, steps = _counts(shape), _counts(strides)
    if len(sizes) != len(steps):
        raise _Refused("a tensor whose shape and strides disagree")
    return TensorReference(storage, _count(offset), sizes, steps)


def _typed_tensor(arguments: tuple[object, ...]) -> TensorReference:
    """``_rebuild_tensor_v3(..., dtype, metadata)``: the storage is untyped bytes, the view counts values."""
    if len(arguments) < 7 or not isinstance(arguments[6], _Dtype):
        raise _Refused("a tensor without a dtype")
    plain = _tensor(arguments)
    storage = replace(plain.storage, dtype=arguments[6].name)
    return TensorReference(storage, plain.offset, plain.shape, plain.strides)


def _parameter(arguments: tuple[object, ...]) -> TensorReference:
    if not arguments or not isinstance(arguments[0], TensorReference):
        raise _Refused("a parameter without a tensor")
    return arguments[0]


def _ordered_dict(arguments: tuple[object, ...]) -> dict[object, object]:
    table: dict[object, object] = {}
    items = arguments[0] if arguments else []
    for item in items if isinstance(items, list) else [None]:  # Python 2 gave the items as a list of pairs
        if not isinstance(item, list | tuple) or len(item) != 2:
            raise _Refused("a dictionary of something other than pairs")
        _put(table, item[0], item[1])
    return table


def _size(arguments: tuple[object, ...]) -> tuple[int, ...]:
    return _counts(arguments[0] if arguments else None)


def _put(table: dict[object, object], key: object, value: object) -> None:
    """Names and counts only: a nested tuple, or a number of a million digits, could be hashed for years."""
    if not (isinstance(key, str) or (type(key) is int and 0 <= key < 1 << 63)) or key in table:
        raise _Refused("a dictionary whose keys are no names, or one name twice")
    table[key] = value


#: Named in the settings of fairseq's files. It is made empty and filled, as ``pickle`` does; nothing else is.
_NAMESPACE: Final = _Name("argparse", "Namespace")
#: The whole list of what a REDUCE may name.
_FUNCTIONS: Final[dict[_Name, Callable[[tuple[object, ...]], object]]] = {
    _Name("collections", "OrderedDict"): _ordered_dict,
    _Name("torch", "Size"): _size,
    _Name("torch._utils", "_rebuild_tensor"): _tensor,
    _Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    _Name("torch._utils", "_rebuild_tensor_v3"): _typed_tensor,
    _Name("torch._utils", "_rebuild_parameter"): _parameter,
}


def _name(module: object, name: object) -> object:
    """Return what a global stands for: a name of the lists above, or a dtype."""
    found = _Name(str(module), str(name))
    if found in _FUNCTIONS or found == _NAMESPACE:
        return found
    if found.module in ("torch", "torch.cuda", "torch.storage") and found.name in _STORAGES:
        return _Dtype(_STORAGES[found.name])
    if found.module == "torch" and found.name in _DTYPES:
        return _Dtype(_DTYPES[found.name])
    raise _Refused(f"it asks for {found}, which is no part of a tensor or of its settings")


def _storage(identity: object) -> StorageReference:
    """``('storage', type, key, location, size[, view])``: the persistent id that torch.save gives a storage."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
        raise _Refused("a reference to something other than a storage")
    _, kind, key, _, size = identity[:5]
    if len(identity) == 6 and identity[5] is not None:
        raise _Refused("a storage that is a view of another (written by a PyTorch before 0.4)")
    if not isinstance(kind, _Dtype) or not isinstance(key, str):
        raise _Refused("a storage without type and key")
    return StorageReference(key, kind.name, _count(size), _count(size) * _ITEM_SIZES[kind.name])


def read_pickle(data: bytes | memoryview, where: str) -> Pickle:
    """Read one pickle from the start of some bytes.

    Args:
        data: the bytes; what follows the pickle is not looked at.
        where: what the bytes are, for the error.

    Raises:
        CorruptFile: the pickle asks for anything else, is cut, or is too large.
    """
    stream = io.BytesIO(data[:BYTES_LIMIT])
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count >= _MOST_OPCODES:
                raise _Refused(f"it has more than {_MOST_OPCODES:,} opcodes")
            machine.step(opcode.name, argument)
        return Pickle(machine.result(), stream.tell(), machine.storages)
    except _Refused as refusal:
        raise CorruptFile(
            given=f"{where}: {refusal}", expected="a dictionary of tensors", hint=_HINT
        ) from None
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise CorruptFile(
            given=f"{where} is no whole pickle ({reason})",
            hint="fetch the file again, or convert it to safetensors",
        ) from error


class _Machine:
    """The stack machine. Every opcode is a line in ``step``; those that call, build or import are not there."""

    _EMPTY: Final[dict[str, Callable[[], object]]] = {
        "EMPTY_TUPLE": tuple,
        "EMPTY_LIST": list,
        "EMPTY_DICT": dict,
    }
    _CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
    _VALUES: Final = frozenset(
        {
            "INT",
            "BININT",
            "BININT1",
            "BININT2",
            "LONG",
            "LONG1",
            "LONG4",
            "FLOAT",
            "BINFLOAT",
            "STRING",
            "BINSTRING",
        }
        | {"SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
        | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
    )

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}
        self.storages: dict[str, StorageReference] = {}

    def result(self) -> object:
        (value,) = self.stack
        return value

    def step(self, opcode: str, argument: object) -> None:
        stack = self.stack
        if opcode in self._VALUES:
            stack.append(argument)
        elif opcode in self._CONSTANTS:
            stack.append(self._CONSTANTS[opcode])
        elif opcode in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]  # type: ignore[index]
        elif opcode == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif opcode in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])  # type: ignore[index]
        elif opcode == "MARK":
            self.marks.append(len(stack))
        elif opcode in self._EMPTY:
            stack.append(self._EMPTY[opcode]())
        elif opcode in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST", "DICT"):
            stack.append(self._container(opcode))
        elif opcode in ("APPEND", "APPENDS"):
            self._append([stack.pop()] if opcode == "APPEND" else self._since_mark())
        elif opcode in ("SETITEM", "SETITEMS"):
            self._set([stack.pop(-2), stack.pop()] if opcode == "SETITEM" else self._since_mark())
        elif opcode == "GLOBAL":
            stack.append(_name(*str(argument).split(" ", 1)))
        elif opcode == "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            stack.append(_name(module, name))
        elif opcode == "BINPERSID":
            storage = _storage(stack.pop())
            self.storages[storage.key] = storage
            stack.append(storage)
        elif opcode == "REDUCE":
            self._reduce()
        elif opcode == "NEWOBJ":
            self._make_namespace()
        elif opcode == "BUILD":
            self._build()
        elif opcode not in ("PROTO", "FRAME", "STOP"):
            raise _Refused(f"it uses the opcode {opcode}, which no tensor needs")

    def _since_mark(self) -> list[object]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def _container(self, opcode: str) -> object:
        if opcode in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(opcode[-1])
            if len(self.stack) < count:
                raise _Refused("its stack runs empty")
            values = tuple(self.stack[-count:])
            del self.stack[-count:]
            return values
        values_list = self._since_mark()
        if opcode == "DICT":
            self.stack.append({})
            self._set(values_list)
            return self.stack.pop()
        return tuple(values_list) if opcode == "TUPLE" else values_list

    def _append(self, values: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise _Refused("it appends to something other than a list")
        target.extend(values)

    def _set(self, pairs: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise _Refused("it sets items in something other than a dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            _put(target, key, value)

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        called = _FUNCTIONS.get(function) if isinstance(function, _Name) else None
        if called is None or not isinstance(arguments, tuple):
            raise _Refused("it calls something that is no function of tensors")
        self.stack.append(called(arguments))

    def _make_namespace(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if function != _NAMESPACE or arguments != ():
            raise _Refused("it makes an object")
        self.stack.append(Namespace({}))

    def _build(self) -> None:
        """A namespace's fields; or ``_metadata`` of a state dict, versions of modules that say nothing of values."""
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(state, dict) or not isinstance(target, dict | Namespace):
            raise _Refused("it builds an object")
        if isinstance(target, Namespace):
            for name, value in state.items():
                _put(target.fields, name, value)
