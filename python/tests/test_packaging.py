"""What the wheel and the tarball hold: complete, found relative to the program, and nothing that a glibc of 2.34 lacks."""

import importlib.machinery
import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(os.environ["ENGAGEMENT_ML_PROGRAMS"])


@pytest.fixture(scope="module")
def package():
    """scripts/package as a module."""
    loader = importlib.machinery.SourceFileLoader("package", str(PROJECT / "scripts/package"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("package", loader))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stage(package, tmp_path_factory):
    """bin/ and lib/ as they are packed."""
    if not (PROGRAMS / package.BOTH).exists():
        pytest.skip(f"{PROGRAMS} has no {package.BOTH}: cargo build --release --workspace --bins")
    folder = tmp_path_factory.mktemp("stage")
    package.stage_programs(PROGRAMS, folder)
    return folder


def test_the_program_runs_with_its_own_libraries(package, stage):
    both = stage / "bin" / package.BOTH
    loaded = subprocess.run(["ldd", both], env={}, capture_output=True, text=True, check=True).stdout
    for library in ("libxgboost", "libgomp", "libstdc", "libgcc_s"):
        (path,) = re.findall(rf"{re.escape(library)}\S* => (\S+)", loaded)
        assert Path(path).resolve().is_relative_to(stage), path
    assert str(Path.home()) not in subprocess.run(["readelf", "-d", both], capture_output=True, text=True, check=True).stdout
    for name in ("train", "predict"):
        said = subprocess.run([both, name, "--version"], env={}, capture_output=True, text=True, check=True).stdout
        assert said.split()[0] == name
        link = stage / "bin" / name
        link.symlink_to(package.BOTH)
        assert subprocess.run([link, "--version"], env={}, capture_output=True, text=True, check=True).stdout == said
    assert subprocess.run([both, "nothing"], env={}, capture_output=True, text=True).returncode == 2


def test_man_pages_and_completions(package, stage, tmp_path):
    subprocess.run([stage / "bin" / package.BOTH, "manual", tmp_path], env={}, check=True)
    found = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert {"man/man1/train.1", "man/man1/predict.1", "bash-completion/completions/train.bash", "zsh/site-functions/_predict"} <= found
    page = (tmp_path / "man/man1/train.1").read_text().replace("\\-", "-")
    assert "--min-r2" in page and "--model-version" in page
    assert "--max-drift" in (tmp_path / "bash-completion/completions/predict.bash").read_text()


def test_a_newer_glibc_and_a_lacking_library_are_found(package, stage, monkeypatch):
    monkeypatch.setattr(package, "OLDEST_GLIBC", (2, 10))
    with pytest.raises(SystemExit, match="newer than"):
        package.check_glibc(stage / "bin" / package.BOTH)
    (stage / "lib/libgcc_s.so.1").rename(stage / "gone")
    with pytest.raises(SystemExit, match="needs libgcc_s.so.1"):
        package.check_complete(stage)
    (stage / "gone").rename(stage / "lib/libgcc_s.so.1")


