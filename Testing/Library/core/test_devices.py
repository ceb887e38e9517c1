"""Devices that run a kernel or are refused, their memory and their precision."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import psutil
import pytest
import torch

from IR2QSMLib.core import devices as module
from IR2QSMLib.core.devices import (
    Device,
    choose_device,
    devices,
    half_precision,
    memory_free,
    probe,
    release_freed_memory,
)
from IR2QSMLib.core.errors import DeviceUnavailable, is_out_of_memory


def test_cpu_works_and_has_memory() -> None:
    device = probe("cpu")
    assert device.problem is None
    assert device.name
    assert 0 < device.memory_free == pytest.approx(memory_free("cpu"), rel=0.5)


def test_every_device_is_listed_with_cpu_last() -> None:
    listed = devices()
    assert listed[-1].kind == "cpu"
    assert len({device.kind for device in listed}) == len(listed)


def test_cpu_can_be_named() -> None:
    assert choose_device("cpu").kind == "cpu"


def fake_devices(problem: str | None = None) -> list[Device]:
    return [Device("cuda:0", "an old card", 0, "no kernel image"), Device("mps", "a chip", 1, problem), probe("cpu")]


def test_auto_takes_first_device_that_ran_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "devices", fake_devices)
    assert choose_device("auto").kind == "mps"
    monkeypatch.setattr(module, "devices", lambda: fake_devices("broken"))
    assert choose_device().kind == "cpu"


@pytest.mark.parametrize("name", ["gpu", "", "CUDA", "tpu:0"])
def test_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(DeviceUnavailable, match=rf"^The device is '{name}'; expected auto, cpu, cuda or mps\.$"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda:99", "cuda:x", "mps"])
def test_absent_device_is_refused_with_the_reason(name: str) -> None:
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(DeviceUnavailable) as caught:
        choose_device(name)
    # The dot matches no line end: torch's own messages run over many lines.
    assert re.fullmatch(rf"The device '{name}' cannot be used \(.+\); choose another one, or auto\.", str(caught.value))


def test_first_sentence_of_a_long_reason_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("No kernel image, see 2.1. Build torch anew with TORCH_USE_CUDA_DSA. Or do not.\nAnd so on.")

    monkeypatch.setattr(torch, "ones", failing)
    with pytest.raises(DeviceUnavailable, match=r"cannot be used \(No kernel image, see 2\.1\); choose"):
        choose_device("cpu")


def test_device_with_wrong_kernel_result_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.functional, "conv3d", lambda x, w: torch.zeros(1, 1, 6, 6, 6))
    with pytest.raises(DeviceUnavailable, match="a test kernel gave a wrong result"):
        choose_device("cpu")


@pytest.mark.parametrize(
    ("limit", "used"),
    [
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ],
)
def test_container_limit_bounds_free_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, used: str
) -> None:
    monkeypatch.setattr(module, "CGROUPS", tmp_path)
    (tmp_path / limit).parent.mkdir(exist_ok=True)
    (tmp_path / used).write_text("3000000\n")
    for value, left in (("5000000", 2_000_000), ("1000000", 0)):
        (tmp_path / limit).write_text(value + "\n")
        assert memory_free("cpu") == left
    for unlimited in ("max", "9223372036854771712"):
        (tmp_path / limit).write_text(unlimited + "\n")
        assert memory_free("cpu") > 5_000_000


def test_out_of_memory_errors_are_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    for error in (MemoryError(), torch.cuda.OutOfMemoryError("x"), RuntimeError("CUDA error: Out of memory")):
        assert is_out_of_memory(error)
    for other in (RuntimeError("sizes differ"), ValueError("out of memory"), KeyboardInterrupt()):
        assert not is_out_of_memory(other)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone holds freed memory")
def test_freed_memory_is_returned_to_the_system() -> None:
    process = psutil.Process()
    blocks = [bytearray(100_000) for _ in range(2000)]  # too small for mappings of their own
    keep = bytearray(100_000)  # at the heap's end: nothing before it is given back
    del blocks
    before = process.memory_info().rss
    release_freed_memory()
    assert process.memory_info().rss < before - 100e6
    assert len(keep) == 100_000


@pytest.mark.parametrize(
    ("vendor", "vectors", "matrices", "expected"),
    [
        ("AuthenticAMD", True, False, torch.bfloat16),
        ("GenuineIntel", True, False, None),
        ("GenuineIntel", True, True, torch.bfloat16),
        ("AuthenticAMD", False, False, None),
    ],
)
def test_half_precision_depends_on_the_processor(
    monkeypatch: pytest.MonkeyPatch, vendor: str, vectors: bool, matrices: bool, expected: torch.dtype | None
) -> None:
    monkeypatch.setattr(module, "processor", lambda entry: vendor)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrices, raising=False)
    assert half_precision("cpu") == expected
    assert half_precision("mps") is None


@pytest.mark.skipif(platform.system() != "Linux", reason="the description is Linux's")
def test_processor_and_vendor_are_read_from_the_system() -> None:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        described = file.read()
    assert module.processor("vendor_id") in described and module.processor() in described
