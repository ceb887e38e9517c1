"""Slicer without its application: real scene, nodes, logics and `slicer.util`; Qt widgets on PySide6, off screen.

`standins/` has what `slicer-core` lacks. Where SLICER_SOURCE names a Slicer source tree, Slicer's own
ScriptedLoadableModule, parameterNodeWrapper, i18n, packaging and SampleData run in place of the stand-ins for them.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from Testing.Slicer import harness

ROOT = Path(__file__).resolve().parents[2]

APP = harness.install()

import application  # noqa: E402
import qt  # noqa: E402
import slicer  # noqa: E402
from PySide6.QtCore import QEvent, QTimer  # noqa: E402
from PySide6.QtWidgets import QApplication, QWidget  # noqa: E402

from Testing.Slicer import event_loop, slice_pictures  # noqa: E402
from Testing.Slicer.answers import Answers  # noqa: E402
from Testing.Slicer.dialogs import Dialogs  # noqa: E402
from Testing.Slicer.messages import Messages  # noqa: E402
from Testing.Slicer.steps import TIMES, enter_scan, tick, workers  # noqa: E402
from Testing.Slicer.toy_module import CODE, UI  # noqa: E402

application.VIEW[0] = slice_pictures.SliceView


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Run a test inside the event loop, where Slicer's code runs, and fail it for errors that slots only print."""
    wanted = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    event_loop.run(pyfuncitem.obj, wanted)
    return True


@pytest.fixture(scope="session")
def app() -> Any:
    """The one application, which is also `slicer.app`."""
    return APP


