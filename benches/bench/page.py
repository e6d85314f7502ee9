"""docs/benchmarks.md and its charts, from docs/benchmarks.json alone."""

import sys

from . import charts
from .settings import PROJECT, docs

sys.path.append(str(PROJECT / "task-definitions"))
import cost  # noqa: E402

HEAD = """# Benchmarks

Written by `make bench` (`benches/run`) from [benchmarks.json](benchmarks.json); `benches/run --page` writes it again without measuring.
`make bench-quick` tries all of it on small tables in a few minutes. What is compared:

- **Python** is what a careful engineer writes: polars to read and write, XGBoost 3.4.1 (`QuantileDMatrix`, `hist`; `inplace_predict`
  row group by row group), the ids checked for repetition ([train](../benches/bench/peer_train.py), [predict](../benches/bench/peer_predict.py)).
  Its time includes starting the interpreter, as a job's does.
- **train** and **predict** are the programs as they are released, the whole command: `train` also learns statistics, judges by the gate,
  explains the model, writes its report and publishes; `predict` checks ids, counts quality and drift, and writes a manifest.
- Both run in turn on the same files with the same number of threads; the fastest of each counts. Predictions must be the same bits in
  both, or the run ends. The tables are made from a seed (`benches/tables.py`): floats, a tenth of a fifth of them missing, small
  integers, booleans, texts. R² on real tables, with LightGBM and CatBoost, is in [accuracy.md](accuracy.md).
- **×** is Python's figure over ours: above 1 we need less. Memory is the peak resident set in MiB.
"""

COST_HEAD = """## Cost

What the seconds above cost on Fargate (2 vCPU, {memory:g} GB, Linux, on demand) at the list prices of us-east-1, which were the same in
March 2026 as in `task-definitions/cost.py`: x86 ${x86_vcpu} a vCPU hour and ${x86_gb} a GB hour, ARM ${arm_vcpu} and ${arm_gb}. AWS's
European regions cost up to a third more. The least that is billed is {least} s, and pulling the image counts too ({pull} s as an estimate);
*busy* leaves both out: what the run itself adds. The seconds are this machine's, not Fargate's.
"""


def write(sections, results):
    """The page and a chart for each section that grows with something."""
    (docs() / "charts").mkdir(parents=True, exist_ok=True)
    blocks = [HEAD.rstrip(), where(results)]
    chapter = None
    for section in sections:
        points = results.get(section.name)
        if not points:
            continue
        if section.chapter != chapter:
            chapter = section.chapter
            blocks.append(f"## {chapter}")
        blocks.append(f"### {section.title}\n\n{section.about}")
        blocks += pictures(section, points)
        blocks.append(section.render(in_order(points)))
    blocks.append(costs(results))
    (docs() / "benchmarks.md").write_text("\n\n".join(block for block in blocks if block) + "\n")


def in_order(points):
    """Points by number, others as they are named."""
    return sorted(points.items(), key=lambda item: (0, int(item[0]), "") if item[0].isdigit() else (1, 0, item[0]))


def where(results):
    """Machines, dates, load and versions of the figures."""
    records = [record for points in results.values() for record in points.values()]
    lines = []
    for machine in sorted({record["measured"]["machine"] for record in records}):
        here = [record["measured"] for record in records if record["measured"]["machine"] == machine]
        dates = sorted({record["date"] for record in here})
        days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        threads = sorted({record["threads"] for record in here})
        lines.append(f"Measured on: {machine}; {days}, {', '.join(map(str, threads))} threads.")
    note = "The column *others* is how many processors the rest of the machine took meanwhile: the less, the better the figure."
    busy = sum(record["measured"].get("others", 0) >= 0.2 for record in records)
    if busy:
        note += f" {busy} of {len(records)} points were measured beside other work and are worth less than the others."
    return "\n".join([*lines, note])


def others(record):
    """Processors that others took; of older figures only the load before is known."""
    measured = record["measured"]
    return f"{measured['others']:.2f}" if "others" in measured else f"load {measured['load']}"


