"""The Slicer extension as its build system installs it: every file, no other, and one set of facts about it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_AT_RUN_TIME = {"Screenshots", "__pycache__"}
MODULES = "lib/Slicer-5.12/qt-scripted-modules"

# The extension is configured as a folder of this project, whose `project` needs no compiler.
OUTER = """cmake_minimum_required(VERSION 3.16.3...3.28)
project(Outer NONE)
macro(project name)
  _project(${name} NONE)
endmacro()
include(CTest)
add_subdirectory("@ROOT@" extension)
"""

CONFIG = """set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/Use.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/Config.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/CPack.cmake")
"""

# What Slicer's macros do with the lists: a file must exist; it is copied under its relative path into the one folder
# of scripted modules in the build tree; that folder is what is installed.
USE = """set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "@MODULES@")
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS OR NOT DEFINED MY_NAME)
    message(FATAL_ERROR "Unknown keywords or no NAME: ${MY_UNPARSED_ARGUMENTS}")
  endif()
  foreach(kind SCRIPTS RESOURCES)
    foreach(file ${MY_${kind}})
      if(kind STREQUAL "SCRIPTS" AND NOT file MATCHES "[.]py$")
        string(APPEND file ".py")
      endif()
      if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
        message(FATAL_ERROR "slicerMacroBuildScriptedModule(${kind}) given nonexistent file or directory '${file}'")
      endif()
      set(target "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${file}")
      configure_file("${CMAKE_CURRENT_SOURCE_DIR}/${file}" "${target}" COPYONLY)
    endforeach()
  endforeach()
  install(DIRECTORY "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/"
    DESTINATION "${Slicer_QTSCRIPTEDMODULES_LIB_DIR}")
  if(BUILD_TESTING AND MY_WITH_GENERIC_TESTS)
    add_test(NAME generic_${MY_NAME} COMMAND Slicer ${MY_NAME})
  endif()
endmacro()
macro(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "TESTNAME_PREFIX;SCRIPT" "SLICER_ARGS" ${ARGN})
  get_filename_component(test_name ${MY_SCRIPT} NAME_WE)
  if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT}")
    message(FATAL_ERROR "slicer_add_python_unittest given nonexistent '${MY_SCRIPT}'")
  endif()
  add_test(NAME py_${test_name} COMMAND Slicer --python-script ${MY_SCRIPT})
endmacro()
"""

FACTS = ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS")
GENERATE = """set(FACTS "")
foreach(name @FACTS@)
  string(APPEND FACTS "${name}=${EXTENSION_${name}}\\n")
endforeach()
file(WRITE "${CMAKE_BINARY_DIR}/facts.txt" "${FACTS}")
"""

Configure = Callable[..., subprocess.CompletedProcess[str]]


def cmake(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = shutil.which("cmake")
    assert command, "cmake is in the test extra of pyproject.toml"
    return subprocess.run([command, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def configure(tmp_path_factory: pytest.TempPathFactory) -> Configure:
    """Configure a source tree of the extension against the stand-in for Slicer's macros."""

    def run(source: Path, build: Path) -> subprocess.CompletedProcess[str]:
        folder = tmp_path_factory.mktemp("slicer")
        (folder / "CMakeLists.txt").write_text(OUTER.replace("@ROOT@", source.as_posix()))
        (folder / "SlicerConfig.cmake").write_text(CONFIG)
        (folder / "Use.cmake").write_text(USE.replace("@MODULES@", MODULES))
        (folder / "Config.cmake").write_text(GENERATE.replace("@FACTS@", " ".join(FACTS)))
        (folder / "CPack.cmake").write_text("")
        return cmake("-S", folder, "-B", build, f"-DSlicer_DIR={folder}", f"-DCMAKE_INSTALL_PREFIX={build / 'out'}")

    return run


