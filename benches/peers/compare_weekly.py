"""Compares two weekly facts row by row; ratios agree within 1e-9. usage: compare_weekly.py DUCKDB.parquet SMELT.parquet"""
import sys
import duckdb

theirs, ours = sys.argv[1:3]
KEYS = ["yr_num", "wk_num", "store_key", "prod_key"]
db = duckdb.connect()
columns = [row[0] for row in db.execute(f"describe select * from '{ours}'").fetchall() if row[0] not in KEYS]
near = " and ".join(
    f"(t.{c} is not distinct from o.{c} or abs(t.{c}::double - o.{c}::double) <= 1e-9 * greatest(1, abs(o.{c}::double)))"
    for c in columns
)
rows, same = db.execute(
    f"select count(*), count(*) filter (where {near}) from '{theirs}' t full join '{ours}' o using ({', '.join(KEYS)})"
).fetchone()
if rows == 0 or rows != same:
    sys.exit(f"of {rows} rows only {same} agree")
print(f"{rows} rows agree")
