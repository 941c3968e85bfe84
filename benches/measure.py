"""Runs a command and prints its seconds and its own peak resident memory: measure.py OUT COMMAND…

The memory is the high-water mark of the process itself (not of the servers it starts), read from /proc until it ends.
Standard output of the command goes to OUT."""
import subprocess
import sys
import time

with open(sys.argv[1], "wb") as out:
    start = time.monotonic()
    process = subprocess.Popen(sys.argv[2:], stdout=out, stdin=subprocess.DEVNULL)
    peak = 0
    while True:
        try:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
                peak = max([peak] + [int(line.split()[1]) for line in status if line.startswith("VmHWM")])
        except FileNotFoundError:
            pass
        try:
            process.wait(0.02)
            break
        except subprocess.TimeoutExpired:
            continue
    print(f"{time.monotonic() - start:.3f} {peak / 1024:.0f}")
    sys.exit(process.returncode)
