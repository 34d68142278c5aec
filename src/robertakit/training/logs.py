"""The log of a run: one JSON object a line, and the same curves for TensorBoard where that is wanted."""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from robertakit.errors import TrainingError, require

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["LOG", "RunLog", "read_log"]

LOG = "log.jsonl"
#: Event -> what its figures are called in TensorBoard.
_CURVES = {"step": "train", "evaluate": "held-out"}


class RunLog:
    """Writes the lines of a run; those of a state that was rolled back or resumed from are the only ones that stay.

    Each line is an object with ``event`` (``start``, ``step``, ``evaluate``, ``rollback``, ``save``, ``end``), ``step``
    and what belongs to the event. Values that are not finite, which JSON has no way to write, are strings.

    Args:
        folder: of the run; made if it is not there.
        writes: False on all processes but the first: these count lines, and write none.
        tensorboard: write the curves for TensorBoard, too, into ``folder/tensorboard``.

    Raises:
        DependencyError: TensorBoard is wanted and not installed.
        TrainingError: the log cannot be written, the disk being full for example.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = RunLog(folder)
        ...     log.write("step", step=1, loss=float("nan"))
        ...     log.close()
        ...     read_log(Path(folder) / LOG)
        [{'event': 'step', 'step': 1, 'loss': 'nan'}]
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, writes: bool = True, tensorboard: bool = False
    ) -> None:
        self.path = Path(folder) / LOG
        self.lines = 0
        self._writes = writes
        self._curves = Path(folder) / "tensorboard" if tensorboard and writes else None
        self._board: SummaryWriter | None = None
        self._hidden_from: int | None = None
        if self._curves is not None:
            require("tensorboard", extra="train", needed_for="a log for TensorBoard")
        if writes:
            self._do(self._prepare, "opened")

    def write(self, event: str, *, step: int, **fields: object) -> None:
        """Add a line, at once and whole."""
        self.lines += 1
        if not self._writes:
            return
        row = {"event": event, "step": step, **fields}
        line = json.dumps(_finite(row), allow_nan=False) + "\n"
        self._do(lambda: self._append(line.encode()), "written")
        if self._curves is not None and event in _CURVES:
            board = self._writer()
            for name, value in fields.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    board.add_scalar(f"{_CURVES[event]}/{name}", value, step)

    def cut(self, lines: int, step: int) -> None:
        """Take back all but the first ``lines`` lines, and those of later steps: what was torn goes with them.

        A log that has steps although the run begins anew (its checkpoints were taken away) is set aside instead.
        """
        self.lines = lines
        if not self._writes:
            return
        self._do(lambda: self._cut(lines, step), "cut back")
        self._hidden_from = step + 1 if lines else 0
        if self._board is not None:
            self._board.close()
            self._board = None

    def sync(self) -> None:
        """Have all lines on the disk, before a checkpoint that counts them is."""
        if self._writes:
            self._do(self._sync, "synced")

    def close(self) -> None:
        """Have all lines on the disk, and TensorBoard's too."""
        self.sync()
        if self._board is not None:
            self._board.close()
            self._board = None

    def _prepare(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()

    def _append(self, line: bytes) -> None:
        with self.path.open(
            "ab", buffering=0
        ) as file:  # one write: a kill leaves the whole line or none of it
            if file.write(line) != len(line):
                raise OSError("the disk took a part of the line")

    def _cut(self, lines: int, step: int) -> None:
        rows = list(_complete_lines(self.path))
        if not lines and any(row.get("event") == "step" for row, _ in rows):
            number = 1
            while (aside := self.path.with_name(f"log.{number}.jsonl")).exists():
                number += 1
            self.path.rename(aside)
            self.path.touch()
            return
        kept, size = 0, 0
        for row, end in rows[:lines]:
            if _step_of(row) > step:
                break
            kept, size = kept + 1, end
        os.truncate(self.path, size)
        self.lines = kept

    def _sync(self) -> None:
        with self.path.open("rb") as file:
            os.fsync(file.fileno())

    def _do(self, action: Callable[[], None], done: str) -> None:
        try:
            action()
        except OSError as error:
            raise TrainingError(
                given=f"the log '{self.path}' could not be {done} ({error.strerror or error})",
                hint="make room and start the run again: it goes on from its last checkpoint",
            ) from error

    def _writer(self) -> "SummaryWriter":
        if self._board is None:
            tensorboard = require(
                "torch.utils.tensorboard", extra="train", needed_for="a log for TensorBoard"
            )
            # TensorBoard cannot take back what it wrote, but hides it behind such a mark.
            board: SummaryWriter = tensorboard.SummaryWriter(str(self._curves), purge_step=self._hidden_from)
            self._board = board
        return self._board


def read_log(path: str | os.PathLike[str]) -> list[dict[str, object]]:
    """Return the lines of a log, without a last one that is torn (a run that was killed, or is writing it).

    Raises:
        TrainingError: a line that is no JSON object, other than the last.
    """
    path = Path(path)
    rows = [row for row, _ in _complete_lines(path)]
    if any(not row for row in rows[:-1]):
        raise TrainingError(given=f"'{path}' has a line that is no JSON object", hint="take it out")
    return [dict(row) for row in rows if row]


def _complete_lines(path: Path) -> Iterator[tuple[Mapping[str, object], int]]:
    """Yield each line that has an end, with the offset behind it; {} for one that is no JSON object."""
    end = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            end += len(line)
            try:
                row = json.loads(line)
            except ValueError:
                row = {}
            yield (row if isinstance(row, dict) else {}), end


def _step_of(row: Mapping[str, object]) -> float:
    step = row.get("step")
    return step if isinstance(step, int) else math.inf


def _finite(value: object) -> object:
    """Return a value with every float that JSON lacks as a string: nan, inf."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
