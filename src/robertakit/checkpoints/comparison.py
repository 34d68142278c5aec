"""What a checkpoint stores against what the architecture table asks: one verdict, one report.

Names are settled here (legacy spellings, the backbone's prefix, wrappers, tied copies). No file is opened.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from robertakit.architecture import (
    BACKBONE_PREFIX,
    Parameter,
    canonical_name,
    head_named,
    heads_with,
    is_known_leftover,
)
from robertakit.checkpoints.tensors import FLOATS, StoredTensor, agree
from robertakit.errors import CorruptFile, TensorMismatch, listed

__all__ = ["Comparison", "LoadingInfo", "compare", "refuse_untrained"]

#: What stands behind the number of a layer in a name.
_LAYER_PART = re.compile(r"encoder\.layer\.\d+\.(.+)")
_ANCHOR = "embeddings.word_embeddings.weight"


@dataclass(frozen=True, slots=True)
class LoadingInfo:
    """What loading found, as ``output_loading_info=True`` reports it.

    Attributes:
        missing_keys: tensors of the model that the checkpoint lacks, newly initialised, by the model's names.
        unexpected_keys: tensors of the checkpoint that the model has not, by the stored names.
        mismatched_keys: tensors of another shape, newly initialised.
        error_msgs: always empty: what is an error is raised.
        new_head: of the missing and mismatched ones, those of a head or pooler, as when fine-tuning begins.
        harmless: of the unexpected ones, those of another known head, an unused pooler or a tied copy; and
            buffers of old releases, which ``unexpected_keys`` leaves out.
        suspicious: everything else that does not fit; empty unless ``strict=False``.
    """

    missing_keys: list[str] = field(default_factory=list)
    unexpected_keys: list[str] = field(default_factory=list)
    mismatched_keys: list[str] = field(default_factory=list)
    error_msgs: list[str] = field(default_factory=list)
    new_head: list[str] = field(default_factory=list)
    harmless: list[str] = field(default_factory=list)
    suspicious: list[str] = field(default_factory=list)

    @property
    def newly_initialised(self) -> list[str]:
        """All tensors that the checkpoint does not give, sorted, by the model's names."""
        return sorted({*self.missing_keys, *self.mismatched_keys})

    def as_dict(self) -> dict[str, list[str]]:
        """Return the four documented lists."""
        names = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")
        return {name: list(getattr(self, name)) for name in names}


