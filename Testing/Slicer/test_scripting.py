"""The same from Slicer's console: nodes in, node out; and what the module may not load or do."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def module(module_widget: Callable[..., Any]) -> Any:
    module_widget()
    return sys.modules["IR2QSM"]


@pytest.fixture
def logic(module: Any) -> Any:
    return module.IR2QSMLogic()


def field_of_every_scale() -> tuple[np.ndarray, np.ndarray]:
    """A field [ppm] with structure at every scale and an ellipsoid as mask: (z, y, x)."""
    z, y, x = np.mgrid[-1:1:64j, -1:1:64j, -1:1:64j]
    mask = x**2 / 0.7 + y**2 / 0.8 + z**2 / 0.6 < 0.9
    noise = np.random.default_rng(0).normal(size=mask.shape)
    field = 0.03 * np.sin(9 * x + 3 * y) * np.cos(7 * z) + 0.01 * noise
    return field.astype(np.float32), mask.astype(np.uint8)


def test_the_console_gives_the_voxels_of_the_command_line(
    logic: Any, scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, inside = field_of_every_scale()
    field = slicer.util.addVolumeFromArray(values, name="field")
    mask = slicer.util.addVolumeFromArray(inside, name="mask", nodeClassName="vtkMRMLLabelMapVolumeNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy((0.0, 0.9, 0.1, 3.0, -1.0, 0.0, 0.0, 5.0, 0.0, -0.1, 0.9, 7.0, 0.0, 0.0, 0.0, 1.0))
    for node in (field, mask):
        node.SetIJKToRASMatrix(matrix)
        assert slicer.util.saveNode(node, str(tmp_path / f"{node.GetName()}.nrrd"))  # NIfTI rounds the geometry
    chi = logic.reconstruct(field, mask)
    command = [sys.executable, "-m", "IR2QSMLib", "reconstruct", "field.nrrd", "mask.nrrd", "-o", "chi.nrrd"]
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    subprocess.run([*command, "--progress", "none"], cwd=tmp_path, check=True)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "chi.nrrd")))
    assert np.array_equal(slicer.util.arrayFromVolume(chi), expected)
    assert expected.std() > 0.001  # small, as no susceptibility explains such a field


def test_unusable_inputs_are_exceptions_with_the_sentences_of_the_panel(logic: Any, sample: tuple[Any, Any]) -> None:
    from IR2QSMGui.parameters import InputProblem
    from IR2QSMGui.run.worker import WorkerFailed

    field, mask = sample
    n_nodes = slicer.mrmlScene.GetNumberOfNodes()
    for options, words in (
        ({"unit": "tesla"}, "The unit is 'tesla'; expected ppm, hz or rad"),
        ({"unit": "hz"}, "A field in Hz needs the field strength"),
        ({"unit": "rad", "b0": 3.0}, "A field in rad needs the echo time"),
        ({"reference": "csf"}, "Choose the region"),
        ({"weights": "/none/mine.safetensors"}, "The weights 'mine.safetensors' are not there any more"),
        ({"b0_direction": (0, 0, 0)}, "The B0 direction is zero"),
        ({"mask_part": "7"}, "The part that was chosen is no longer"),
        ({"output": field}, "would replace its own input"),
    ):
        with pytest.raises(InputProblem, match=re.escape(words)):
            logic.reconstruct(field, mask, **options)
    with pytest.raises(WorkerFailed, match="cuda:7") as caught:
        logic.reconstruct(field, mask, device="cuda:7")
    assert (caught.value.kind, caught.value.option) == ("DeviceUnavailable", "device")
    with pytest.raises(WorkerFailed, match="100") as caught:
        logic.reconstruct(field, mask, tile=100)
    assert caught.value.option == "tile"
    assert slicer.mrmlScene.GetNumberOfNodes() == n_nodes


def test_options_reach_the_library(logic: Any, sample: tuple[Any, Any]) -> None:
    field, mask = sample
    plain = slicer.util.arrayFromVolume(logic.reconstruct(field, mask, method="tkd"))
    inside = slicer.util.arrayFromVolume(mask) > 0
    half = slicer.modules.volumes.logic().CloneVolume(mask, "half")
    labels = inside.astype(np.uint8)
    labels[:, :, labels.shape[2] // 2 :] *= 3
    slicer.util.updateVolumeFromArray(half, labels)
    for options in (
        {"unit": "hz", "b0": 0.02},
        {"unit": "rad", "b0": 3.0, "echo_time": 0.002},
        {"reference": "none"},
        {"reference": half, "reference_part": "3"},
        {"b0_direction": (0.0, 1.0, 0.0)},
        {"method": "tikhonov"},
    ):
        chi = logic.reconstruct(field, mask, **{"method": "tkd", **options})
        values = slicer.util.arrayFromVolume(chi)
        assert np.abs(values - plain).max() > 1e-4, options
        if options.get("reference") is half:
            assert abs(values[labels == 3].mean()) < 1e-5 and chi.GetAttribute("IR2QSM.Reference") == "half"
    part = slicer.util.arrayFromVolume(logic.reconstruct(field, half, method="tkd", mask_part="3"))
    assert part[labels == 3].std() > 0.01 and not part[labels != 3].any()


def test_options_of_the_classical_methods_reach_the_library(logic: Any, scene: Any) -> None:
    z, y, x = np.mgrid[-1:1:24j, -1:1:24j, -1:1:24j]
    inside = (x**2 + y**2 + z**2 < 0.8).astype(np.uint8)
    rng = np.random.default_rng(0)
    values = (0.02 * np.sin(6 * x) * np.cos(5 * y) + 0.003 * rng.normal(size=x.shape)).astype(np.float32)
    field = slicer.util.addVolumeFromArray(values, name="field")
    mask = slicer.util.addVolumeFromArray(inside, name="mask", nodeClassName="vtkMRMLLabelMapVolumeNode")
    images = {"one": 9 + np.sin(7 * x) * np.cos(5 * z), "other": 9 + np.sin(9 * y), "noise": 2 + z, "csf": x > 0.5}
    extra = {name: slicer.util.addVolumeFromArray(np.float32(image), name=name) for name, image in images.items()}
    medi = {"method": "medi", "b0": 3.0, "echo_time": 0.005, "magnitude": extra["one"]}
    for first, second in (
        ({"method": "tv"}, {"regularisation": 0.05}),
        ({"method": "tv"}, {"regularisation": "auto"}),
        (medi, {"magnitude": extra["other"]}),
        (medi, {"noise": extra["noise"]}),
        (medi, {"csf": extra["csf"]}),
    ):
        made = [logic.reconstruct(field, mask, **options) for options in (first, first | second)]
        one, other = map(slicer.util.arrayFromVolume, made)
        assert np.abs(one - other)[inside > 0].max() > 1e-4, second
    from IR2QSMGui.parameters import InputProblem
    from IR2QSMGui.run.worker import WorkerFailed

    with pytest.raises(WorkerFailed, match="magnitude"):
        logic.reconstruct(field, mask, method="medi", b0=3.0, echo_time=0.005)
    with pytest.raises(WorkerFailed, match="--uncertainty belongs to --method ir2qsm, not to tv"):
        logic.reconstruct(field, mask, method="tv", uncertainty=True)
    extra["one"].SetSpacing(2.0, 1.0, 1.0)
    with pytest.raises(InputProblem, match="'one' lies on another grid than the field"):
        logic.reconstruct(field, mask, **medi)


def test_a_mask_under_another_transform_is_brought_to_the_field(logic: Any, sample: tuple[Any, Any]) -> None:
    from IR2QSMGui.scene import masks

    field, mask = sample
    inside = slicer.util.arrayFromVolume(mask).copy()
    there, note = masks.mask_on(mask, "", field)
    assert np.array_equal(there, inside > 0) and note == ""
    shift = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 6.0)  # two voxels along x
    shift.SetMatrixTransformToParent(matrix)
    mask.SetAndObserveTransformNodeID(shift.GetID())
    moved, note = masks.mask_on(mask, "", field)
    assert "was resampled" in note
    ijk_to_ras = vtk.vtkMatrix4x4()
    field.GetIJKToRASMatrix(ijk_to_ras)
    step = round(6.0 / ijk_to_ras.GetElement(0, 0))
    assert abs(step) == 2
    expected = np.roll(inside > 0, step, axis=2)
    assert (moved.astype(bool) != expected).mean() < 1e-3


def test_the_documented_examples_run(
    logic: Any, sample: tuple[Any, Any], wait_until: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    sample[0].SetName("field")
    text = (ROOT / "docs" / "slicer.md").read_text(encoding="utf-8")
    examples = re.findall(r"<!-- executed by [^>]*test_scripting.py -->\n```python\n(.*?)```", text, re.S)
    assert len(examples) == 3
    segments = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "regions")
    segments.CreateDefaultDisplayNodes()
    for identifier, half in (("csf", np.s_[:, :30]), ("rest", np.s_[:, 30:])):
        segments.GetSegmentation().AddEmptySegment(identifier, identifier)
        inside = np.zeros_like(slicer.util.arrayFromVolume(sample[1]))
        inside[half] = slicer.util.arrayFromVolume(sample[1])[half]
        slicer.util.updateSegmentBinaryLabelmapFromArray(inside, segments, identifier, sample[1])
    names: dict[str, Any] = {"getNode": slicer.util.getNode, "print": print}
    for example in examples[:2]:
        exec(example, names)
    assert names["run"].chi is None
    wait_until(lambda: names["run"].ended, 120)
    assert names["run"].chi is names["chi"] and names["run"].uncertainty is not None
    printed = capsys.readouterr().out
    assert "% inversion" in printed and printed.strip().endswith("field QSM IR2QSM")
    exec(examples[2], names)
    assert [node.GetName() for node in names["maps"]] == ["field QSM TKD", "field QSM TV"]
    shown = [slicer.app.layoutManager().sliceWidget(f"IR2QSM{i}").mrmlSliceCompositeNode() for i in (1, 2)]
    titles = [slicer.mrmlScene.GetNodeByID(s.GetBackgroundVolumeID()).GetName() for s in shown]
    assert titles == ["field QSM TKD", "TV − TKD"]
    table = names["table"].GetTable()
    assert [table.GetValue(row, 0).ToString() for row in (0, 1)] == ["csf", "rest"]
    assert abs(table.GetValue(0, 2).ToDouble()) < 1e-9 < abs(table.GetValue(1, 2).ToDouble())
    documented = set(re.findall(r"`(\w+)`", text[text.index("| option | meaning") : text.index("## When something")]))
    fields = set(sys.modules["IR2QSMGui.run.options"].Options.__dataclass_fields__)
    assert fields <= documented


def test_the_module_tests_itself_on_its_sample(module: Any) -> None:
    import SampleData

    sources = [s for group in slicer.modules.sampleDataSources.values() for s in group]
    assert "IR2QSM" in [s.sampleName for s in sources] and SampleData is not None
    case = module.IR2QSMTest()
    case.messageDelay = 1
    case.runTest()
    names = [n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    assert "IR2QSM expected map" in names and "IR2QSM field QSM IR2QSM" in names


def test_loading_the_module_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import harness; harness.install(); "
        "before = set(sys.modules); import IR2QSM; "
        "new = {n.partition('.')[0] for n in set(sys.modules) - before}; print(*sorted(new))"
    )
    folders = [str(ROOT / "Testing" / "Slicer"), str(ROOT / "Testing" / "Slicer" / "standins"), str(ROOT / "IR2QSM")]
    done = subprocess.run([sys.executable, "-c", code, *folders], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"IR2QSM", "IR2QSMGui"} <= loaded
    assert not loaded & {"torch", "IR2QSMLib", "SimpleITK", "scipy", "skimage", "psutil", "safetensors", "PyTorchUtils"}


def test_what_the_panel_installs_is_what_a_reconstruction_needs() -> None:
    lines = (ROOT / "IR2QSM" / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    installed = {re.split(r"[<>=]", line)[0] for line in lines if line and not line.startswith("#")}
    slicer_s_own = {"numpy", "scipy", "SimpleITK"}
    code = (
        "import sys; from importlib.metadata import packages_distributions as of; "
        "import IR2QSMLib.cli.main, IR2QSMLib.pipeline.reconstruct, IR2QSMLib.cli.info, IR2QSMLib.pipeline.inspection; "
        "import IR2QSMLib.inversion.learned.import_released, IR2QSMLib.inversion.registry; "
        "import IR2QSMLib.evaluation.map_report; "
        "known = of(); print(*{d for n in list(sys.modules) for d in known.get(n, [])})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    needed = {name.lower() for name in done.stdout.split()}
    heavy = {"scikit-image", "nilearn", "matplotlib", "lightning-fabric", "pandas", "scikit-learn"}
    assert not needed & heavy
    assert {name.lower() for name in installed} <= needed
    assert not {name.lower() for name in installed} & {name.lower() for name in slicer_s_own}


def test_a_callback_that_fails_does_not_keep_a_run_from_its_end(
    logic: Any, sample: tuple[Any, Any], wait_until: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    def fails(fraction: float, stage: str) -> None:
        raise ValueError("a script's mistake")

    ended: list[Any] = []
    run = logic.reconstruct(*sample, wait=False, method="tkd", on_progress=fails, on_end=ended.append)
    wait_until(lambda: ended, 60)
    assert run.error is None and run.chi is not None and "a script's mistake" in caplog.text
