"""What the order of the review queue is worth: accuracy at equal numbers of labels, beside labeling in random order.

    python benchmarks/active_learning.py [--seeds 10] [--labels 300] [--batch 20]

The 1,797 images of handwritten digits that scikit-learn ships (UCI "Optical Recognition of Handwritten Digits", 8 x 8 pixels) stand
for a Sheet of 64 columns. For each seed a third is held out; twenty random items are labeled; then people label batch after
batch, from the top of `review_queue` (which a classifier of the labeled pairs orders) or in random order, and the project's own
classifier is trained on what is labeled and tested on what was held out. Both arms of a seed start with the same twenty and share
what is held out. The interval of the mean difference is that of Student's t over the seeds.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Callable

import polars as pl
from scipy import stats
from sklearn.datasets import load_digits

from workbench_pipelines.labels import CANONICAL_LABELS
from workbench_pipelines.pairs import LABELED_PAIRS
from workbench_pipelines.review_queue import review_queue
from workbench_pipelines.training import train_classifier
from workbench_pipelines.uncertainty import predict_waiting

TARGET = "digit"
START = 20
SHOWN = (60, 100, 140, 200, 300)

Choose = Callable[[pl.DataFrame, random.Random], list[str]]


def digits() -> pl.DataFrame:
    """Every image as the pair of an item: its pixels as bound variables, its digit as the answer."""
    data = load_digits()
    rows = [
        {
            "training_sheet": "digits",
            "sheet": "digits",
            "label_type": "digit",
            "pair_id": f"image-{number:04d}",
            "item_ref": f"{number:04d}",
            "inputs": json.dumps({f"pixel_{place}": value for place, value in enumerate(pixels)}),
            "response": json.dumps({TARGET: str(digit)}),
        }
        for number, (pixels, digit) in enumerate(zip(data.data.tolist(), data.target.tolist(), strict=True))
    ]
    frame = pl.DataFrame(rows)
    return frame.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in LABELED_PAIRS.items() if name not in frame.columns
    ).select([pl.col(name).cast(dtype) for name, dtype in LABELED_PAIRS.items()])


def no_embedding(texts: object) -> None:
    raise RuntimeError("pixels are numbers")


def from_the_queue(pairs: pl.DataFrame, _: random.Random) -> list[str]:
    """The waiting pairs as `review_queue` orders them."""
    labeled, waiting = (pairs.filter(pl.col("status") == status) for status in ("labeled", "unlabeled"))
    predicted = predict_waiting(labeled, waiting, target=TARGET, embed=no_embedding)
    shown = pairs.with_columns(pl.when(pl.col("status") == "labeled").then("response").alias("response"))
    return review_queue(shown, CANONICAL_LABELS.to_frame(), predicted, target=TARGET)["pair_id"].to_list()


def at_random(pairs: pl.DataFrame, mixed: random.Random) -> list[str]:
    waiting = pairs.filter(pl.col("status") == "unlabeled")["pair_id"].to_list()
    mixed.shuffle(waiting)
    return waiting


def accuracy(labeled: pl.DataFrame, held_out: pl.DataFrame) -> float:
    rows = labeled.with_columns(pl.lit("train").alias("split"), pl.lit(1.0).alias("weight"))
    trained = train_classifier(rows, target=TARGET, seed=0)
    predicted, _ = trained.predict([json.loads(text) for text in held_out["inputs"]])
    truth = [json.loads(text)[TARGET] for text in held_out["response"]]
    return sum(one == other for one, other in zip(predicted, truth, strict=True)) / len(truth)


def learn(pairs: pl.DataFrame, seed: int, choose: Choose, most: int, batch: int) -> dict[int, float]:
    """Accuracy by the number of labels."""
    mixed = random.Random(seed)
    names = pairs["pair_id"].to_list()
    mixed.shuffle(names)
    held, names = set(names[: len(names) // 3]), names[len(names) // 3 :]
    held_out = pairs.filter(pl.col("pair_id").is_in(held))
    pool = pairs.filter(~pl.col("pair_id").is_in(held))
    labeled = set(names[:START])
    found: dict[int, float] = {}
    while True:
        status = pl.when(pl.col("pair_id").is_in(labeled)).then(pl.lit("labeled")).otherwise(pl.lit("unlabeled"))
        pool = pool.with_columns(status.alias("status"))
        found[len(labeled)] = accuracy(pool.filter(pl.col("status") == "labeled"), held_out)
        if len(labeled) >= most:
            return found
        labeled |= set(choose(pool, mixed)[:batch])


def interval(values: list[float]) -> tuple[float, float, float]:
    """The mean and its 95 % interval by Student's t."""
    mean = statistics.fmean(values)
    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return mean, mean - half, mean + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--labels", type=int, default=300)
    parser.add_argument("--batch", type=int, default=20)
    given = parser.parse_args()
    pairs = digits()
    arms = {"queue": from_the_queue, "random": at_random}
    curves = {
        name: [learn(pairs, seed, choose, given.labels, given.batch) for seed in range(given.seeds)]
        for name, choose in arms.items()
    }
    print(f"{pairs.height:,} images, {given.seeds} seeds, batches of {given.batch}: accuracy on a held-out third")
    print(f"{'labels':>8} {'queue':>8} {'random':>8} {'difference':>12} {'95 % interval':>18}")
    for count in sorted({*SHOWN} & set(curves["queue"][0])):
        queue, drawn = ([curve[count] for curve in curves[name]] for name in arms)
        mean, low, high = interval([one - other for one, other in zip(queue, drawn, strict=True)])
        means = f"{statistics.fmean(queue):8.3f} {statistics.fmean(drawn):8.3f}"
        print(f"{count:8d} {means} {mean:+12.3f} {f'{low:+.3f} .. {high:+.3f}':>18}")
    areas = [[statistics.fmean(curve.values()) for curve in curves[name]] for name in arms]
    mean, low, high = interval([one - other for one, other in zip(*areas, strict=True)])
    print(f"mean over all batches: {mean:+.3f} ({low:+.3f} .. {high:+.3f})")


if __name__ == "__main__":
    main()
