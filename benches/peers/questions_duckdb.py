"""Peer: DuckDB answers named queries, each some times, over one connection. usage: questions_duckdb.py LAKE.json RUNS

Reads {"name": ..., "sql": ...} a line, parameters filled in; prints {"name": ..., "rows": ..., "ms": [...]} or an error."""
import json
import sys
import time
from lake_duckdb import connect, dialect

lake, runs = sys.argv[1], int(sys.argv[2])
db = connect(lake)
for line in sys.stdin:
    question = json.loads(line)
    try:
        times = []
        sql = dialect(question["sql"])
        db.execute(sql).fetchall()
        for _ in range(runs):
            began = time.perf_counter()
            # The answer is there; turning it into Python's objects is not counted.
            result = db.execute(sql)
            times.append((time.perf_counter() - began) * 1000)
        answer = {"name": question["name"], "rows": len(result.fetchall()), "ms": times}
    except Exception as error:
        answer = {"name": question["name"], "error": str(error).splitlines()[0]}
    print(json.dumps(answer), flush=True)
