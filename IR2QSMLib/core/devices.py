"""Devices: which of them work, their memory and their precision."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil
import torch

from IR2QSMLib.core.errors import DeviceUnavailable, OutOfMemory, is_out_of_memory

Value = TypeVar("Value")

CGROUPS = Path("/sys/fs/cgroup")
"""Folder of a container's limits, of control groups version 2 or 1."""


@dataclass(frozen=True)
class Device:
    """A device and whether it can be used."""

    kind: str
    """torch's name for it: cuda, mps or cpu, with an index where there are several."""
    name: str
    """Name of the card or processor."""
    memory_free: int
    """[bytes]"""
    problem: str | None = None
    """Why a test kernel did not run; None if it did."""


def probe(kind: str) -> Device:
    """Try a small kernel on the device: torch's `is_available()` is true on cards too new for the installed torch."""
    try:
        x = torch.ones(1, 1, 8, 8, 8, device=kind)
        y = torch.nn.functional.conv3d(x, x[..., :3, :3, :3])
        if abs(float(torch.fft.rfftn(y).abs().amax()) - 27.0 * 6**3) > 1.0:
            return Device(kind, kind, 0, "a test kernel gave a wrong result")
        return Device(kind, _device_name(kind), memory_free(kind))
    except Exception as error:  # torch raises many types here, AssertionError among them
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return Device(kind, kind, 0, lines[0].split(". ")[0])


def devices() -> list[Device]:
    """Every device that torch lists, each probed; the CPU is last and always there."""
    kinds = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        kinds.append("mps")
    return [probe(kind) for kind in [*kinds, "cpu"]]


def choose_device(wanted: str = "auto") -> Device:
    """The device to run on.

    Parameters
    ----------
    wanted
        "auto" for the first that works, or cpu, cuda, cuda:1, mps.

    Raises
    ------
    DeviceUnavailable
        When the named device does not exist or work.
    """
    if wanted == "auto":
        return next(device for device in devices() if device.problem is None)
    if wanted.split(":")[0] not in ("cpu", "cuda", "mps"):
        raise DeviceUnavailable(f"The device is '{wanted}'; expected auto, cpu, cuda or mps.", option="device")
    device = probe(wanted)
    if device.problem is not None:
        raise DeviceUnavailable(
            f"The device '{wanted}' cannot be used ({device.problem}); choose another one, or auto.", option="device"
        )
    return device


def run_with_cpu_fallback(device: Device, work: Callable[[str], Value]) -> tuple[Value, Device]:
    """What `work` returns for the kind of a device, or for the CPU when the device's memory runs out.

    Parameters
    ----------
    device
        Where to run first.
    work
        Called with the kind of device.

    Returns
    -------
    value, device
        The result, and the device that it is from.

    Raises
    ------
    OutOfMemory
        When the CPU's memory runs out, too.
    """
    try:
        return work(device.kind), device
    except (OutOfMemory, RuntimeError, MemoryError) as error:  # the CPU's allocator raises RuntimeError
        if not is_out_of_memory(error):
            raise
        if device.kind == "cpu":
            raise OutOfMemory from error
    return run_with_cpu_fallback(choose_device("cpu"), work)


def memory_free(kind: str) -> int:
    """Free memory of a device [bytes]."""
    if kind.startswith("cuda"):
        return int(torch.cuda.mem_get_info(kind)[0])
    available = int(psutil.virtual_memory().available)
    in_container = _container_memory_free()
    return available if in_container is None else min(available, in_container)


def _container_memory_free() -> int | None:
    """Free memory within the container's limit [bytes], or None without a limit."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            return max(0, int((CGROUPS / limit).read_text()) - int((CGROUPS / used).read_text()))
        except (OSError, ValueError):  # not this version, or "max": no limit
            continue
    return None


def processor(entry: str = "model name") -> str:
    """The processor's name, or another entry of `/proc/cpuinfo`."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith(entry):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def half_precision(kind: str) -> torch.dtype | None:
    """bfloat16 on devices whose convolutions are faster with it, else None.

    With AVX-512-BF16, AMD's processors are three times as fast; Intel's without AMX take 1.5 times as long, forward and
    backward. The processor decides, not a timing, so that results do not depend on the load.
    """
    if kind.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.get_device_capability(kind)[0] >= 8 else None
    if kind == "cpu":
        vectors, matrices = (
            getattr(torch.cpu, f"_is_{name}_supported", lambda: False)() for name in ("avx512_bf16", "amx_tile")
        )
        return torch.bfloat16 if matrices or (vectors and processor("vendor_id") == "AuthenticAMD") else None
    return None


def _device_name(kind: str) -> str:
    return str(torch.cuda.get_device_name(kind)) if kind.startswith("cuda") else processor()


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next tensor, for as long as the process lives.

    Otherwise each tensor is requested from the system: a training takes twice as long, and an iterative inversion
    spends a fifth of its time there.
    """
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no allocation of its own mapping
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nothing is given back


def release_freed_memory() -> None:
    """Return memory that glibc keeps to the system, so that the process holds only what it uses."""
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
