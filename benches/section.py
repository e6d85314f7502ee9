"""Puts what is on standard input into a section of docs/benchmarks.md, between markers of its name; makes both where
they are missing.

usage: section.py NAME < MARKDOWN
"""

import pathlib
import sys

name = sys.argv[1]
page = pathlib.Path(__file__).parent.parent / "docs" / "benchmarks.md"
text = page.read_text() if page.exists() else "# Benchmarks\n"
begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
if begin not in text:
    text = f"{text.rstrip()}\n\n{begin}{end}"
before, rest = text.split(begin, 1)
after = rest.split(end, 1)[1]
page.write_text(before + begin + sys.stdin.read().strip() + "\n" + end + after)
