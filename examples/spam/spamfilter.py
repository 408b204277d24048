"""A text model that lives in a module of the project; `thampi.save` puts the module's code into the saved model."""

from typing import TypedDict

import thampi


class Message(TypedDict):
    text: str


class Messages(TypedDict):
    texts: list[str]


class Verdict(TypedDict):
    label: str
    probability: float


class SpamFilter(thampi.Model):
    """Tells spam from ham; answers {"text": …} as well as {"texts": […]}."""

    def __init__(self, pipeline):
        self.pipeline = pipeline

    def predict(self, args: Message | Messages, context) -> Verdict | list[Verdict]:
        # What the hint forbids never gets here: callers are told what is wrong with it.
        if "text" in args:
            return self._judge([args["text"]])[0]
        return self._judge(args["texts"])

    def _judge(self, texts):
        spam = list(self.pipeline.classes_).index("spam")
        return [
            {"label": "spam" if probability > 0.5 else "ham", "probability": round(float(probability), 3)}
            for probability in self.pipeline.predict_proba(texts)[:, spam]
        ]