def pictures(section, points):
    """The charts of a section, where there is more than one point."""
    drawn = []
    for figure, label in section.charts:
        series = [(name, [(int(point), record[key][figure]) for point, record in points.items() if point.isdigit() and key in record]) for key, name in (("ours", section.program), ("python", "Python"))]
        if max(len(line) for _, line in series) < 2:
            continue
        name = f"{section.name}-{figure.split('_')[0]}.svg"
        (docs() / "charts" / name).write_text(charts.lines(f"{section.program}: {label.split(',')[0]} by {section.x}", section.x, label, series))
        drawn.append(f"![{section.title}: {label}](charts/{name})")
    return drawn


def paired_table(section, points):
    """Two lines a point: Python and ours, with the ratios."""
    has_r2 = any("r2" in record["ours"] for _, record in points)
    lines = [f"| {section.x} | program | wall s | CPU s | peak MiB |{' R² |' if has_r2 else ''} wall × | CPU × | memory × | runs | others |"]
    lines.append("|" + "---|" * (10 + has_r2))
    for point, record in points:
        ours, python = record["ours"], record["python"]
        r2 = [f" {figures['r2']:.4f} |" if has_r2 else "" for figures in (python, ours)]
        ratios = " | ".join(f"{python[name] / ours[name]:.1f}" if python[name] / ours[name] >= 10 else f"{python[name] / ours[name]:.2f}" for name in ("wall", "cpu", "peak_mib"))
        lines.append(f"| {amount(point)} | Python | {figures_of(python)} |{r2[0]} | | | | |")
        lines.append(f"| {amount(point)} | {section.program} | {figures_of(ours)} |{r2[1]} {ratios} | {record['runs']} | {others(record)} |")
    return "\n".join(lines)


def figures_of(figures):
    return f"{figures['wall']:.2f} | {figures['cpu']:.2f} | {figures['peak_mib']:,.0f}"


def amount(point):
    return f"{int(point):,}" if point.isdigit() else point


def own_table(section, points):
    """One line a point, ours alone."""
    lines = [f"| {section.x} | wall s | CPU s | peak MiB | runs | others |", "|---|---|---|---|---|---|"]
    for point, record in points:
        lines.append(f"| {amount(point)} | {figures_of(record['ours'])} | {record['runs']} | {others(record)} |")
    return "\n".join(lines)


def memory_table(section, points):
    lines = ["| rows | peak MiB | planned MiB | wall s | runs | others |", "|---|---|---|---|---|---|"]
    for point, record in points:
        ours = record["ours"]
        lines.append(f"| {amount(point)} | {ours['peak_mib']:,.0f} | {record['planned_mib']:,.0f} | {ours['wall']:.2f} | {record['runs']} | {others(record)} |")
    return "\n".join(lines)


def shape_table(section, points):
    """Two lines a point, and the memory that the plan states."""
    lines = [f"| {section.x} | program | wall s | CPU s | peak MiB | planned MiB | wall × | CPU × | memory × | runs | others |"]
    lines.append("|" + "---|" * 11)
    for point, record in points:
        ours, python = record["ours"], record["python"]
        ratios = " | ".join(f"{python[name] / ours[name]:.2f}" for name in ("wall", "cpu", "peak_mib"))
        lines.append(f"| {amount(point)} | Python | {figures_of(python)} | | | | | | |")
        lines.append(f"| {amount(point)} | {section.program} | {figures_of(ours)} | {record['planned_mib']:,.0f} | {ratios} | {record['runs']} | {others(record)} |")
    return "\n".join(lines)


def s3_table(section, points):
    lines = ["| rows | the server alone, wall s | predict, wall s | predict / server | CPU s of predict | of both | processors busy | runs | others |"]
    lines.append("|" + "---|" * 9)
    for point, record in points:
        own, ours = record["server_wall"], record["ours"]
        busy = ours["all_cpu"] / ours["wall"]
        columns = [amount(point), f"{own:.2f}", f"{ours['wall']:.2f}", f"{ours['wall'] / own:.2f}", f"{ours['cpu']:.2f}", f"{ours['all_cpu']:.2f}"]
        lines.append(f"| {' | '.join(columns)} | {busy:.2f} | {record['runs']} | {others(record)} |")
    return "\n".join(lines)


