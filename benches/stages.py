"""Prints "rowback stage seconds" for each stage that `rowback recover --json` timed: stages.py FILE."""
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    for stage, seconds in json.load(file).get("timings", {}).items():
        print("rowback", stage, f"{seconds:.3f}")
