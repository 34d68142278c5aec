"""The table of peaks: found by the names that drivers tell."""

import pytest

from robertakit.training.devices import PEAKS, peak_flops

#: As drivers tell them -> peak in bf16 (fp16 where there is no bf16), TFLOP/s, of the data sheets.
NAMES = {
    "NVIDIA H100 80GB HBM3": ("H100", "bf16", 989.4),
    "NVIDIA H100 PCIe": ("H100 PCIe", "bf16", 756.0),
    "NVIDIA H100 NVL": ("H100 NVL", "bf16", 835.5),
    "NVIDIA H200": ("H200", "bf16", 989.4),
    "NVIDIA A100-SXM4-40GB": ("A100", "bf16", 312.0),
    "NVIDIA A100 80GB PCIe": ("A100", "bf16", 312.0),
    "NVIDIA A10G": ("A10G", "bf16", 70.0),
    "NVIDIA A10": ("A10", "bf16", 125.0),
    "NVIDIA L4": ("L4", "bf16", 121.0),
    "NVIDIA L40S": ("L40S", "bf16", 362.05),
    "Tesla V100-SXM2-16GB": ("V100", "fp16", 125.0),
    "Tesla T4": ("T4", "fp16", 65.0),
    "NVIDIA GeForce RTX 4090": ("RTX 4090", "bf16", 165.2),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_lead_to_their_row(name: str) -> None:
    row, precision, peak = NAMES[name]
    assert peak_flops(name, precision) == pytest.approx(peak * 1e12)
    assert peak_flops(name, "fp32") == PEAKS[row]["fp32"] * 1e12


@pytest.mark.parametrize(
    "name", ["", "cpu", "NVIDIA GeForce GTX 1080", "AMD Instinct MI300X", "H1000", "A1000"]
)
def test_what_is_not_known_is_none(name: str) -> None:
    assert peak_flops(name, "bf16") is None


def test_a_precision_that_a_device_lacks_is_none() -> None:
    assert peak_flops("Tesla T4", "bf16") is None
    assert peak_flops("NVIDIA H100 80GB HBM3", "fp8") is None


def test_half_precision_is_never_slower() -> None:
    for peaks in PEAKS.values():
        half = peaks["fp16"]
        assert peaks.get("bf16", half) == half
        assert peaks["fp32"] <= peaks.get("tf32", half) <= half