@pytest.fixture(scope="module")
def built(configure: Configure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build folder with the extension installed under `out/`."""
    build = tmp_path_factory.mktemp("build")
    for ran in (configure(ROOT, build), cmake("--install", build)):
        assert ran.returncode == 0, ran.stdout + ran.stderr
    return build


def needed(root: Path = ROOT) -> set[str]:
    """What must lie in Slicer's folder of scripted modules, from the tree."""
    trees = [(root, root / "IR2QSMLib"), (root, root / "Resources"), (root / "IR2QSM", root / "IR2QSM")]
    return {
        path.relative_to(base).as_posix()
        for base, folder in trees
        for path in folder.rglob("*")
        if path.is_file() and path.name != "CMakeLists.txt" and NOT_AT_RUN_TIME.isdisjoint(path.parts)
    }


def test_what_is_installed_is_what_is_in_the_tree(built: Path) -> None:
    folder = built / "out" / MODULES
    installed = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert installed - needed() == set(), "files that are not in the tree"
    assert needed() - installed == set(), "files missing from CMakeLists.txt"
    assert {"IR2QSM.py", "IR2QSMLib/cli/main.py", "Resources/Models/ir2qsm.safetensors"} <= installed


def test_installed_files_are_nowhere_else(built: Path) -> None:
    outside = [p for p in (built / "out").rglob("*") if p.is_file() and not p.is_relative_to(built / "out" / MODULES)]
    assert outside == []


def test_the_installed_library_finds_its_weights(built: Path) -> None:
    code = "from IR2QSMLib.inversion.learned.load import bundled; print(bundled())"
    folder = built / "out" / MODULES
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=built,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(ran.stdout.strip()).is_relative_to(folder) and Path(ran.stdout.strip()).is_file()


def test_the_module_tests_itself_under_ctest(built: Path) -> None:
    registered = "".join(path.read_text(encoding="utf-8") for path in built.rglob("CTestTestfile.cmake"))
    assert {"py_IR2QSM", "generic_IR2QSM"} <= set(re.findall(r"add_test\(\W*(\w+)", registered))


# The checker itself.


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the parts of the repository that the extension is built from."""
    for name in ("IR2QSMLib", "Resources", "IR2QSM"):
        shutil.copytree(ROOT / name, tmp_path / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "CMakeLists.txt", tmp_path / "source")
    return tmp_path / "source"


def test_a_stale_entry_is_refused(configure: Configure, copied: Path, tmp_path: Path) -> None:
    (copied / "IR2QSMLib" / "core" / "units.py").unlink()
    ran = configure(copied, tmp_path / "build")
    assert ran.returncode != 0 and "IR2QSMLib/core/units.py" in ran.stderr


def test_a_file_from_the_folder_above_is_not_installed(configure: Configure, copied: Path, tmp_path: Path) -> None:
    lists = copied / "IR2QSM" / "CMakeLists.txt"
    lists.write_text(lists.read_text(encoding="utf-8").replace("  IR2QSM.py\n", "  IR2QSM.py\n  ../NOTICE.py\n", 1))
    (copied / "NOTICE.py").write_text("")
    assert configure(copied, tmp_path / "build").returncode == 0
    assert cmake("--install", tmp_path / "build").returncode == 0
    assert not list((tmp_path / "build" / "out").rglob("NOTICE.py"))


# The lists and the facts.


def lists() -> dict[str, list[str]]:
    """The lists of files in both CMakeLists.txt, by name."""
    text = "".join((ROOT / folder / "CMakeLists.txt").read_text(encoding="utf-8") for folder in (".", "IR2QSM"))
    found = re.findall(r"set\((\w+_(?:SCRIPTS|RESOURCES))\n(.*?)\n\s*\)", text, re.DOTALL)
    return {name: body.split() for name, body in found}


def test_the_lists_are_literal_and_sorted() -> None:
    assert len(lists()) == 4
    for name, files in lists().items():
        assert files == sorted(set(files)), name
        assert not any(character in entry for entry in files for character in "*;<>$"), name
    paths = (ROOT / folder / "CMakeLists.txt" for folder in (".", "IR2QSM"))
    assert not any("GLOB" in path.read_text(encoding="utf-8") for path in paths)


def test_the_module_is_no_package() -> None:
    assert not (ROOT / "IR2QSM" / "__init__.py").exists()


@pytest.fixture(scope="module")
def s4ext() -> dict[str, str]:
    lines = (ROOT / "IR2QSM.s4ext").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition(" ") for line in lines if line.strip() and not line.startswith("#")]
    return {key: value for key, _, value in pairs}


@pytest.fixture(scope="module")
def entry() -> dict[str, object]:
    return json.loads((ROOT / "IR2QSM.json").read_text(encoding="utf-8"))


def test_cmake_and_s4ext_say_the_same(built: Path, s4ext: dict[str, str]) -> None:
    facts = dict(line.split("=", 1) for line in (built / "facts.txt").read_text(encoding="utf-8").splitlines())
    assert set(facts) == set(FACTS)
    for name, value in facts.items():
        assert value and value == s4ext[name.lower()], name


def test_each_fact_is_one_quoted_string() -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    for name in FACTS:
        assert re.search(rf'^set\(EXTENSION_{name} "[^"\n]+"\)$', text, re.M), name


def test_json_and_s4ext_say_the_same(entry: dict[str, object], s4ext: dict[str, str]) -> None:
    pairs = [
        ("scm_type", "scm"),
        ("scm_url", "scmurl"),
        ("scm_revision", "scmrevision"),
        ("category", "category"),
        ("build_subdirectory", "build_subdirectory"),
    ]
    for key, keyword in pairs:
        assert entry[key] == s4ext[keyword], key
    assert entry["build_dependencies"] == s4ext["depends"].split() == ["PyTorch"]
    assert str(entry["tier"]) == s4ext["tier"] and str(int(bool(entry["enabled"]))) == s4ext["enabled"]


def test_the_catalogue_entry_keeps_to_its_schema(entry: dict[str, object]) -> None:
    assert str(entry["$schema"]).endswith("slicer-extension-catalog-entry-schema-v1.0.2.json#")
    allowed = {
        "$schema",
        "category",
        "scm_url",
        "scm_revision",
        "scm_type",
        "build_dependencies",
        "dicom_support_rule",
        "build_subdirectory",
        "enabled",
        "tier",
    }
    assert set(entry) <= allowed and entry["scm_type"] in ("git", "local") and entry["tier"] in range(1, 6)


def test_what_the_facts_point_to_is_here(s4ext: dict[str, str]) -> None:
    for url in (s4ext["iconurl"], *s4ext["screenshoturls"].split()):
        assert url.startswith(s4ext["homepage"].replace("//github.com", "//raw.githubusercontent.com") + "/main/")
        assert (ROOT / url.partition("/main/")[2]).is_file()
    icon = (ROOT / "IR2QSM/Resources/Icons/IR2QSM.png").read_bytes()
    assert icon[:8] == b"\x89PNG\r\n\x1a\n" and icon[16:24] == (128).to_bytes(4, "big") * 2
