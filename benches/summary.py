"""Prints medians and ratios of the lines "who stage seconds" in a results file: summary.py FILE."""
import statistics
import sys

seconds = {}
memory = []
with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        who, stage, number = line.split()
        if stage == "memory":
            memory.append(float(number))
        else:
            seconds.setdefault(who, {}).setdefault(stage, []).append(float(number))


def median(who, *stages):
    """The median of the sums of these stages, run by run; None when there is no such stage."""
    lists = [seconds[who][stage] for stage in stages if stage in seconds[who]]
    return statistics.median(map(sum, zip(*lists))) if lists else None


def row(label, hand, ours):
    """One line of the table."""
    figures = [f"{hand:9.2f} s" if hand is not None else " " * 11, f"{ours:9.2f} s" if ours is not None else " " * 11]
    ratio = f"{hand / ours:7.2f} ×" if hand and ours else ""
    print(f"{label:<28}{figures[0]}{figures[1]}  {ratio}")


runs = len(next(iter(seconds["hand"].values())))
print(f"medians of {runs} runs           by hand    rowback   by hand ÷ rowback (above 1: rowback is faster)")
row("load: backup to scratch", median("hand", "load"), median("rowback", "scratch", "load"))
row("extract: the wanted rows", median("hand", "extract"), median("rowback", "extract"))
row("diff and plan", None, median("rowback", "diff", "plan"))
row("apply", median("hand", "apply"), median("rowback", "apply"))
row("verify", None, median("rowback", "verify"))
row("total", median("hand", "total"), median("rowback", "total"))
row("total without verify", median("hand", "total"), median("rowback", "unverified"))
if "full" in seconds:
    row("total, by hand in full", median("full", "total"), median("rowback", "total"))
print(f"peak resident memory of rowback: {max(memory):.0f} MB (limit 300)")
