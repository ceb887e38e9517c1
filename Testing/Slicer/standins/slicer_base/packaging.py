"""Stand-in for Slicer's module of this name: looks for real, asks for real, installs with the real pip."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import slicer
from packaging.requirements import Requirement


def load_requirements(path):
    lines = [line.partition("#")[0] for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line.strip()]


def pip_check(requirement):
    one = Requirement(str(requirement))
    try:
        return importlib.metadata.version(one.name) in one.specifier
    except importlib.metadata.PackageNotFoundError:
        return False


def pip_install(requirements):
    subprocess.run([sys.executable, "-m", "pip", "install", *requirements], check=True)


def pip_ensure(requirements, *, requester, prompt_install=True):
    missing = [str(one) for one in requirements if not pip_check(one)]
    ask = {"text": f"{requester} needs Python packages. Install?", "detailedText": "\n".join(missing)}
    if missing and prompt_install and not slicer.util.confirmOkCancelDisplay(**ask):
        raise RuntimeError("User declined package installation")
    if missing:
        pip_install(missing)
