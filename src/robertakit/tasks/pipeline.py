"""``pipeline()``: a task by its name, on a model by its name. The registry of tasks."""

import difflib
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import TypeVar, cast

from robertakit.architecture import HEADS
from robertakit.configuration import AutoConfig, PretrainedConfig
from robertakit.engine import Engine
from robertakit.engine_choice import AUTOMATIC_MAPS, device_name, engine_of, load_engine
from robertakit.errors import ArgumentError, InputError, listed
from robertakit.field_values import dtype_name
from robertakit.files import WHERE, refuse_remote_code
from robertakit.tasks.fill_mask import FillMaskPipeline
from robertakit.tasks.frame import AnyPipeline
from robertakit.tokenizers.auto import AutoTokenizer
from robertakit.tokenizers.pretrained import PreTrainedTokenizerBase

__all__ = ["TASKS", "pipeline"]

T = TypeVar("T")

#: Name of a task -> its class. The class knows its head and its arguments.
TASKS: dict[str, type[AnyPipeline]] = {FillMaskPipeline.task: cast("type[AnyPipeline]", FillMaskPipeline)}


def pipeline(
    task: str | None = None,
    model: object = None,
    config: str | Path | PretrainedConfig | None = None,
    tokenizer: str | Path | PreTrainedTokenizerBase | None = None,
    feature_extractor: None = None,
    image_processor: None = None,
    processor: None = None,
    framework: str | None = None,
    revision: str | None = None,
    use_fast: bool = True,
    token: str | bool | None = None,
    device: object = None,
    device_map: object = None,
    dtype: object = None,
    trust_remote_code: bool | None = None,
    model_kwargs: Mapping[str, object] | None = None,
    pipeline_class: type[AnyPipeline] | None = None,
    *,
    torch_dtype: object = None,
    engine: str | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    batch_tokens: int | None = None,
    **options: object,
) -> AnyPipeline:
    """Return a task on a model, ready to be called with texts.

    Args:
        task: ``"fill-mask"``. By default the task of the model's head.
        model: folder, name on the Hub, model or engine; the model that ships with the package by default. With a
            model or an engine the tokenizer must be given, and nothing that tells how to load a model.
        config: a configuration, its folder or its name, in place of the model's own.
        tokenizer: a tokenizer, its folder or its name; the model's own by default.
        feature_extractor: None: the tasks here are on text.
        image_processor: None: the tasks here are on text.
        processor: None: the tasks here are on text.
        framework: ``"np"``, ``"pt"``, ``"tf"`` or ``"jax"``; by default see ``engine``.
        revision: branch, tag or commit on the Hub, of configuration, model and tokenizer.
        use_fast: take the fast tokenizer class, or the plain one.
        token: access token for the Hub; True for the stored one.
        device: -1 or ``"cpu"``, an index of a GPU, a name such as ``"cuda:1"``, a ``torch.device``. By default the
            first GPU where a framework computes and there is one; a model that is already loaded stays where it is
            (TensorFlow's always: its variables cannot be moved).
        device_map: a device, or what PyTorch's ``from_pretrained`` takes: ``"auto"`` for the machine's GPUs, where
            PyTorch is installed, or where each module goes.
        dtype: of the computation: a dtype or its name, float32 by default. NumPy computes in float32 and float64,
            the frameworks in bfloat16 and float16 too; ``"auto"`` is that of the stored weights, which NumPy widens.
        trust_remote_code: None or False: nothing that comes with a checkpoint is ever run.
        model_kwargs: further arguments of the model's ``from_pretrained``, for example ``{"strict": False}``, and of
            where to look for model and tokenizer, for example ``{"subfolder": "best"}``.
        pipeline_class: a class of one's own, derived from the task's.
        torch_dtype: the earlier name of ``dtype``.
        engine: ``"numpy"``, ``"torch"``, ``"jax"`` or ``"tensorflow"``; by default the one that
            `robertakit.engine_choice.choose_engine` names: a framework that is installed (PyTorch first) for a GPU, for
            half precision, and for models above the size of the one in the package.
        batch_size: most texts of a batch; by default only ``batch_tokens`` bounds it.
        num_workers: threads that tokenize ahead of the engine.
        batch_tokens: most tokens of a batch; by default what suits the engine.
        options: defaults for the task's own arguments, for example ``top_k``.

    Returns:
        An object to call with a text, a list of texts or an iterable of texts. It is also a context manager,
        which closes the engine.

    Raises:
        ArgumentError: an unknown argument, or two that contradict each other.
        InputError: no such task, engine or device, or a value that an argument cannot have.
        CheckpointError: the model is not there, or not whole.
        DependencyError: the engine's framework is not installed.

    Example:
        >>> from robertakit.tasks import pipeline
        >>> with pipeline("fill-mask", top_k=2) as fill:
        ...     len(fill("Plants create <mask> through a process known as photosynthesis."))
        2
    """
    for other in (feature_extractor, image_processor, processor):
        if other is not None:
            raise ArgumentError(given=f"a processor {other!r}", expected="None: the tasks here are on text")
    refuse_remote_code(trust_remote_code)
    placed, device_map = _placed(device, device_map, model_kwargs)
    where_run = {"engine": engine, "framework": framework, "device": placed}
    loading = _loading(config, revision, token, (dtype, torch_dtype), device_map, model_kwargs)
    where = {name: loading[name] for name in WHERE if name in loading}
    if model is None:
        model = _embedded(
            task, loading.keys() - {"dtype"} | ({"tokenizer"} if tokenizer is not None else set())
        )
    if isinstance(model, str | Path):
        kind = pipeline_class or _kind(task, lambda: _head_of(config or model, where))
        read = _tokenizer(model if tokenizer is None else tokenizer, use_fast, where)
        ready = load_engine(model, kind.head, **where_run, arguments=loading)
    else:
        ready = _loaded(model, tokenizer, where_run, loading)
        read = _tokenizer(tokenizer, use_fast, where)
        kind = pipeline_class or _kind(task, lambda: ready.head.name)
    make: Callable[..., AnyPipeline] = kind
    return make(
        ready, read, batch_size=batch_size, num_workers=num_workers, batch_tokens=batch_tokens, **options
    )


