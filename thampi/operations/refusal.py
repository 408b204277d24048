"""Why a version that was tried does not become live, with the last lines of its log."""

import re

from thampi.aws import release, trial
from thampi.config import Stage
from thampi.errors import ReleaseError

_LAST_LINES = 24  # the model's traceback, and ours after it
# In a log: the journal and the cold start, for programs, and what Lambda and its emulator say of themselves.
_NOISE = re.compile(r'^\{"(_aws|thampi)"|^(START|END) RequestId: |\(rapid\)')


def of_trial(stage: Stage, version: str, live: release.Live | None, tried: trial.Trial) -> ReleaseError:
    """Say why a version is not released, with the last lines of its log."""
    still = f"version {live.version} still is" if live else "nothing is live yet"
    lines = [line for line in tried.log_tail.splitlines() if line.strip() and not _NOISE.search(line)][-_LAST_LINES:]
    said = "\n".join(f"  {line}" for line in lines)
    return ReleaseError(
        f"version {version} did not become live, {still}: {tried.error}" + (f"\n{said}" if said else ""),
        hint=f"mend it and push again; `thampi logs {stage.stage}` shows the whole log",
    )