def text_blocks(section, points):
    return "\n\n".join(f"Others took {others(record)} processors:\n\n```\n{record['text']}\n```" for _, record in points)


ENGINE_NAMES = {"xgboost": "XGBoost, in place", "onnxruntime": "ONNX Runtime", "gtil": "treelite GTIL", "tl2cgen": "tl2cgen", "daal4py": "daal4py", "ours": "predict's scorer"}


def engines_table(section, points):
    """A line for each engine; what an engine that failed said stands in place of its figures."""
    lines = ["| trees | engine | rows/s, 1 thread | rows/s, 2 threads | × | load s | batch | difference | rows that differ | others |"]
    lines.append("|" + "---|" * 10)
    for point, record in points:
        reference = record["engines"]["xgboost"]["threads"]
        for name, engine in sorted(record["engines"].items(), key=lambda item: list(ENGINE_NAMES).index(item[0].partition(".")[0])):
            kind, _, instructions = name.partition(".")
            title = f"| {amount(point)} | {ENGINE_NAMES[kind]}{f', {instructions}' if instructions else ''} |"
            if "failed" in engine:
                lines.append(f"{title} {in_a_cell(engine['failed'])} | | | | | | | {others(record)} |")
                continue
            threads = [engine["threads"][number] for number in ("1", "2")]
            speeds = " | ".join(f"{figures['rows_per_second']:,.0f}" for figures in threads)
            ratio = threads[1]["rows_per_second"] / reference["2"]["rows_per_second"]
            batches = " / ".join(f"{figures['batch_rows']:,}" if "batch_rows" in figures else "all" for figures in threads)
            differences = " / ".join(f"{figures['largest_difference']:.1e}" if figures["largest_difference"] else "0" for figures in threads)
            different = " / ".join(f"{figures['different_rows']:,} of {figures['rows']:,}" for figures in threads)
            load = f"{engine['load_seconds']:.3f}" if engine["load_seconds"] < 1 else f"{engine['load_seconds']:.1f}"
            rest = f"{batches} | {differences} | {different} | {others(record)} |"
            lines.append(f"{title} {speeds} | {ratio:.1f} | {load} | {rest}")
    return "\n".join(lines)


def in_a_cell(text):
    """The first line of a message, without what would end a cell."""
    return text.strip().splitlines()[0].replace("|", "\\|")[:200]


def micro_table(section, points):
    lines = ["| step | M rows/s, median | M rows/s, fastest | others |", "|---|---|---|---|"]
    for _, record in points:
        for name, rates in record["steps"].items():
            median, best = (rates[key] / 1e6 for key in ("rows_per_second", "fastest_rows_per_second"))
            lines.append(f"| {name} | {median:.2f} | {best:.2f} | {others(record)} |")
    return "\n".join(lines)


def costs(results):
    """What the paired points cost."""
    rows = []
    for name, program in (("train-rows", "train"), ("predict-rows", "predict")):
        for point, record in in_order(results.get(name, {})):
            rows += [cost_line(program, point, label, record[key]["wall"]) for key, label in (("python", "Python"), ("ours", program))]
    if not rows:
        return ""
    size = cost.Size()
    head = COST_HEAD.format(
        memory=size.memory_gb, least=cost.LEAST_SECONDS, pull=cost.ESTIMATED_PULL_SECONDS,
        x86_vcpu=cost.PER_VCPU_HOUR["x86"], x86_gb=cost.PER_GB_HOUR["x86"], arm_vcpu=cost.PER_VCPU_HOUR["arm"], arm_gb=cost.PER_GB_HOUR["arm"],
    )  # fmt: skip
    table = ["| job | rows | program | x86, billed | ARM, billed | x86, busy | ARM, busy |", "|---|---|---|---|---|---|---|", *rows]
    return head + "\n" + "\n".join(table)


def cost_line(job, point, program, seconds):
    sizes = [cost.Size(architecture=architecture) for architecture in ("x86", "arm")]
    billed = [f"${cost.task_dollars(seconds, size):.5f}" for size in sizes]
    busy = [f"${seconds / 3600 * size.dollars_per_hour():.5f}" for size in sizes]
    return f"| {job} | {amount(point)} | {program} | " + " | ".join(billed + busy) + " |"
