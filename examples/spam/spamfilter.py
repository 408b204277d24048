"""A text model that lives in a module of the project; `thampi.save` puts the module's code into the saved model."""

import thampi


class SpamFilter(thampi.Model):
    """Tells spam from ham; answers {"text": …} as well as {"texts": […]}."""

    def __init__(self, pipeline):
        self.pipeline = pipeline

    def predict(self, args, context):
        if isinstance(args, dict) and isinstance(args.get("text"), str):
            return self._judge([args["text"]])[0]
        if isinstance(args, dict) and isinstance(args.get("texts"), list):
            return self._judge([str(text) for text in args["texts"]])
        raise thampi.BadRequest('send {"text": "…"} or {"texts": ["…"]}')

    def _judge(self, texts):
        spam = list(self.pipeline.classes_).index("spam")
        return [
            {"label": "spam" if probability > 0.5 else "ham", "probability": round(float(probability), 3)}
            for probability in self.pipeline.predict_proba(texts)[:, spam]
        ]
