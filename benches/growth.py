"""Prints how time and memory grow from the lines "scale stage figures" in a results file: growth.py FILE."""
import statistics
import sys

facts, seconds, memory = {}, {}, {}
with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        scale, stage, first, second = line.split()
        if stage == "facts":
            facts[scale] = (int(first), int(second))
        else:
            seconds.setdefault(scale, {}).setdefault(stage, []).append(float(first))
            memory.setdefault(scale, []).append(float(second))

print("scale   rows of the needed tables   dump        recover     apply    verify     total   s per million rows   peak memory")
for scale, (rows, size) in facts.items():
    stages = {stage: statistics.median(figures) for stage, figures in seconds[scale].items()}
    total = statistics.median(map(sum, zip(*seconds[scale].values())))
    print(
        f"{scale:<7}{rows:>26,}{size / 1e6:>8.0f} MB"
        + "".join(f"{stages[stage]:>8.2f} s" for stage in ("recover", "apply", "verify"))
        + f"{total:>8.2f} s{total / rows * 1e6:>21.3f}{max(memory[scale]):>11.0f} MB"
    )
