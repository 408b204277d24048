"""Trains a LightGBM regression of rents on flats that it makes up itself, and saves it.

LightGBM's wheel leaves out one system library, libgomp: thampi.toml adds its Debian package to the image.

    pip install -r requirements.txt thampi
    python train.py
    thampi build && thampi run
    curl -d '{"data": {"area": 70, "rooms": 3, "floor": 2, "centre_km": 1.5}}' \\
        -H 'Content-Type: application/json' localhost:8080/rents/predict
"""

import lightgbm
import numpy as np

import thampi

FEATURES = ("area", "rooms", "floor", "centre_km")


class Rents(thampi.Model):
    """Estimates what a flat costs a month."""

    def __init__(self, booster):
        self.booster = booster

    def predict(self, args, context):
        missing = [name for name in FEATURES if name not in args]
        if missing:
            raise thampi.BadRequest(f"missing: {', '.join(missing)}")
        flat = [[float(args[name]) for name in FEATURES]]
        return {"rent": round(float(self.booster.predict(flat)[0]), 2)}


def flats(count, chance):
    """Make up flats and their rents: by area, less the further out, and a little by chance."""
    area = chance.uniform(20, 160, count)
    rooms = np.clip((area / 28 + chance.normal(0, 0.6, count)).round(), 1, 7)
    floor = chance.integers(0, 8, count)
    centre_km = chance.exponential(4, count)
    rent = area * (18 - np.minimum(centre_km, 10)) + 15 * floor + 40 * rooms + chance.normal(0, 25, count)
    return np.column_stack([area, rooms, floor, centre_km]), rent


def train():
    """Train on made-up flats; return the model and its mean error, in money, on others."""
    chance = np.random.default_rng(7)
    known, rents = flats(2000, chance)
    data = lightgbm.Dataset(known, rents, feature_name=list(FEATURES))
    booster = lightgbm.train({"objective": "regression", "verbosity": -1, "num_threads": 1}, data, num_boost_round=150)
    others, real = flats(200, chance)
    return booster, float(np.abs(booster.predict(others) - real).mean())


if __name__ == "__main__":
    booster, error = train()
    folder = thampi.save(
        Rents(booster),
        "rents",
        "./models",
        example={"area": 70, "rooms": 3, "floor": 2, "centre_km": 1.5},
        tags={"mean_error": round(error, 1)},
    )
    print(f"saved {folder} (mean error on flats that it had not seen: {error:.0f} a month)")
