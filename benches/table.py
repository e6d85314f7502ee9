"""Two rows of the table: the fastest runs of the peer and of predict.

usage: table.py ROWS PEER_TIMES OUR_TIMES
"""

import sys


def fastest(file):
    """Smallest wall seconds, CPU seconds and peak megabytes, each of all runs."""
    with open(file) as lines:
        runs = [[float(number) for number in line.split()] for line in lines]
    return min(run[0] for run in runs), min(run[1] + run[2] for run in runs), min(run[3] for run in runs) / 1024


rows = int(sys.argv[1])
peer, ours = fastest(sys.argv[2]), fastest(sys.argv[3])
ratios = [there / here for there, here in zip(peer, ours)]
print(f"| {rows:,} | Python | {peer[0]:.2f} | {peer[1]:.2f} | {peer[2]:.0f} | | | |")
print(f"| {rows:,} | predict | {ours[0]:.2f} | {ours[1]:.2f} | {ours[2]:.0f} | " + " | ".join(f"{ratio:.1f}" for ratio in ratios) + " |")
