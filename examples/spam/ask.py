"""Asks the spam filter, wherever it is served, about messages.

thampi run                                                   # in another terminal, or thampi push
python ask.py http://localhost:8080/spam/predict "You won a free prize" "See you tomorrow"
"""

import sys

import thampi


def main(url, *messages):
    """Print what the model says of each message; return the exit code."""
    with thampi.Client(url, idempotent=True) as client:
        trained = client.about()["properties"]["trained_time_utc"]
        print(f"{url}, trained {trained}")
        try:
            answers = client.predict({"texts": messages})
        except thampi.RefusedError as refused:  # 4xx: it won't be better the next time
            print(f"the model refuses them: {refused}", file=sys.stderr)
            return 1
    for message, answer in zip(messages, answers, strict=True):
        print(f"{answer['label']:4}  {answer['probability']:.3f}  {message}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
