"""Prints the verdict counts of `rowback recover --json` in one line; usage: counts.py FILE."""
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    result = json.load(file)
totals = {}


def collect(node):
    """Adds up every object called `verdicts`, whatever it hangs on."""
    if isinstance(node, dict):
        for name, child in node.items():
            if name == "verdicts" and isinstance(child, dict):
                for verdict, count in child.items():
                    if isinstance(count, int):
                        totals[verdict] = totals.get(verdict, 0) + count
            else:
                collect(child)
    elif isinstance(node, list):
        for child in node:
            collect(child)


collect(result)
print(", ".join(f"{verdict} {count:,}" for verdict, count in totals.items() if count))
