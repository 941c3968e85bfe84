"""Prints the verdict counts of `rowback recover --json` over all tables in one line; usage: counts.py FILE."""
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    tables = json.load(file)["verdicts"]
totals = {}
for verdicts in tables.values():
    for verdict, count in verdicts.items():
        totals[verdict] = totals.get(verdict, 0) + count
print(", ".join(f"{verdict} {count:,}" for verdict, count in totals.items() if count))
