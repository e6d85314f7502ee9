"""What docs/contract.md says already and the programs do not have yet: open issues will build it. Whoever builds a setting or a
metric takes its line away, or the tests fail; when nothing is left, this file and its uses in test_names.py go."""

SETTINGS = {
SETTINGS: set[str] = set()

REFUSED_BY_TRAIN = {"SHARD"}

METRICS: set[str] = set()
