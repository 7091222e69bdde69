"""What the readers share: the tables of a lake, and how their answers are printed."""
import csv, hashlib, os, sys
from decimal import Decimal


def tables(lake):
    """Every folder with a Delta log, as (name relative to the lake, path), in order of their names."""
    found = []
    for folder, names, _ in os.walk(lake):
        if "_delta_log" in names:
            found.append((os.path.relpath(folder, lake).replace(os.sep, "/"), folder))
            names.clear()
    return sorted(found)


def show(value):
    """A number without zeros at its end, so that readers with other scales print the same; null is empty."""
    if value is None:
        return ""
    text = f"{Decimal(value):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def digest(values):
    """The sum of the first 32 bits of each value's MD5: texts and bytes in any order; null is nothing."""
    whole = (value.encode() if isinstance(value, str) else bytes(value) for value in values if value is not None)
    return sum(int.from_bytes(hashlib.md5(value).digest()[:4], "big") for value in whole)


# Of the rows that a filter on `id`, if that is a bigint, leaves: those that are spread, and those of the last pages.
PARTS = {" of few": "id % 7 = 3", " of late": "id > 40000"}


class Answers:
    """One line a table and measure: table, measure, value. Measures are `rows`, `sum(column)` of a numeric column, of
    lists of structs `elements(column)` and `values(column.field)`, those that are not null, and of texts and bytes
    `digest(column)`, and `digest(column) of few` and `of late`: see PARTS."""

    def __init__(self):
        self.out = csv.writer(sys.stdout, lineterminator="\n")
        self.out.writerow(["table", "measure", "value"])

    def table(self, name, rows, sums, lists):
        self.out.writerow([name, "rows", rows])
        for measure, value in sorted(lists.items()):
            self.out.writerow([name, measure, show(value or 0)])
        for column, value in sorted(sums.items()):
            self.out.writerow([name, f"sum({column})", show(value)])

    def texts(self, name, column, values, of=""):
        self.out.writerow([name, f"digest({column}){of}", digest(values)])
