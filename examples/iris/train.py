"""Trains a classifier of iris flowers and saves it where `thampi build` and `thampi push` look for it."""

import numpy as np
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score
from sklearn.neighbors import KNeighborsClassifier

import thampi


class ThampiWrapper(thampi.Model):
    """What is saved, and what answers each request."""

    def __init__(self, classifier):
        self.classifier = classifier

    def initialize(self, context):
        """Called once, when the model has been loaded."""

    def predict(self, args, context):
        """Called for each request; args is the value of "data"."""
        species = self.classifier.predict([args["input"]])[0]
        return {"result": int(species)}


def train():
    """Train on all flowers but the last ten of a fixed shuffle; return the classifier and its accuracy on those ten."""
    flowers, species = load_iris(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(flowers))
    seen, held_out = order[:-10], order[-10:]
    classifier = KNeighborsClassifier().fit(flowers[seen], species[seen])
    return classifier, accuracy_score(species[held_out], classifier.predict(flowers[held_out]))


if __name__ == "__main__":
    classifier, accuracy = train()
    thampi.save(
        ThampiWrapper(classifier),
        "iris-sklearn",
        "./models",
        example={"input": [5.9, 3.2, 4.8, 1.8]},
        tags={"accuracy": round(float(accuracy), 3)},
    )
    print(f"saved ./models/iris-sklearn (accuracy on the ten flowers held out: {accuracy:.0%})")
