"""Prints medians and ratios of the lines "work who seconds megabytes" in a results file: ratios.py FILE."""
import statistics
import sys

figures = {}
with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        work, who, seconds, megabytes = line.split()
        figures.setdefault(work, {}).setdefault(who, []).append((float(seconds), float(megabytes)))

print(f"{'work':<18}{'who':<16}{'seconds':>9}{'MB':>7}   against rowback (above 1: rowback is faster)")
for work, all_of in figures.items():
    ours = statistics.median(seconds for seconds, _ in all_of["rowback"])
    for who, runs in all_of.items():
        seconds = statistics.median(seconds for seconds, _ in runs)
        memory = max(megabytes for _, megabytes in runs)
        ratio = "" if who == "rowback" else f"{seconds / ours:7.2f} ×"
        print(f"{work:<18}{who:<16}{seconds:>9.2f}{memory:>7.0f}   {ratio}")
