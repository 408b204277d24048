"""Trains a spam filter (TF-IDF and naive Bayes) on messages that it makes up itself, and saves it.

    pip install -r requirements.txt thampi
    python train.py
    thampi build && thampi run
    curl -d '{"data": {"text": "You won a free prize, click now"}}' \\
        -H 'Content-Type: application/json' localhost:8080/spam/predict
"""

import random

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from spamfilter import SpamFilter

import thampi

SPAM = (
    ("you won", "congratulations, you won", "claim now", "last chance", "dear winner"),
    ("a free prize", "a luxury cruise", "cheap pills", "easy money", "a credit without questions"),
    ("click now", "call this number", "send your bank details", "reply with your password", "offer ends today"),
)
HAM = (
    ("hi anna", "hello", "good morning", "sorry for the delay", "thanks for yesterday"),
    ("the report is attached", "shall we have lunch", "the meeting moved to three", "the tests pass again"),
    ("see you tomorrow", "let me know", "best regards", "talk to you soon", "have a nice weekend"),
)


def messages(kind, count, chance):
    """Make up messages of one kind, with a word or two of everyday between."""
    everyday = ("please", "today", "again", "really", "about the invoice", "for the team", "in the office")
    return [
        ", ".join([chance.choice(part) for part in kind] + chance.sample(everyday, chance.randrange(3)))
        for _ in range(count)
    ]


def train(count=400):
    """Train on made-up messages; return the pipeline and its accuracy on others."""
    chance = random.Random(7)
    texts = messages(SPAM, count, chance) + messages(HAM, count, chance)
    labels = ["spam"] * count + ["ham"] * count
    pipeline = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), MultinomialNB()).fit(texts, labels)
    others = messages(SPAM, 50, chance) + messages(HAM, 50, chance)
    return pipeline, pipeline.score(others, ["spam"] * 50 + ["ham"] * 50)


if __name__ == "__main__":
    pipeline, accuracy = train()
    folder = thampi.save(
        SpamFilter(pipeline),
        "spam",
        "./models",
        example={"text": "You won a free prize, click now"},
        tags={"accuracy": round(float(accuracy), 3)},
    )
    print(f"saved {folder} (accuracy on messages that it had not seen: {accuracy:.0%})")
