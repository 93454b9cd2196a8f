"""Join the features as they were known before each rating, check them, fit and save."""

from __future__ import annotations

import outgrow as og


def main() -> None:
    """Train on the earlier ratings, and say how good the model is on the later ones."""
    store = og.FeatureStore("store")
    labels = og.read("labels.parquet")
    report = store.check_leakage(labels.sample(0.02), "liked")
    print(report)
    report.raise_for_leaks()
    rows = store.get_historical_features(labels, "liked")
    train, test = rows.split(time="event_timestamp", at="1998-03-01")
    pipeline = og.Pipeline([og.HistGradientBoostingClassifier(max_iter=60)])
    columns = ["user_ratings", "user_mean", "film_ratings", "film_mean", "liked"]
    model = pipeline.fit(train.select(columns), "liked")
    print(model.evaluate(test.select(columns), "liked"))
    model.save("liked", overwrite=True)


if __name__ == "__main__":
    main()
