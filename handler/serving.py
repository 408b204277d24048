"""What the runtime interface client imports once its log is open: the model is loaded here, and `handle` answers.

A failure that must fail the init is raised: the client logs it with its traceback, reports it to Lambda, and ends the
process. An ImportError would lose the traceback on that way; none gets here, `Startup` makes a BundleError of it.
"""

import logging

from . import control, journal
from .app import Application
from .beginning import stand_in, startup, told

journal.end_lines(logging.getLogger())
handle = Application(told, startup).handle
if stand_in is None:
    startup.begin()
    if startup.failure is not None:
        raise startup.failure
    if told.from_snapshot:
        from . import restoring

        restoring.register(startup)
else:
    stand_in.begin(handle, at_once=lambda event: control.is_ping(event.event_body))
    startup.begin()
    stand_in.end()
