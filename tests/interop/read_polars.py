"""Polars reads every table of a lake through the deltalake package. usage: read_polars.py LAKE"""
import sys
import polars as pl
from tables import PARTS, Answers, tables

answers = Answers()
for name, path in tables(sys.argv[1]):
    frame = pl.scan_delta(path)
    numeric = [c for c, kind in frame.collect_schema().items() if kind.is_integer() or isinstance(kind, pl.Decimal)]
    # Sums of small integers would wrap: all are made wide first.
    wide = [(pl.col(c).cast(pl.Int128) if frame.collect_schema()[c].is_integer() else pl.col(c).cast(pl.Decimal(38, frame.collect_schema()[c].scale))) for c in numeric]
    # Polars gives 0 for the sum of no values, SQL null.
    sums = [pl.when(pl.col(c).count() > 0).then(w.sum()).alias(c) for c, w in zip(numeric, wide)]
    row = frame.select([pl.len().alias("_rows_"), *sums]).collect().row(0)
    lists = {}
    for column, kind in frame.collect_schema().items():
        if isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct):
            rows = frame.select(column).filter(pl.col(column).list.len() > 0).collect()
            elements = rows[column].explode()
            lists[f"elements({column})"] = len(elements)
            lists |= {f"values({column}.{f.name})": elements.struct.field(f.name).count() for f in kind.inner.fields}
    answers.table(name, row[0], dict(zip(numeric, row[1:])), lists)
    for column in [c for c, kind in frame.collect_schema().items() if kind in (pl.String, pl.Binary)]:
        answers.texts(name, column, frame.select(column).collect()[column])
        if frame.collect_schema().get("id") == pl.Int64:
            for of, rows in PARTS.items():
                answers.texts(name, column, frame.filter(pl.sql_expr(rows)).select(column).collect()[column], of)
