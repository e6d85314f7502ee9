"""Measures train and predict beside Python and writes docs/benchmarks.md.

Every point is kept in docs/benchmarks.json as soon as it is measured, so a run may be interrupted, and sections and single
points can be measured again: `benches/run train-rows predict-rows:10000000`.
"""

import argparse
import os
from dataclasses import dataclass, field
from typing import Callable

from bench import data, engines, micro, page, predict, results, shapes, train
from bench.settings import FOLDER, docs

WALL, PEAK = ("wall", "wall time, s"), ("peak_mib", "peak memory, MiB")


@dataclass
class Section:
    """A table of the page: `measure(point, repeats)` gives the figures of one of its points."""

    chapter: str
    name: str
    title: str
    about: str
    x: str
    points: dict
    measure: Callable
    render: Callable = None
    program: str = "predict"
    charts: list = field(default_factory=list)

    def __post_init__(self):
        render = self.render or page.paired_table
        self.render = lambda points: render(self, points)


TRAIN, PREDICT, SHAPES, STEPS = "Training", "Scoring", "Shapes", "Steps"
OF_A_MILLION = "A million rows of 18 features, 200 trees; Python reads all files at once and checks no ids."
SECTIONS = [
    Section(
        TRAIN, "train-rows", "By rows",
        f"{data.FEATURES} features, 200 rounds, `max_depth=6`, `eta=0.1`; a fifth as many test rows. Both call the same XGBoost for the same rounds, "
        "and with many rows that is most of the time: what can be saved is what surrounds it. The same R² to the last digit is the same model.", "training rows",
        {"quick": [1_000, 10_000], "full": [1_000, 10_000, 100_000, 1_000_000], "huge": [3_000_000]},
        lambda rows, repeats: train.beside_python(int(rows), data.FEATURES, 200, repeats), program="train", charts=[WALL, PEAK],
    ),
    Section(
        TRAIN, "train-columns", "By columns", "100,000 rows, 100 rounds.", "features",
        {"quick": [10], "full": [10, 70, 300], "huge": [1_000]},
        lambda features, repeats: train.beside_python(100_000, int(features), 100, repeats), program="train", charts=[WALL],
    ),
    Section(
        TRAIN, "train-rounds", "By trees", f"100,000 rows, {data.FEATURES} features.", "rounds",
        {"quick": [20], "full": [50, 200, 800], "huge": []},
        lambda rounds, repeats: train.beside_python(100_000, data.FEATURES, int(rounds), repeats), program="train", charts=[WALL],
    ),
    Section(
        TRAIN, "train-pandas", "Beside pandas", "The same with a peer that reads with pandas: 200 rounds.", "training rows",
        {"quick": [], "full": [10_000, 100_000], "huge": [1_000_000]},
        lambda rows, repeats: train.beside_python(int(rows), data.FEATURES, 200, repeats, "pandas"), program="train",
    ),
    Section(
        PREDICT, "predict-rows", "By rows", f"{data.FEATURES} features, {data.TREES} trees of depth 6, ids checked.", "rows",
        {"quick": [10_000, 100_000], "full": [100_000, 1_000_000, 10_000_000], "huge": [30_000_000]},
        lambda rows, repeats: predict.beside_python(int(rows), data.FEATURES, data.TREES, repeats), charts=[WALL, PEAK],
    ),
    Section(
        PREDICT, "predict-columns", "By columns", f"500,000 rows, {data.TREES} trees.", "features",
        {"quick": [10], "full": [10, 70, 300], "huge": [1_000]},
        lambda features, repeats: predict.beside_python(500_000, int(features), data.TREES, repeats), charts=[WALL],
    ),
    Section(
        PREDICT, "predict-trees", "By trees", f"1,000,000 rows, {data.FEATURES} features.", "trees",
        {"quick": [], "full": [50, 200, 1_000, 2_000], "huge": []},
        lambda trees, repeats: predict.beside_python(1_000_000, data.FEATURES, int(trees), repeats), charts=[WALL],
    ),
    Section(
        PREDICT, "predict-sets", "By instruction set", "10,000,000 rows, the trees compiled for each set that the machine has.", "instructions",
        {"quick": [], "full": ["avx512", "avx2", "neon", "portable"], "huge": []},
        lambda instructions, repeats: predict.with_instructions(10_000_000, instructions, repeats), page.own_table,
    ),
    Section(
        PREDICT, "predict-memory", "Memory", "Repeated ids allowed, since exact ids take memory for each row; 30 M rows are 10 M thrice.", "rows",
        {"quick": [100_000], "full": [1_000_000, 10_000_000, 30_000_000], "huge": []},
        lambda rows, repeats: predict.memory(int(rows), repeats), page.memory_table,
    ),
    Section(
        PREDICT, "predict-s3", "From and to S3",
        "A local S3 server (SeaweedFS) that shares the cores. Alone it hands over and takes the same bytes by curl.", "rows",
        {"quick": [100_000], "full": [10_000_000], "huge": []},
        lambda rows, repeats: predict.s3(int(rows), repeats), page.s3_table,
    ),
    Section(
        SHAPES, "shape-row-groups", "Row groups", OF_A_MILLION + " One file, zstd.", "row groups",
        {"quick": ["500"], "full": ["4", "100", "500", "2000", "5000", "50000"], "huge": []},
        lambda groups, repeats: shapes.beside_python(f"row-groups:{groups}", repeats), page.shape_table, charts=[WALL, PEAK],
    ),
    Section(
        SHAPES, "shape-files", "Files", OF_A_MILLION, "files",
        {"quick": ["200"], "full": ["1", "20", "200", "2000", "20000"], "huge": []},
        lambda files, repeats: shapes.beside_python(f"files:{files}", repeats), page.shape_table, charts=[WALL, PEAK],
    ),
    Section(
        SHAPES, "shape-s3-files", "Files on S3", OF_A_MILLION + " A local S3 server (SeaweedFS) that shares the cores; models and predictions are local.", "files",
        {"quick": [], "full": ["5000"], "huge": []},
        shapes.files_on_s3, page.shape_table,
    ),
    Section(
        SHAPES, "shape-columns", "Columns in 60 row groups", "60,000 rows, 200 trees.", "columns",
        {"quick": [], "full": ["70", "300", "2000"], "huge": []},
        lambda columns, repeats: shapes.beside_python(f"wide:{columns}", repeats), page.shape_table, charts=[WALL],
    ),
    Section(
        SHAPES, "shape-others", "CSV, texts and ids",
        "nested-files: 100 files of 25 row groups, 72 columns, a million rows. csv: 5 M × 20; csv.gz: 2 M × 20; csv-text: a million rows with three texts in "
        "quotes. texts: a million rows of 20 texts with 100,000 levels; carried: five texts go to the predictions, as CSV. ids: ten million UUIDs of text, "
        "mixed, every second one twice, and sorted.", "shape",
        {"quick": [], "full": ["nested-files", "csv", "csv.gz", "csv-text", "texts", "carried", "ids:mixed", "ids:half", "ids:sorted"], "huge": []},
        shapes.beside_python, page.shape_table,
    ),
    Section(
        SHAPES, "shape-dictionary", "Values that repeat",
        "A million rows of 40 integers and 20 texts of 2 to 2,000 different values, 200 trees: as polars and pyarrow write them, by dictionaries, and as pyarrow "
        "writes them without.", "writer",
        {"quick": [], "full": ["polars", "pyarrow", "plain"], "huge": []},
        lambda writer, repeats: shapes.beside_python(f"dictionary:{writer}", repeats), page.shape_table, charts=[WALL],
    ),
    Section(
        SHAPES, "shape-training", "Training on row groups", "A million rows of 18 features, 20 rounds.", "row groups",
        {"quick": [], "full": ["50", "500", "5000"], "huge": []},
        lambda groups, repeats: shapes.training(groups, repeats), program="train", charts=[WALL, PEAK],
    ),
    Section(
        STEPS, "scoring", "Scoring alone", "The compiled trees against XGBoost's in-place prediction, quantising included, every bit compared.", "rows",
        {"quick": [100_000], "full": [10_000_000], "huge": []},
        lambda rows, _: predict.scoring(rows), page.text_blocks,
    ),
    Section(
        STEPS, "engines", "The same model in other engines",
        "Trees of depth 6 on 70 numeric columns of which some miss values, from a matrix of 32-bit floats in memory, on one and on two threads: rows a second of "
        "the fastest pass, by the clock. Engines take the matrix row after row, ours takes it column after column; each gets the batch size of 1,000, 10,000 or all "
        "rows that is best for it. **×** is of the rows a second on two threads, over XGBoost's. *Load* is from XGBoost's own file to an engine that can score: reading, converting, compiling. A slow engine scores the first rows only. *Difference* is the largest one "
        "to XGBoost's predictions on one thread, in units of their range, and the rows whose bits differ; each on one thread, then on two. ONNX Runtime "
        "scores what onnxmltools makes of the model, since that takes the matrix as it is (`train models export --onnx` takes the columns of a table, one by one, "
        "as 64-bit floats). treelite's GTIL walks the trees; tl2cgen makes C of them, which gcc compiles with -O3 on all cores; daal4py is a part of "
        "scikit-learn-intelex. The versions are those of [requirements.txt](../benches/engines/requirements.txt). The last model has 50 trees and 8 columns of "
        "categories (splits by sets of levels): where an engine does not take it, the table has what it says.", "trees",
        {"quick": ["200"], "full": ["200", "2300", "6000", "categories"], "huge": []},
        lambda model, _: engines.beside_engines(model), page.engines_table,
    ),
    Section(
        STEPS, "micro", "Micro-benchmarks",
        "`cargo bench -p predict` on one core: encoding six columns and a derived one, quantising 40 columns and scoring them by 60 trees for each "
        "instruction set, writing a Parquet part of predictions.", "step",
        {"quick": ["hot paths"], "full": ["hot paths"], "huge": []},
        lambda *_: {"steps": micro.measured()}, page.micro_table,
    ),
]  # fmt: skip


