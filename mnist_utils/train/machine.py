"""The machine that a run has: its clock, its memory, its name."""

import ctypes
import os
import platform
import time
from pathlib import Path

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None


def clock() -> tuple[float, float]:
    """(wall, CPU) seconds; the CPU's include the loader processes that have ended."""
    if resource is None:
        return time.perf_counter(), time.process_time()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(usage.ru_utime + usage.ru_stime for usage in used)


def keep_freed_memory() -> None:
    """Tell glibc to keep what freed tensors leave, up to 2 GiB, for the next step.

    By default it returns the memory to the system after every step, which then costs a third of
    the next one in page faults. Rounding is the same. Other C libraries: no effect.
    """
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD: man mallopt
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (2 << 30) - 1)


def has_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 itself, and does not convert to float32 first.

    Of CPUs: Intel since Cooper Lake, AMD since Zen 4, newer ARM; of GPUs: NVIDIA since Ampere, so
    not the T4 of ml.g4dn.xlarge.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        words = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(words)


def describe(device: str) -> dict:
    """What decides speed and rounding: processor, device, cores, instruction set."""
    return {
        "processor": _processor(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "cores": os.cpu_count(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
