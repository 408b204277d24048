"""What the runtime interface client imports once its log is open: the model is loaded here, and `handle` answers.

A failure that must fail the init is raised: the client logs it with its traceback, reports it to Lambda, and ends the
process. An ImportError would lose the traceback on that way; none gets here, `Startup` makes a BundleError of it.
"""

import logging
import os

from . import journal, settings
from .app import Application
from .startup import Startup

journal.end_lines(logging.getLogger())
_settings = settings.read(os.environ)
_startup = Startup(_settings)
_startup.begin()
if _startup.failure is not None and _settings.waits_for_init:
    raise _startup.failure
handle = Application(_settings, _startup).handle
