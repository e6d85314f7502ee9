"""Expressions come to the same as in the program, which shows it by the rows that `--reasons-where` explains."""

import polars
import pytest

import engagement_ml
from engagement_ml._expressions import evaluate
from engagement_ml._frames import read_column
from engagement_ml._matrix import _as_vector

NUMBERS = [
    "spend * 3 - wait / 7 + narrow",
    "LN(spend)",
    "EXP(wait / 300)",
    "POWER(narrow, wait / 1000) + POW(2, 0.5)",
    "SQRT(spend) * ABS(-wait)",
    "ROUND(spend) + FLOOR(narrow) * CEIL(wait / 7) + CEILING(amount)",
    "-spend * -1.5e-3 + .5",
    "COALESCE(spend / NULLIF(visits, 0), narrow, -1)",
    "LEAST(spend, wait, 50) - GREATEST(narrow, visits)",
    "seen - joined",
    "TIMESTAMP '2019-02-28 23:59:59.5' - seen_ns",
    "DATE_DIFF('day', joined, seen) + DATE_DIFF('hour', seen, joined) / 7 + DATE_DIFF('millisecond', seen_ms, seen)",
    "DATE_DIFF('month', joined, seen) + DATE_DIFF('quarter', seen, joined) / 16 + DATE_DIFF('year', seen, DATE '2016-02-29') / 512",
    "DATE_DIFF('week', joined, seen) + DATE_DIFF('minute', seen, joined) + DATE_DIFF('second', joined, seen)",
    "YEAR(joined) + QUARTER(joined) / 8 + MONTH(seen) / 128 + DAY(seen) / 4096",
    "WEEK(joined) + EXTRACT(DOW FROM joined) / 16 + DAY_OF_YEAR(seen) / 8192",
    "HOUR(seen_ms) + MINUTE(seen) / 128 + EXTRACT(SECOND FROM seen_ns) / 16384",
    "CASE plan WHEN 'gold' THEN 1 WHEN 'größe' THEN spend ELSE wait END",
    "CASE (visits + 1) WHEN 4 THEN 1 WHEN (5) THEN(spend)ELSE(wait)END",
    "CASE WHEN(visits > 9)THEN(spend)ELSE(-wait)END",
    "CASE WHEN active THEN 1 WHEN NOT active THEN 2 END + CASE WHEN visits IN (1, 2, 3) THEN 8 ELSE 16 END",
]
CONDITIONS = [
    "plan < 'h' OR plan >= 'student'",
    "active AND spend > 50 OR NOT active AND visits <> 3",
    "(active)AND(spend > 50)OR NOT(active)AND visits IN(3, 4)AND wait BETWEEN(100)AND(300)",
    "NOT visits = 3 AND narrow != 5",
    "visits BETWEEN 3 AND 20 AND wait NOT BETWEEN 100 AND 200 + 50",
    "plan NOT IN ('gold', '') OR plan IS NULL",
    "visits IN (1, NULL, wait)",
    "(NOT visits IN (1, NULL)) IS NULL",
    "active = (visits > 10)",
    "active IS NULL",
    "COALESCE(active, visits > 5)",
    "NULLIF(plan, 'gold') = plan",
    "CASE WHEN visits > 9 THEN plan ELSE coded END > 'c4'",
    "seen > DATE '2017-01-01' AND joined <= TIMESTAMP '2018-05-05T12:00:00'",
    "GREATEST(seen, seen_ms) = seen",
    "LEAST(plan, 'c') = 'c'",
    "visits > 3 IS NULL OR visits = 7",
    '"visits" - 3 - 2 * 2 >= "wait" / 10 / 5',
    "clock > length",
]


def hashed(number: str) -> str:
    """A condition that depends on the last bits of a number."""
    return f"({number}) * 137438953472 - FLOOR(({number}) * 137438953472 / 2) * 2 >= 1 OR ({number}) IS NULL"


@pytest.mark.parametrize("expression", [*CONDITIONS, *NUMBERS])
def test_an_expression_holds_for_the_same_rows(line, tmp_path, expression):
    condition = hashed(expression) if expression in NUMBERS else expression
    engagement_ml.predict(input=line.customers, models=line.models, output=tmp_path, reasons=1, reasons_where=condition)
    there = engagement_ml.latest(tmp_path, frames="polars")["reason_1"].is_not_null().to_list()
    frame = polars.read_parquet(line.customers / "part.parquet")

    def column(name):
        found = read_column(frame, name)
        return _as_vector(found, found.kind)

    here = evaluate(condition, column, len(frame))
    assert here.kind == "boolean"
    assert [value == 1 for value in here.values] == there
    assert 0 < sum(there) < len(there)
