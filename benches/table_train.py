"""Two rows of the table: the fastest runs of the peer and of train, and their R².

usage: table_train.py ROWS FOLDER
"""

import json
import sys


def fastest(file):
    """Smallest wall seconds, CPU seconds and peak megabytes, each of all runs."""
    with open(file) as lines:
        runs = [[float(number) for number in line.split()] for line in lines]
    return min(run[0] for run in runs), min(run[1] + run[2] for run in runs), min(run[3] for run in runs) / 1024


rows, folder = int(sys.argv[1]), sys.argv[2]
peer, ours = fastest(f"{folder}/theirs.times"), fastest(f"{folder}/ours.times")
with open(f"{folder}/theirs.out") as file:
    peer_r2 = float(file.read().split()[-1])
with open(f"{folder}/ours.out") as file:
    our_r2 = json.loads(file.read().splitlines()[-1])["r2"]
ratios = " | ".join(f"{there / here:.2f}" for there, here in zip(peer, ours))
print(f"| {rows:,} | Python | {peer[0]:.2f} | {peer[1]:.2f} | {peer[2]:.0f} | {peer_r2:.4f} | | | |")
print(f"| {rows:,} | train | {ours[0]:.2f} | {ours[1]:.2f} | {ours[2]:.0f} | {our_r2:.4f} | {ratios} |")
