"""Settings of the loop: refused all at once, and compared when a run goes on."""

import dataclasses
import json

import pytest

from robertakit.errors import TrainingError
from robertakit.training.loop_settings import MAY_CHANGE, LoopSettings, check_unchanged

WRONG: dict[str, object] = {
    "steps": 0,
    "learning_rate": 0.0,
    "warm_up": -1.0,
    "weight_decay": -0.1,
    "betas": (0.9, 1.0),
    "epsilon": float("inf"),
    "clip": float("nan"),
    "precision": "fp8",
    "decay": "quadratic",
    "seed": 2**32,
    "log_every": 0,
    "evaluate_every": -1,
    "save_every": -1,
    "keep": 0,
    "spike_deviations": -1.0,
    "spike_window": 4,
    "rollback_after": 0,
    "most_rollbacks": -1,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_named(name: str) -> None:
    with pytest.raises(TrainingError, match=f"{name}="):
        LoopSettings(**({"steps": 5, "warm_up": 0} | {name: WRONG[name]}))


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(TrainingError) as caught:
        LoopSettings(**WRONG)
    assert all(f"{name}=" in str(caught.value) for name in WRONG)


@pytest.mark.parametrize("given", [{}, {"steps": 5, "minutes": 5.0}])
def test_steps_or_minutes(given: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match="expected one of them"):
        LoopSettings(**given)


def test_by_the_clock_the_warm_up_is_a_share() -> None:
    with pytest.raises(TrainingError, match=r"warm_up=24000 .*share"):
        LoopSettings(minutes=5.0, warm_up=24_000)


def test_stored_settings_equal_what_json_gives_back() -> None:
    stored = LoopSettings(steps=5, learning_rate=1 / 3).stored()
    assert json.loads(json.dumps(stored)) == stored
    assert set(stored) == {field.name for field in dataclasses.fields(LoopSettings)}
    assert check_unchanged(stored, LoopSettings(steps=5, learning_rate=1 / 3).stored()) == []


def test_what_changes_the_weights_is_named_with_both_values() -> None:
    before, now = LoopSettings(steps=5).stored(), LoopSettings(steps=6, seed=3, log_every=1).stored()
    with pytest.raises(
        TrainingError, match=r"seed was 1 and is 3; steps was 5 and is 6; set them back"
    ) as caught:
        check_unchanged(before, now)
    assert "log_every" not in str(caught.value)


def test_what_came_or_went_is_a_change() -> None:
    with pytest.raises(TrainingError, match="corpus was 'a' and is None"):
        check_unchanged({"corpus": "a"}, {})
    with pytest.raises(TrainingError, match=r"alpha was None and is 0\.3"):
        check_unchanged({}, {"alpha": 0.3})


def test_what_may_change_are_settings() -> None:
    assert {field.name for field in dataclasses.fields(LoopSettings)} >= MAY_CHANGE
    assert check_unchanged({"keep": 2}, {"keep": 3}) == ["keep was 2 and is 3"]
