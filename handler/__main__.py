"""Start the runtime interface client, which has the model loaded and then asks Lambda for events."""

import os
import signal
import sys

from thampi.errors import ConfigError


def main() -> None:
    """Answer events until Lambda ends the process."""
    address = os.environ.get("AWS_LAMBDA_RUNTIME_API")
    if not address:
        sys.exit("AWS_LAMBDA_RUNTIME_API is not set: Lambda, its emulator or `thampi run` start this, and set it")
    # The client waits for events in C, where Python can't act on Ctrl-C: let the kernel do it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from .beginning import stand_in
    except ConfigError:
        stand_in = None  # `serving` meets it again, where the client can report it
    from awslambdaric import bootstrap  # the model's bytes come meanwhile

    from .interface import Client

    bootstrap.run(f"{__package__}.serving.handle", Client(address, stand_in))


if __name__ == "__main__":
    main()