def _embedded(task: str | None, given: Set[str]) -> Path:
    """Return the folder of the model in the package, which is taken where nothing but a task is given."""
    if task is None or given:
        what = f"no model, but its {listed(given)}" if given else "neither task nor model"
        raise ArgumentError(given=what, expected="a model")
    from robertakit import embedded

    return embedded.folder()


def _loaded(
    model: object, tokenizer: object, where_run: Mapping[str, str | None], loading: Mapping[str, object]
) -> Engine:
    """Return the engine of a model that is there already; nothing but its device can still be chosen."""
    of_tokenizer = WHERE if isinstance(tokenizer, str | Path) else ()
    useless = loading.keys() - {*of_tokenizer, "dtype"}
    if useless or tokenizer is None:
        raise ArgumentError(
            given=f"a model that is already loaded, with {listed(useless) or 'no tokenizer'}",
            expected="such a model with its tokenizer, and nothing that tells how to load the model",
        )
    engine = engine_of(model, **where_run)
    dtype = loading.get("dtype", "auto")
    if dtype not in ("auto", engine.limits.dtype):
        raise ArgumentError(
            given=f"dtype={dtype!r} for a model that is already loaded, in {engine.limits.dtype}",
            expected="its own dtype, or none",
            hint="load it with that dtype",
        )
    return engine


def _placed(
    device: object, device_map: object, model_kwargs: Mapping[str, object] | None
) -> tuple[str | None, object]:
    """Return the one device that is asked for in up to three ways, or None, and the map that leaves more open."""
    maps = [_whole(given) for given in (device_map, (model_kwargs or {}).get("device_map"))]
    open_maps = [m for m in maps if isinstance(m, Mapping) or (isinstance(m, str) and m in AUTOMATIC_MAPS)]
    asked = _agreed("device_map", *open_maps)
    devices = [device_name(d) for d in (device, *maps) if d is not None and d not in open_maps]
    if isinstance(asked, Mapping) and devices:
        raise ArgumentError(given=f"device={devices[0]!r} and device_map={asked!r}", expected="one of them")
    return _agreed("device", *devices), None if devices else asked


def _whole(device_map: object) -> object:
    """Return the device of a map that leaves the model in one piece, any other map as it is."""
    devices = set(device_map.values()) if isinstance(device_map, Mapping) else set()
    return devices.pop() if len(devices) == 1 and "disk" not in devices else device_map


def _loading(
    config: object,
    revision: str | None,
    token: str | bool | None,
    dtypes: tuple[object, object],
    device_map: object,
    model_kwargs: Mapping[str, object] | None,
) -> dict[str, object]:
    """Return what the engine's loading is told: arguments of ``pipeline`` and ``model_kwargs``, which must agree."""
    further = {name: value for name, value in (model_kwargs or {}).items() if name != "device_map"}
    further_dtypes = (further.pop("dtype", None), further.pop("torch_dtype", None))
    further_tokens = (further.pop("token", None), further.pop("use_auth_token", None))
    loading = {
        "config": _agreed("config", config, further.pop("config", None)),
        "dtype": _agreed("dtype", *map(dtype_name, (*dtypes, *further_dtypes))),
        "revision": _agreed("revision", revision, further.pop("revision", None)),
        "token": _agreed("token", token, *further_tokens),
        "device_map": device_map,
    }
    return {**{name: value for name, value in loading.items() if value is not None}, **further}


def _agreed(name: str, *values: T | None) -> T | None:
    """Return the one value among several ways to give it, or None."""
    given = [value for value in values if value is not None]
    if any(value != given[0] for value in given):
        raise ArgumentError(given=f"{name} twice, as {listed(map(repr, given))}", expected="one value")
    return given[0] if given else None


def _kind(task: str | None, head: Callable[[], str]) -> type[AnyPipeline]:
    if task is not None and task in TASKS:
        return TASKS[task]
    if task is not None:
        close = difflib.get_close_matches(task, TASKS, n=1)
        raise InputError(
            given=f"the task {task!r}",
            expected=f"one of: {listed(TASKS)}",
            hint=f"did you mean {close[0]}?" if close else "",
        )
    named = head()
    for kind in TASKS.values():
        if kind.head == named:
            return kind
    raise ArgumentError(
        given=f"no task, and a model with the head {named!r}", expected=f"one of: {listed(TASKS)}"
    )


def _head_of(config: str | Path | PretrainedConfig, where: Mapping[str, object]) -> str:
    """Return the head that a checkpoint's configuration names as its class."""
    if not isinstance(config, PretrainedConfig):
        config = AutoConfig.from_pretrained(config, return_unused_kwargs=False, **where)
    for name in config.architectures or []:
        for head in HEADS.values():
            if name.endswith(head.class_suffix):
                return head.name
    return "model"


def _tokenizer(given: object, use_fast: bool, where: Mapping[str, object]) -> PreTrainedTokenizerBase:
    if isinstance(given, PreTrainedTokenizerBase):
        return given
    load = cast("Callable[..., PreTrainedTokenizerBase]", AutoTokenizer.from_pretrained)
    return load(given, use_fast=use_fast, **where)