def measure(section, point, repeats):
    """One point, kept at once."""
    circumstances = results.circumstances()
    print(f"{section.name} {point} …", flush=True)
    with results.Others() as others:
        figures = section.measure(point, repeats)
    if figures is None:
        print("    not on this machine", flush=True)
        return
    results.keep(section.name, str(point), figures | {"measured": circumstances | {"others": others.processors}, "runs": repeats})
    summary = {name: {key: round(value, 3) for key, value in one.items()} for name, one in figures.items() if name in ("ours", "python")}
    print(f"    {summary or 'done'}", flush=True)


def chosen(words, size):
    """Pairs of a section and a point."""
    sections = {section.name: section for section in SECTIONS}
    sizes = {"quick": ["quick"], "full": ["full"], "huge": ["full", "huge"]}[size]
    for word in words or sections:
        name, _, point = word.partition(":")
        if name not in sections:
            raise SystemExit(f"no section {name}: there are {', '.join(sections)}")
        section = sections[name]
        for one in [point] if point else [one for part in sizes for one in section.points[part]]:
            yield section, one


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--size", choices=["quick", "full", "huge"], default="full", help="quick takes minutes, full hours, huge more hours and memory")
    arguments.add_argument("--rounds", type=int, help="runs of each; the fastest counts (default: 3, quick 1)")
    arguments.add_argument("--page", action="store_true", help="write the page and the charts again, measure nothing")
    arguments.add_argument("--list", action="store_true", help="say what would be measured")
    arguments.add_argument("sections", nargs="*", metavar="SECTION[:POINT]")
    given = arguments.parse_args()
    repeats = given.rounds or (1 if given.size == "quick" else 3)
    work = [] if given.page else list(chosen(given.sections, given.size))
    if given.list:
        print("\n".join(f"{section.name}:{point}" for section, point in work))
        return
    if given.size == "quick":
        os.environ.setdefault("BENCH_DOCS", str(FOLDER / "quick"))
    FOLDER.mkdir(parents=True, exist_ok=True)
    docs().mkdir(parents=True, exist_ok=True)
    for section, point in work:
        measure(section, point, repeats)
        page.write(SECTIONS, results.load())
    page.write(SECTIONS, results.load())


if __name__ == "__main__":
    main()
