"""Trains the tutorial's classifier and keeps it as each side does: a bundle, and joblib's file.

`save.py FOLDER`, FOLDER being that of the tutorial's train.py; run in the project, whose features.py is imported.
"""

import sys

import joblib

import thampi

sys.path[:0] = [sys.argv[1], "."]
import features  # noqa: E402, F401 - the module that ships as a file
import train  # noqa: E402

classifier, _ = train.train()
thampi.save(train.ThampiWrapper(classifier), "iris", "models", example={"input": [5.9, 3.2, 4.8, 1.8]}, verify=False)
joblib.dump(classifier, "iris.joblib")
