"""Answers of the model that are given again to a request with the same body, as long as they are young.

Only the bytes of the body count: neither headers, nor who asks, nor when. So this is for models whose answer depends on
the data alone, and it is off unless the project says otherwise.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256

# What Python takes for an answer beside its bytes: the objects of the key, the answer, the two times and their tuple,
# and a place in the dictionary, of which a third is empty.
_BESIDE = 400


class Cache:
    """The answers of one environment: those that were asked for last, in at most `size_bytes` with all that they take.

    An answer larger than `largest_bytes` is not kept.
    """

    header = "x-thampi-cache"  # says of an answer whether it was kept (hit) or is the model's own (miss)

    def __init__(
        self,
        ttl_s: float,
        size_bytes: int,
        largest_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._ttl_s, self._size, self._largest = ttl_s, size_bytes, min(size_bytes - _BESIDE, largest_bytes)
        self._monotonic, self._wall = monotonic, wall
        self._taken = 0
        # By the hash of the body, the one asked for last at the end: the answer, and when it was made by both clocks.
        self._kept: OrderedDict[bytes, tuple[bytes, float, float]] = OrderedDict()

    def answer(self, body: bytes, asked: Mapping[str, str], headers: dict[str, str], ask: Callable[[], bytes]) -> bytes:
        """Return the answer to a body: the one kept, or what `ask` returns; what that raises is never kept.

        `asked` are the request's headers: `cache-control: no-cache` has the model asked in any case, `no-store` has its
        answer not kept either. Adds to `headers`, those of the answer, which of both it was, and how old it is.
        """
        key, wish = sha256(body).digest(), asked.get("cache-control", "").lower()
        if "no-cache" not in wish and "no-store" not in wish:
            found = self._kept.get(key)
            if found is not None and (age_s := self._age_s(found)) < self._ttl_s:
                self._kept.move_to_end(key)
                headers[self.header], headers["age"] = "hit", str(int(age_s))
                return found[0]
        made = ask()
        if "no-store" not in wish:
            self._keep(key, made)
        headers[self.header] = "miss"
        return made

    def _age_s(self, found: tuple[bytes, float, float]) -> float:
        """Return the seconds since an answer was made, by the clock that says more.

        The monotonic one may stand still while Lambda has the environment frozen, and begins anew in one that is
        restored from a snapshot; the other may be set back.
        """
        return max(0.0, self._monotonic() - found[1], self._wall() - found[2])

    def _keep(self, key: bytes, made: bytes) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self._taken -= _BESIDE + len(old[0])
        if len(made) > self._largest:
            return
        self._kept[key] = (made, self._monotonic(), self._wall())
        self._taken += _BESIDE + len(made)
        while self._taken > self._size:
            _, old = self._kept.popitem(last=False)
            self._taken -= _BESIDE + len(old[0])
