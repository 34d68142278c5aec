"""What processors can do at best, for the share of it that a run reaches (MFU)."""

from collections.abc import Mapping

__all__ = ["PEAKS", "peak_flops"]

#: Part of a device's name, most telling first -> peak in TFLOP/s by precision: dense, on the units that matrix products
#: run on, accumulated in fp32. Where a data sheet states figures "with sparsity", half of them.
#: Sources: NVIDIA's data sheets of the products, and its architecture white papers (Blackwell, Hopper, Ada, Ampere,
#: Turing, Volta), tables "peak rates".
PEAKS: Mapping[str, Mapping[str, float]] = {
    "B200": {"bf16": 2250.0, "fp16": 2250.0, "tf32": 1100.0, "fp32": 75.0},
    "H200": {"bf16": 989.4, "fp16": 989.4, "tf32": 494.7, "fp32": 66.9},
    "GH200": {"bf16": 989.4, "fp16": 989.4, "tf32": 494.7, "fp32": 66.9},
    "H100 PCIe": {"bf16": 756.0, "fp16": 756.0, "tf32": 378.0, "fp32": 51.2},
    "H100 NVL": {"bf16": 835.5, "fp16": 835.5, "tf32": 417.5, "fp32": 60.0},
    "H100": {"bf16": 989.4, "fp16": 989.4, "tf32": 494.7, "fp32": 66.9},
    "A100": {"bf16": 312.0, "fp16": 312.0, "tf32": 156.0, "fp32": 19.5},
    "A30": {"bf16": 165.0, "fp16": 165.0, "tf32": 82.0, "fp32": 10.3},
    "A10G": {"bf16": 70.0, "fp16": 70.0, "tf32": 35.0, "fp32": 31.5},
    "A10": {"bf16": 125.0, "fp16": 125.0, "tf32": 62.5, "fp32": 31.2},
    "L40S": {"bf16": 362.05, "fp16": 362.05, "tf32": 183.0, "fp32": 91.6},
    "L40": {"bf16": 181.05, "fp16": 181.05, "tf32": 90.5, "fp32": 90.5},
    "L4": {"bf16": 121.0, "fp16": 121.0, "tf32": 60.0, "fp32": 30.3},
    "RTX A6000": {"bf16": 154.8, "fp16": 154.8, "tf32": 77.4, "fp32": 38.7},
    "RTX 4090": {"bf16": 165.2, "fp16": 165.2, "tf32": 82.6, "fp32": 82.6},
    "RTX 3090": {"bf16": 71.0, "fp16": 71.0, "tf32": 35.6, "fp32": 35.6},
    "V100": {"fp16": 125.0, "fp32": 15.7},
    "T4": {"fp16": 65.0, "fp32": 8.1},
}


def peak_flops(name: str, precision: str) -> float | None:
    """Return the most floating-point operations a second that a device can do, None where that is not known.

    Args:
        name: as the driver tells it, ``torch.cuda.get_device_name()``.
        precision: ``"fp32"``, ``"tf32"``, ``"bf16"`` or ``"fp16"``: what the matrix products take.

    Example:
        >>> peak_flops("NVIDIA H100 80GB HBM3", "bf16"), peak_flops("cpu", "fp32")
        (989400000000000.0, None)
        >>> peak_flops("Tesla V100-SXM2-16GB", "bf16") is None  # has no bf16 units
        True
    """
    words = f" {name.replace('-', ' ')} "
    for part, peaks in PEAKS.items():
        if f" {part} " in words:
            peak = peaks.get(precision)
            return None if peak is None else peak * 1e12
    return None