@dataclass(slots=True)
class Comparison:
    """A checkpoint beside a table of parameters.

    Attributes:
        found: the model's name -> tensor that fits it; tied copies are left out.
        missing: the model's names that nothing fits or misses.
        unexpected: stored names that the model has not.
        harmless: of these, the ones of another known head or of a pooler that is not asked for.
        misshapen: the model's name -> what is wrong with the stored tensor, in words.
        buffers: stored names of buffers that carry no trained value.
        overruled: where two tied tensors are stored and differ, the one that does not count -> the one that does.
        wrapper: prefix in front of all names that a wrapper left, for example ``"module."``.
        prefix: what stands in the table before the names that checkpoints use.
    """

    table: Mapping[str, Parameter]
    found: dict[str, StoredTensor] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    harmless: list[str] = field(default_factory=list)
    misshapen: dict[str, str] = field(default_factory=dict)
    buffers: list[str] = field(default_factory=list)
    overruled: dict[str, str] = field(default_factory=dict)
    wrapper: str = ""
    prefix: str = ""

    def short(self, name: str) -> str:
        """Return a name of the table below the backbone, whatever the attribute is called that keeps it."""
        return name.removeprefix(self.prefix).removeprefix(BACKBONE_PREFIX)

    def pardon(self, missing: Iterable[str], unexpected: Iterable[str]) -> None:
        """Leave out of the report what a class says is no fault: regular expressions that are found in names."""
        self.missing = [name for name in self.missing if not any(re.search(p, name) for p in missing)]
        self.unexpected = [
            name for name in self.unexpected if not any(re.search(p, name) for p in unexpected)
        ]
        self.harmless = [name for name in self.harmless if name in self.unexpected]

    def disagreements(self) -> list[str]:
        """Return a sentence for each tensor that is overruled."""
        return [
            f"{loser} is stored with other values than {winner}, which takes its place"
            + (
                "; if they were trained apart, set tie_word_embeddings=False"
                if self.table[loser].tied_to
                else ""
            )
            for loser, winner in self.overruled.items()
        ]

    def info(self) -> LoadingInfo:
        """Return the report; its lists are sorted."""
        absent = {*self.missing, *self.misshapen}
        new_head = {name for name in absent if self._is_new_head(name)}
        return LoadingInfo(
            missing_keys=sorted(self.missing),
            unexpected_keys=sorted(self.unexpected),
            mismatched_keys=sorted(self.misshapen),
            new_head=sorted(new_head),
            harmless=sorted({*self.harmless, *self.buffers}),
            suspicious=sorted((absent - new_head) | (set(self.unexpected) - set(self.harmless))),
        )

    def _is_new_head(self, name: str) -> bool:
        """Whether a tensor belongs to a head or pooler of which the checkpoint has nothing, or another shape.

        A head of which only some tensors are there was damaged, not left out.
        """
        if self.table[name].part == "backbone":
            return False
        parts = {self.short(found).partition(".")[0] for found in self.found}
        return name in self.misshapen or self.short(name).partition(".")[0] not in parts

    def refuse(self, what: str, *, ignore_mismatched_sizes: bool) -> None:
        """Raise one error that lists all that does not fit; return where everything does.

        Args:
            what: the checkpoint and the class, for the message.
            ignore_mismatched_sizes: pardon heads and poolers of another shape.
        """
        info = self.info()
        misshapen = [
            name for name in self.misshapen if not (ignore_mismatched_sizes and name in info.new_head)
        ]
        suspicious = set(info.suspicious)
        lists = {
            "missing": suspicious & set(self.missing),
            "unexpected": suspicious & set(self.unexpected),
            "of another shape": {f"{name} {self.misshapen[name]}" for name in misshapen},
        }
        problems = [f"{len(names)} {kind}: {listed(names)}" for kind, names in lists.items() if names]
        if problems:
            raise TensorMismatch(
                given=f"{what}: {'; '.join(problems)}",
                expected="every tensor of the model in its shape, and no unknown one",
                hint=self._hint(
                    set(misshapen) <= set(info.new_head) and not (lists["missing"] or lists["unexpected"])
                ),
            )

    def _hint(self, only_heads: bool) -> str:
        foreign = self._foreign_parts()
        if foreign:
            return (
                f"its layers have parts that such a model has not ({listed(foreign, 3)}): it is of another "
                "architecture, or its config of another model"
            )
        if self.wrapper:
            return f"all names begin with '{self.wrapper}': strict=False takes it off"
        if only_heads:
            return "ignore_mismatched_sizes=True draws a head of another shape anew"
        return "check that config and weights belong together; strict=False loads what fits"

    def _foreign_parts(self) -> set[str]:
        """Parts of layers, such as Longformer's ``attention.self.query_global``, that no layer of the table has."""
        known = {found[1] for found in map(_LAYER_PART.search, self.table) if found}
        stored = {found[1] for found in map(_LAYER_PART.search, self.unexpected) if found}
        return {part for part in stored if canonical_name(part) not in known}