@pytest.fixture(scope="session", autouse=True)
def answers(app: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Questions that a worker has answered in this session load the library no second time."""
    launch = slicer.util.launchConsoleProcess
    slicer.util.launchConsoleProcess = Answers(launch, tmp_path_factory.mktemp("answers"))
    yield
    slicer.util.launchConsoleProcess = launch


MESSAGES = Messages()


@pytest.fixture(autouse=True)
def messages() -> Iterator[Messages]:
    """Warnings and errors of VTK and MRML; a test that causes any fails, unless it clears them."""
    MESSAGES.clear()
    yield MESSAGES
    assert MESSAGES.texts == []


@pytest.fixture
def scene(app: Any) -> Iterator[Any]:
    """A fresh scene as `slicer.mrmlScene`, with fresh logics and views."""
    app.reset(slicer.vtkMRMLScene())
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(False)
    vars(slicer.modules).pop("sampleDataSources", None)
    qt.QSettings().clear()
    gc.collect()


@pytest.fixture(scope="session")
def wait_until(app: Any) -> Callable[..., None]:
    """Spin the event loop until a condition holds; fail when it does not within some seconds."""
    return event_loop.wait


@pytest.fixture
def dialogs(app: Any) -> Iterator[Dialogs]:
    """What dialogs said, and the answers to give them."""
    shown, timer = Dialogs(), QTimer()
    timer.timeout.connect(shown.look)
    timer.start(20)
    yield shown
    timer.stop()
    assert not shown.unexpected, f"dialogs that no test answered: {shown.unexpected}"
    assert not shown.answers, f"answers to dialogs that never came: {shown.answers}"


def unload(name: str) -> None:
    """Tell the module's widget that the module goes, as Slicer does when it ends."""
    for slot in list(slicer.app.slots):
        slot(name)


@pytest.fixture
def module_widget(scene: Any, dialogs: Dialogs) -> Iterator[Callable[..., Any]]:
    """Load a module as Slicer does at start-up, make its widget, enter it, and return the Python widget."""
    loaded: list[tuple[str, Any, list[str]]] = []

    def load(path: Path = ROOT / "IR2QSM" / "IR2QSM.py") -> Any:
        name = path.stem
        qt.STRICT.update({name, f"{name}Gui", f"{name}SubjectHierarchyPlugin"})
        before = [n for n in sys.modules if re.fullmatch(rf"{name}(Gui)?(\..*)?", n)]
        for stale in before:
            del sys.modules[stale]
        sys.path.insert(0, str(path.parent))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
        parent = SimpleNamespace(path=str(path), name=name)
        instance = getattr(sys.modules[name], name)(parent)
        module = SimpleNamespace(name=name, path=str(path), parent=parent, widgetRepresentation=lambda: representation)
        setattr(slicer.modules, name.lower(), module)
        setattr(slicer.modules, f"{name}Instance", instance)
        slicer.app.startupCompleted.emit()
        slicer.app.startupCompleted.disconnect()
        representation = harness.module_representation(name)
        loaded.append((name, representation, [str(path.parent)]))
        widget = representation.self()
        if hasattr(widget, "enter"):
            widget.enter()
        return widget

    yield load
    for name, representation, paths in loaded:
        widget = representation.self()
        if hasattr(widget, "exit"):
            widget.exit()
        unload(name)
        representation.deleteLater()
        QApplication.sendPostedEvents(None, QEvent.DeferredDelete)
        delattr(slicer.modules, f"{name}Widget")
        for path in paths:
            sys.path.remove(path)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: the folder that IR2QSM_PICTURES names, or a temporary one."""
    folder = Path(os.environ.get("IR2QSM_PICTURES") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def screenshot(pictures: Path) -> Callable[..., Path]:
    """Save a widget as it looks at a width [pixels] and the height that it then needs."""

    def save(widget: QWidget, name: str, width: int = 400) -> Path:
        widget.setFixedWidth(width)
        widget.show()
        for _ in range(3):  # folding and word wrap settle one level a round
            QApplication.sendPostedEvents(None, 0)
            QApplication.processEvents()
            layout = widget.layout()
            tall = layout.totalHeightForWidth(width) if layout.hasHeightForWidth() else layout.sizeHint().height()
            widget.resize(width, tall)  # as in Slicer's scrolling panel
        path = pictures / f"{name}.png"
        assert widget.grab().save(str(path))
        return path

    return save


@pytest.fixture
def render_slices(scene: Any, pictures: Path) -> Callable[..., Path]:
    """Draw volumes side by side, as the slice views of the present layout or of one made for them would show them."""

    def render(nodes: list[Any], name: str, **options: Any) -> Path:
        return slice_pictures.render(nodes, pictures / f"{name}.png", **options)

    return render


SAMPLE = ROOT / "IR2QSM" / "Resources" / "SampleData"


@pytest.fixture
def sample(scene: Any) -> tuple[Any, Any]:
    """The module's own sample in the scene: its field and its mask, a labelmap."""
    field = slicer.util.loadVolume(str(SAMPLE / "localfield.nrrd"), {"name": "field", "show": False})
    mask = slicer.util.loadVolume(str(SAMPLE / "mask.nrrd"), {"name": "mask", "labelmap": True})
    return field, mask


@pytest.fixture
def panel(module_widget: Callable[..., Any]) -> Any:
    """The module's panel, entered."""
    return module_widget()


@pytest.fixture
def ready(panel: Any, sample: tuple[Any, Any], wait_until: Callable[..., None]) -> Any:
    """The panel with the sample chosen and looked at, so that Apply can be pressed."""
    panel.ui.fieldSelector.setCurrentNode(sample[0])
    panel.ui.maskSelector.setCurrentNode(sample[1])
    assert not panel.ui.applyButton.isEnabled() and panel.ui.fieldNote.text() == "Looking at the field…"
    wait_until(panel.ui.applyButton.isEnabled, 60)
    return panel


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with phase and magnitude of three echoes of a simulated head at 3 T, its mask and its total field."""
    import SimpleITK as sitk

    from IR2QSMLib.io.images import image_of
    from Testing.Library.scanners import head_scan

    _chi, local, total, phase, magnitude = head_scan((36, 42, 36), (4.4, 4.4, 4.4), TIMES)
    folder = tmp_path_factory.mktemp("scan")
    volumes = {"brain": local.mask, "total": total}
    for n in range(3):
        volumes |= {f"phase {n + 1}": phase[n], f"magnitude {n + 1}": magnitude[n]}
    for name, values in volumes.items():
        sitk.WriteImage(image_of(values, local.grid), str(folder / f"{name}.nrrd"))
    return folder


@pytest.fixture
def scan(panel: Any, files: Path) -> dict[str, Any]:
    """The scan's volumes by name, loaded out of order while the panel is open."""
    names = [path.stem for path in sorted(files.glob("*.nrrd"), reverse=True)]
    return {name: slicer.util.loadVolume(str(files / f"{name}.nrrd"), {"name": name, "show": False}) for name in names}


@pytest.fixture
def chosen(panel: Any, scan: dict[str, Any], wait_until: Callable[..., None]) -> Any:
    """The panel with the first phase chosen and recognised."""
    panel.ui.fieldSelector.setCurrentNode(scan["phase 1"])
    wait_until(lambda: "wrapped phase" in panel.ui.fieldNote.text(), 240)
    return panel


@pytest.fixture
def ready_phase(chosen: Any, scan: dict[str, Any], wait_until: Callable[..., None]) -> Any:
    """The panel with all of the scan and its mask, so that Apply can be pressed; TKD, which is quick."""
    enter_scan(chosen)
    chosen.ui.maskSelector.setCurrentNode(scan["brain"])
    wait_until(chosen.ui.applyButton.isEnabled, 240)
    tick(chosen.ui.methodList, "tkd")
    assert chosen.ui.applyButton.isEnabled()
    return chosen


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A temporary folder for Slicer, in which no folder of a run is left, nor a process."""
    monkeypatch.setattr(slicer.app, "temporaryPath", str(tmp_path))
    earlier = workers()  # servers that tests of other files started
    yield
    assert not [process for process in workers() if process not in earlier]
    assert sorted(tmp_path.glob("ir2qsm-*")) == []


@pytest.fixture
def toy(tmp_path: Path, module_widget: Callable[..., Any]) -> Any:
    (tmp_path / "Resources" / "UI").mkdir(parents=True)
    (tmp_path / "Resources" / "UI" / "Toy.ui").write_text(UI)
    (tmp_path / "Toy.py").write_text(CODE)
    return module_widget(tmp_path / "Toy.py")


@pytest.fixture
def volume(scene: Any) -> Callable[..., Any]:
    def add(name: str) -> Any:
        values = np.linspace(-0.1, 0.1, 16 * 20 * 24, dtype=np.float32).reshape(16, 20, 24)
        return slicer.util.addVolumeFromArray(values, name=name)

    return add
