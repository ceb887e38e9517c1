"""The German and Chinese strings of the module: none is missing, none is stale, and Slicer would show them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QTranslator
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel

from Testing.Slicer import translations

FILES = sorted(translations.FOLDER.glob("*.ts"))
DRAWN_BY_VTK = {"Susceptibility [ppm]", "Difference [ppm]", "{statistic} of each segment", "Segment (No. in the table)"}
"""What stands in views and plots, whose font has no Chinese."""
OF_PLACEHOLDERS = {"{n}. {te} ms: {phase}, {magnitude}", "{method} ({n} of {all}): {stage}"}


def messages(file: Path) -> list[tuple[str, str]]:
    """Pairs of a source and its translation, which must be finished."""
    pairs = []
    for message in ET.parse(file).getroot().iter("message"):
        translation = message.find("translation")
        assert translation is not None and translation.get("type") is None, message.findtext("source")
        pairs.append((message.findtext("source") or "", translation.text or ""))
    return pairs


def test_there_are_two_languages_named_as_slicer_names_them() -> None:
    assert [file.name for file in FILES] == ["IR2QSM_de-DE.ts", "IR2QSM_zh-CN.ts"]
    for file in FILES:
        assert ET.parse(file).getroot().get("language") == file.stem.partition("_")[2].replace("-", "_")


def test_all_strings_are_in_the_files_and_no_others(tmp_path: Path) -> None:
    copies = [Path(shutil.copy(file, tmp_path)) for file in FILES]
    translations.update(copies)
    for file, copy in zip(FILES, copies, strict=True):
        assert copy.read_text(encoding="utf-8") == file.read_text(encoding="utf-8"), "run: make translations"
    sources = {source for source, _translation in messages(FILES[0])}
    assert {"Inputs", "Looking at the field…", "Best (minutes)", "Open in comparison"} <= sources and len(sources) > 250


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_translations_are_whole_and_their_placeholders_agree(file: Path) -> None:
    for source, translation in messages(file):
        assert translation.strip(), source
        for pattern in (r"\{\w+\}", r"\*\.\w+", r"https?://[\w:]*", "…$"):
            assert set(re.findall(pattern, source)) == set(re.findall(pattern, translation)), source
        assert len(re.findall(r"&\w", source)) == len(re.findall(r"&\w", translation)), source
    same = [source for source, translation in messages(file) if source == translation and len(source) > 20]
    assert set(same) <= DRAWN_BY_VTK | OF_PLACEHOLDERS


def test_names_of_settings_and_classes_are_not_offered_to_translators() -> None:
    contexts = {c.findtext("name"): c for c in ET.parse(FILES[0]).getroot().iter("context")}
    of_the_panel = {message.findtext("source") for message in contexts["IR2QSM"].iter("message")}
    ui = ET.parse(translations.MODULE / "Resources" / "UI" / "IR2QSM.ui").getroot()
    names = {p.findtext("string") for p in ui.iter("property") if p.get("name") == "SlicerParameterName"}
    assert len(names) > 20 and "Inputs" in of_the_panel
    assert not of_the_panel & {*names, "vtkMRMLScalarVolumeNode"}


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def language(request: pytest.FixtureRequest, app: Any, tmp_path: Path) -> Iterator[str]:
    """Slicer in another language."""
    binary = tmp_path / f"{request.param.stem}.qm"
    lrelease = Path(sys.executable).with_name("pyside6-lrelease")
    subprocess.run([str(lrelease), str(request.param), "-qm", str(binary), "-silent"], check=True)
    translator = QTranslator()
    assert translator.load(str(binary))
    app.installTranslator(translator)
    yield request.param.stem.partition("_")[2]
    app.removeTranslator(translator)


def test_the_panel_is_translated_and_fits(language: str, request: pytest.FixtureRequest) -> None:
    panel = request.getfixturevalue("panel")
    ui, german = panel.ui, language == "de-DE"
    assert ui.maskLabel.text() == ("&Maske:" if german else "掩膜(&M)：")
    assert ui.presetSelector.itemText(1) == ("Schnell (Sekunden)" if german else "快速（几秒）")
    assert ui.fieldNote.text().startswith("Wählen Sie die Phase" if german else "请选择")
    assert ui.methodsSection.text() == ("Verfahren: ir2qsm" if german else "方法：ir2qsm")
    for name in ("methods", "display", "compare", "regions", "advanced", "log"):
        getattr(ui, f"{name}Section").click()
    ui.inputSelector.setCurrentIndex(2)
    panel.parent.show()
    QApplication.sendPostedEvents()
    assert panel.parent.minimumSizeHint().width() <= 300
    texts = [widget.text() for kind in (QLabel, QAbstractButton) for widget in panel.parent.findChildren(kind)]
    letters = [letter.upper() for text in texts for letter in re.findall(r"&(\w)", text)]
    assert len(letters) > 15 and len(letters) == len(set(letters)), sorted(letters)
