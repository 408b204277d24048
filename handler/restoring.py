"""What must not be the same in all environments that Lambda makes of one snapshot.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html: whatever was drawn before the snapshot, all of
them have. The interface client asks Lambda for the restored environment, and calls then what is registered here.
"""

import random
import sys

from .startup import Startup


def register(startup: Startup) -> None:
    """Have the generators seeded anew, and the model told, in each environment as soon as it is restored."""
    import snapshot_restore_py  # it comes with the interface client

    snapshot_restore_py.register_after_restore(reseed)
    snapshot_restore_py.register_after_restore(startup.restored)


def reseed() -> None:
    """Seed the generators of random, numpy and torch anew, by what the operating system draws."""
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if torch := sys.modules.get("torch"):
        torch.seed()
