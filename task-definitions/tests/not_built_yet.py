"""What docs/contract.md says already and the programs do not have yet: open issues will build it. Whoever builds a setting or a
metric takes its line away, or the tests fail; when nothing is left, this file and its two uses in test_names.py go."""

SETTINGS = {
    "SHARD",
}

METRICS: set[str] = set()
