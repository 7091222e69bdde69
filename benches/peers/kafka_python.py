"""Peer: a Python consumer that appends to a Delta table. usage: kafka_python.py SERVERS TOPIC EVENTS TABLE"""
import json
import sys
from datetime import datetime, timezone
from decimal import Decimal

import pyarrow as pa
from confluent_kafka import Consumer
from deltalake import write_deltalake

servers, topic, events, table = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
BATCH = 250_000
SCHEMA = pa.schema([
    ("transaction_id", pa.string()), ("product_id", pa.string()), ("timestamp", pa.timestamp("us", "UTC")),
    ("quantity", pa.int32()), ("unit_price", pa.decimal128(18, 2)), ("store_id", pa.string()),
    ("_partition", pa.int32()), ("_offset", pa.int64())])

consumer = Consumer({"bootstrap.servers": servers, "group.id": "python", "auto.offset.reset": "earliest",
                     "enable.auto.commit": False, "queued.min.messages": 100_000})
consumer.subscribe([topic])
columns, done = {field.name: [] for field in SCHEMA}, 0


def append():
    write_deltalake(table, pa.table(columns, schema=SCHEMA), mode="append")
    consumer.commit(asynchronous=False)
    for values in columns.values():
        values.clear()


while done < events:
    for message in consumer.consume(10_000, timeout=1.0):
        if message.error():
            sys.exit(str(message.error()))
        event = json.loads(message.value(), parse_float=Decimal)
        time = datetime.fromisoformat(event.get("timestamp") or event["timestamp_"])
        columns["transaction_id"].append(event["transaction_id"])
        columns["product_id"].append(event["product_id"])
        columns["timestamp"].append(time if time.tzinfo else time.replace(tzinfo=timezone.utc))
        columns["quantity"].append(event["quantity"])
        columns["unit_price"].append(Decimal(event["unit_price"]).quantize(Decimal("0.01")))
        columns["store_id"].append(event["store_id"])
        columns["_partition"].append(message.partition())
        columns["_offset"].append(message.offset())
        done += 1
    if len(columns["_offset"]) >= BATCH:
        append()
if columns["_offset"]:
    append()
consumer.close()
print(f"{done} events")
