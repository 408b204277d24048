"""The first thing that happens: the settings are read, and the model's bytes set on their way.

All that follows in `__main__` (the interface client, the parts that answer) is imported while they come. So this
module imports as little as it can. A setting that is wrong raises ConfigError here, and once more where `serving`
imports this again: there the interface client tells Lambda.
"""

import os

from . import cold_start, settings
from .stand_in import INIT_ENDS_S, StandIn
from .startup import Startup

told = settings.read(os.environ)
startup = Startup(told, cold_start.process_age_s())
startup.fetch()
# Where environments are made ahead, the init has minutes, and a model that can't be loaded must fail it.
stand_in = None if told.waits_for_init else StandIn(INIT_ENDS_S - cold_start.process_age_s())
