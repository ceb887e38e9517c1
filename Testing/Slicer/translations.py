"""`make translations`: brings the .ts files of the Slicer module up to date with the strings of its code and its panel.

Slicer's `tr` takes the name of a file, with that of its package, as the context of what is translated there; lupdate
knows only contexts that are written out, so it reads copies in which they are.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "IR2QSM"
FOLDER = MODULE / "Resources" / "Translations"


def context_of(path: Path) -> str:
    """The context of a Python file's strings, as `slicer.i18n` has it."""
    return f"{path.parent.name}.{path.stem}" if (path.parent / "__init__.py").is_file() else path.stem


def update(files: Iterable[Path]) -> None:
    """Bring .ts files up to date: new strings come in without a translation, those that are gone go."""
    with tempfile.TemporaryDirectory() as folder:
        sources = [str(MODULE / "Resources" / "UI" / "IR2QSM.ui")]
        for path in [MODULE / "IR2QSM.py", *sorted((MODULE / "IR2QSMGui").rglob("*.py"))]:
            copy = Path(folder, *path.relative_to(MODULE).parts)
            copy.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8").replace("translate(", "of_slicer(")
            copy.write_text(re.sub(r"\b_\(", f'translate("{context_of(path)}", ', text), encoding="utf-8")
            sources.append(str(copy))
        for file in files:
            language = file.stem.partition("_")[2].replace("-", "_")
            options = ["-locations", "none", "-no-obsolete", "-silent", "-source-language", "en"]
            lupdate = Path(sys.executable).with_name("pyside6-lupdate")
            command = [lupdate, *sources, *options, "-target-language", language, "-ts", file]
            subprocess.run(list(map(str, command)), check=True)


if __name__ == "__main__":
    update(sorted(FOLDER.glob("*.ts")))
