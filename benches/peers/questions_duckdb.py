"""Peer: DuckDB answers named queries, each some times, over one connection. 
usage: questions_duckdb.py LAKE.json RUNS FEWEST MOST_MS MOST_ROWS

A query is not run again after MOST_MS in all, but for the FEWEST runs; one of more than MOST_ROWS is not timed at all. Reads
{"name": ..., "sql": ...} a line, parameters filled in; prints {"name": ..., "rows": ..., "ms": [...], "columns": [...]} or an error. Of each column stand there how many values are not null and, of numbers, their sum."""
import json
import sys
import time
from decimal import Decimal
from lake_duckdb import connect, dialect


def column(values):
    values = [value for value in values if value is not None]
    numbers = values and all(type(value) in (int, float, Decimal) for value in values)
    return [len(values), float(sum(Decimal(value) for value in values)) if numbers else None]


lake, (runs, fewest), most_ms, most_rows = sys.argv[1], map(int, sys.argv[2:4]), float(sys.argv[4]), int(sys.argv[5])
db = connect(lake)
for line in sys.stdin:
    question = json.loads(line)
    try:
        times = []
        sql = dialect(question["sql"])
        if len(db.execute(f"from ({sql}\n) limit {most_rows + 1}").fetchall()) > most_rows:
            print(json.dumps({"name": question["name"], "rows": most_rows + 1}), flush=True)
            continue
        db.execute(sql).fetchall()
        while len(times) < runs and (len(times) < fewest or sum(times) < most_ms):
            began = time.perf_counter()
            # The answer is there; turning it into Python's objects is not counted.
            result = db.execute(sql)
            times.append((time.perf_counter() - began) * 1000)
        names, rows = [name for name, *_ in result.description], result.fetchall()
        columns = [column([row[place] for row in rows]) for place in range(len(names))]
        answer = {"name": question["name"], "rows": len(rows), "ms": times, "columns": columns}
    except Exception as error:
        answer = {"name": question["name"], "error": str(error).splitlines()[0]}
    print(json.dumps(answer), flush=True)
