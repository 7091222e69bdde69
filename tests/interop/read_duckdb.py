"""DuckDB reads every table of a lake through its Delta extension. usage: read_duckdb.py LAKE"""
import glob, os, sys
import duckdb
import duckdb_extension_delta
from tables import PARTS, Answers, tables

db = duckdb.connect()
# Loaded from the package's own folder: `load delta` would look for it in the user's home or on the network.
[extension] = glob.glob(os.path.join(os.path.dirname(duckdb_extension_delta.__file__), "extensions", "*", "delta.duckdb_extension"))
db.execute(f"load '{extension}'")
answers = Answers()
for name, path in tables(sys.argv[1]):
    scan = f"delta_scan('{path}')"
    kinds = db.execute(f"describe select * from {scan}").fetchall()
    relation = db.sql(f"select * from {scan}")
    numeric = [c for c, kind, *_ in kinds if kind.startswith("DECIMAL") or kind in ("INTEGER", "BIGINT", "SMALLINT", "TINYINT")]
    sums = "".join(f', sum("{c}")' for c in numeric)
    row = db.execute(f"select count(*){sums} from {scan}").fetchone()
    lists = {}
    for column, kind in [(c, t) for c, t in zip(relation.columns, relation.types) if t.id == "list" and t.children[0][1].id == "struct"]:
        lists[f"elements({column})"] = f'sum(len("{column}"))'
        for field, _ in kind.children[0][1].children:
            lists[f"values({column}.{field})"] = f'sum(len(list_filter("{column}", x -> x."{field}" is not null)))'
    held = db.execute(f"select {', '.join(lists.values())} from {scan}").fetchone() if lists else []
    answers.table(name, row[0], dict(zip(numeric, row[1:])), dict(zip(lists, held)))
    for column in [c for c, kind, *_ in kinds if kind in ("VARCHAR", "BLOB")]:
        whole = f'select "{column}" from {scan}'
        answers.texts(name, column, (value for [value] in db.execute(whole).fetchall()))
        if ("id", "BIGINT") in [kind[:2] for kind in kinds]:
            for of, rows in PARTS.items():
                answers.texts(name, column, (value for [value] in db.execute(f"{whole} where {rows}").fetchall()), of)
