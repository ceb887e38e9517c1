"""Devices that run a kernel or are refused, and progress in parts."""

from __future__ import annotations

import platform
import re
import time
from pathlib import Path

import psutil
import pytest
import torch

from IR2QSMLib.core import devices as runtime
from IR2QSMLib.core.devices import (
    Device,
    choose_device,
    devices,
    half_precision,
    is_out_of_memory,
    memory_free,
    probe,
    release_freed_memory,
)
from IR2QSMLib.core.errors import DeviceUnavailable
from IR2QSMLib.core.progress import Stopwatch, part_of


def test_the_cpu_works_and_has_memory() -> None:
    device = probe("cpu")
    assert device.problem is None
    assert device.name
    assert 0 < device.memory_free == pytest.approx(memory_free("cpu"), rel=0.5)


def test_every_device_is_listed_with_the_cpu_last() -> None:
    found = devices()
    assert found[-1].kind == "cpu"
    assert len({device.kind for device in found}) == len(found)


def test_the_cpu_can_be_named() -> None:
    assert choose_device("cpu").kind == "cpu"


def fake(problem: str | None = None) -> list[Device]:
    return [Device("cuda:0", "an old card", 0, "no kernel image"), Device("mps", "a chip", 1, problem), probe("cpu")]


def test_auto_takes_the_first_device_that_ran_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "devices", fake)
    assert choose_device("auto").kind == "mps"
    monkeypatch.setattr(runtime, "devices", lambda: fake("broken"))
    assert choose_device().kind == "cpu"


@pytest.mark.parametrize("name", ["gpu", "", "CUDA", "tpu:0"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(DeviceUnavailable, match=rf"^The device is '{name}'; expected auto, cpu, cuda or mps\.$"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda:99", "cuda:x", "mps"])
def test_a_device_that_is_not_there_is_refused_with_the_reason(name: str) -> None:
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(DeviceUnavailable) as caught:
        choose_device(name)
    # The dot matches no line end: torch's own messages run over many lines.
    assert re.fullmatch(rf"The device '{name}' cannot be used \(.+\); choose another one, or auto\.", str(caught.value))


def test_of_a_long_reason_the_first_sentence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("No kernel image, see 2.1. Build torch anew with TORCH_USE_CUDA_DSA. Or do not.\nAnd so on.")

    monkeypatch.setattr(torch, "ones", failing)
    with pytest.raises(DeviceUnavailable, match=r"cannot be used \(No kernel image, see 2\.1\); choose"):
        choose_device("cpu")


def test_a_device_whose_kernel_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_container_may_use_no_more_than_its_limit_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, used: str
) -> None:
    monkeypatch.setattr(runtime, "CGROUPS", tmp_path)
    (tmp_path / limit).parent.mkdir(exist_ok=True)
    (tmp_path / used).write_text("3000000\n")
    for value, left in (("5000000", 2_000_000), ("1000000", 0)):
        (tmp_path / limit).write_text(value + "\n")
        assert memory_free("cpu") == left
    for unlimited in ("max", "9223372036854771712"):
        (tmp_path / limit).write_text(unlimited + "\n")
        assert memory_free("cpu") > 5_000_000


def test_an_error_that_says_memory_ran_out_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    for error in (MemoryError(), torch.OutOfMemoryError("x"), RuntimeError("CUDA error: Out of memory")):
        assert is_out_of_memory(error)
    for other in (RuntimeError("sizes differ"), ValueError("out of memory"), KeyboardInterrupt()):
        assert not is_out_of_memory(other)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone holds freed memory")
def test_freed_memory_goes_back_to_the_system() -> None:
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
def test_half_precision_is_a_matter_of_the_processor(
    monkeypatch: pytest.MonkeyPatch, vendor: str, vectors: bool, matrices: bool, expected: torch.dtype | None
) -> None:
    monkeypatch.setattr(runtime, "processor", lambda entry: vendor)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrices, raising=False)
    assert half_precision("cpu") == expected
    assert half_precision("mps") is None


@pytest.mark.skipif(platform.system() != "Linux", reason="the description is Linux's")
def test_the_processor_names_its_maker() -> None:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        described = file.read()
    assert runtime.processor("vendor_id") in described and runtime.processor() in described


def test_a_part_of_the_progress_maps_to_its_share() -> None:
    told: list[tuple[float, str]] = []
    inner = part_of(part_of(lambda *event: told.append(event), 0.5, 0.9), 0.25, 0.75)
    for fraction in (0.0, 0.5, 1.0):
        inner(fraction, "inversion")
    assert [stage for _, stage in told] == ["inversion"] * 3
    assert [fraction for fraction, _ in told] == pytest.approx([0.6, 0.7, 0.8])


def test_a_callback_that_raises_ends_the_run_through_every_part() -> None:
    def stop(fraction: float, stage: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        part_of(stop, 0.0, 0.5)(0.1, "inversion")


def test_the_stopwatch_adds_up_the_stages_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 3.0, 6.0, 10.0, 100.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    watch = Stopwatch()
    for stage in ("reading", "inversion", "reading", None, "writing"):
        watch.stage(stage)
    assert watch.seconds == {"reading": 6.0, "inversion": 3.0}
    assert list(watch.seconds) == ["reading", "inversion"]
