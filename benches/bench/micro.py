"""The micro-benchmarks of `cargo bench -p predict`: what one row costs on each step of its way."""

import re
import subprocess

from .settings import PROJECT

UNITS = {"ps": 1e-12, "ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
RATES = {"item/s": 1.0, "Kitem/s": 1e3, "Mitem/s": 1e6, "Gitem/s": 1e9}


def measured():
    """Rows per second of each benchmark, by its name: the median and the fastest."""
    command = ["cargo", "bench", "--profile", "release", "--locked", "--workspace", "--bench", "hot_paths"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return parsed(done.stdout)


def parsed(text):
    """Divan prints a tree: a line of times for each benchmark, then a line of rates."""
    found, group, name = {}, None, None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("│")]
        title = re.match(r"^([│ ]*)[├╰]─ (\S+)", line)
        if title:
            name = title[2] if not title[1] else f"{group} {title[2]}"
            group = title[2] if not title[1] else group
        rates = [rate_of(cell) for cell in re.findall(r"[\d.]+ [KMG]?item/s", line)]
        if rates and name and len(cells) > 1:
            # fastest, slowest, median, mean
            found[name] = {"rows_per_second": rates[2], "fastest_rows_per_second": rates[0]}
    if not found:
        raise SystemExit(f"no rates in what cargo bench printed:\n{text[-2000:]}")
    return found


def rate_of(cell):
    number, unit = cell.split()
    return float(number) * RATES[unit]