def compare(
    table: Mapping[str, Parameter],
    stored: Mapping[str, StoredTensor],
    *,
    unwrap: bool = False,
    prefix: str = "",
) -> Comparison:
    """Set the stored tensors beside the table.

    Args:
        table: from ``architecture.parameters``, or a model's own.
        stored: the checkpoint's own names -> tensors.
        unwrap: take a wrapper's prefix (``module.``, ``model.``) off the names.
        prefix: what stands in the table before the names that checkpoints use, where somebody keeps a model of the
            family under an attribute of another name (``"encoder."``). Stored names may begin with it, too.

    Raises:
        CorruptFile: one tensor is stored twice, under an old and a new name.
    """
    result = Comparison(table, wrapper=_wrapper(stored), prefix=prefix)
    by_short_name = {result.short(name): parameter for name, parameter in table.items()}
    sources: dict[str, str] = {}
    for stored_name, tensor in stored.items():
        name = (stored_name.removeprefix(result.wrapper) if unwrap else stored_name).removeprefix(prefix)
        if name.removeprefix(BACKBONE_PREFIX) not in by_short_name:
            name = canonical_name(name)
        parameter = by_short_name.get(name.removeprefix(BACKBONE_PREFIX))
        in_head = parameter is not None and parameter.part in ("head", "own")
        if is_known_leftover(name):
            result.buffers.append(stored_name)
        elif parameter is None or (in_head and name != parameter.name.removeprefix(prefix)):
            result.unexpected.append(stored_name)
            owners = heads_with(name)  # a head's own tensors never stand under the backbone's prefix
            if owners and (owners == ("pooler",) or not name.startswith(BACKBONE_PREFIX)):
                result.harmless.append(stored_name)
        elif parameter.name in sources:
            raise CorruptFile(
                given=f"the checkpoint stores {parameter.name} twice, as {sources[parameter.name]} and {stored_name}"
            )
        else:
            sources[parameter.name] = stored_name
            problem = _problem(parameter, tensor)
            if problem:
                result.misshapen[parameter.name] = problem
            else:
                result.found[parameter.name] = tensor
    _settle_ties(result)
    return result


def _settle_ties(result: Comparison) -> None:
    """A tied copy stands in for a source that is not stored; a source makes its copy superfluous.

    Where both are stored and differ, a matrix's source counts, and a bias's copy: nothing in a configuration unties the
    decoder's bias, but transformers 5 trains it apart where the matrix is untied, and the decoder's computes.
    """
    for name, parameter in result.table.items():
        source = parameter.tied_to
        if source is not None:
            copy = result.found.pop(name, None)
            if copy is not None and source in result.found:
                if agree(copy, result.found[source]):
                    continue
                if parameter.kind == "bias":
                    result.found[source] = copy
                    result.overruled[source] = name
                else:
                    result.overruled[name] = source
            elif copy is not None and source not in result.misshapen:
                result.found[source] = copy
    known = {*result.found, *result.misshapen}
    for name, parameter in result.table.items():
        if name not in known and parameter.tied_to not in known:
            result.missing.append(name)


def _problem(parameter: Parameter, tensor: StoredTensor) -> str:
    if tensor.dtype not in FLOATS and parameter.part != "own":
        return f"({tensor.dtype} in the file; expected one of {listed(FLOATS)})"
    if tensor.shape != parameter.shape:
        return f"({list(tensor.shape)} in the file; {list(parameter.shape)} by the config)"
    return ""


def _wrapper(names: Iterable[str]) -> str:
    """Return what stands in front of the one word embedding, if it is more than the backbone's own prefix."""
    found = {
        name.removesuffix(_ANCHOR).removesuffix(BACKBONE_PREFIX) for name in names if name.endswith(_ANCHOR)
    }
    return found.pop() if len(found) == 1 else ""


def refuse_untrained(report: Mapping[str, Sequence[str]], source: object, head: str) -> None:
    """Raise where a model that is to answer has a head of which the checkpoint gives nothing.

    Loading a model announces a new head, since training may begin so; an engine only answers.

    Args:
        report: the lists of ``output_loading_info``.
        source: where the checkpoint is, for the message.
        head: name of the head; the bare model may lack its pooler.
    """
    new = {name for name in (*report["missing_keys"], *report["mismatched_keys"]) if heads_with(name)}
    if new and head_named(head).group is not None:
        raise TensorMismatch(
            given=f"the checkpoint in {source} has no {head} head ({listed(new, 5)})",
            expected="a checkpoint that was trained for this task",
            hint="its answers would be random; load the model itself to train such a head",
        )
