"""Stand-in for Slicer's module of this name: the context of a text is the file that asks, with its package."""

import sys
from functools import cache
from pathlib import Path

from PySide6.QtCore import QCoreApplication

translate = QCoreApplication.translate


@cache
def getContext(file):
    path = Path(file)
    return f"{path.parent.name}.{path.stem}" if (path.parent / "__init__.py").is_file() else path.stem


def tr(text):
    return translate(getContext(sys._getframe(1).f_code.co_filename), text)
