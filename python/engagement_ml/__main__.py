"""`python -m engagement_ml` trains on the sample and scores its 30,000 customers, into the folder `run` or the one that is named."""

import sys
from pathlib import Path

import engagement_ml


def main() -> None:
    """The command line."""
    if len(sys.argv) > 2 or (len(sys.argv) == 2 and sys.argv[1].startswith("-")):
        sys.exit(f"{__doc__}\n\n    python -m engagement_ml [FOLDER]\n\nThe programs are the commands `train` and `predict`; both know --help.")
    folder, sample = Path(sys.argv[1] if len(sys.argv) == 2 else "run"), engagement_ml.sample()
    try:
        print("training on the sample, which takes a quarter of a minute …", file=sys.stderr)
        trained = engagement_ml.train(
            train_data=sample / "train", test_data=sample / "test", features=sample / "features.toml", models=folder / "models",
            model_version="v1.0.0",
        )  # fmt: skip
        predicted = engagement_ml.predict(input=sample / "customers", models=folder / "models", output=folder / "output")
    except engagement_ml.EngagementError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"""R² on held-out customers: {trained["r2"]:.4f} (the gate asks for 0.75)
model:        {trained["model_location"]}
report:       {trained["model_location"]}/report.html
predictions:  {predicted["output_location"]} ({predicted["rows_predicted"]:,} rows)

    import engagement_ml
    engagement_ml.latest("{folder / "output"}")                      # the predictions as a frame
    engagement_ml.load("{folder / "models"}").predict(frame)         # the same ones for a frame of your own""")


if __name__ == "__main__":
    main()
