"""The handler in a process of this machine, under the real awslambdaric: Lambda's Runtime API is served by us.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html (2018-06-01). The process is started when an invocation
needs one, and ended as Lambda ends it: when its time is up. Nothing limits its memory or what it may write.
"""

import contextlib
import os
import queue
import re
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson

from thampi.local import child, invoked, wire
from thampi.local.invoked import Invoked

LARGEST_ANSWER = 6_291_556  # as the emulator has it: 6 MB and 100 bytes
_PREFIX = "/2018-06-01/runtime/"
_REPORT = re.compile(re.escape(_PREFIX) + r"invocation/([^/]+)/(response|error)")
_ARN = "arn:aws:lambda:us-east-1:012345678912:function:{name}"
_REGION = "us-east-1"
_TO_START_S = 60  # at least: the first start after an installation has no bytecode
_INIT_S = 10  # what Lambda itself gives a start before it counts as part of an invocation

_ADVICE = "the log has what it said last"

# What a process needs of this machine. All else stays out: what the model reads from the environment it has to get
# from thampi.toml, as in Lambda.
_PASSED_ON = (
    "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH",
    "SYSTEMROOT", "SYSTEMDRIVE", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "NUMBER_OF_PROCESSORS",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip


class Runtime:
    """One environment: answers one invocation after the other, with one process as long as that lives."""

    def __init__(
        self,
        python: Path,
        *,
        path: Sequence[Path],
        folder: Path,
        environment: Mapping[str, str],
        name: str,
        memory_mb: int,
        timeout_s: int,
        log: Callable[[str], None],
    ) -> None:
        """Prepare; nothing is started yet.

        `python` has the libraries, `path` (a PYTHONPATH) the handler and the project's modules; the process works in
        `folder`. `log` gets each line that it prints.
        """
        self._command = [str(python), str(Path(__file__).with_name("guarded.py"))]
        self._environment = {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            **_as_lambda_has_it(name, memory_mb, folder),
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            **environment,
        }
        self._folder, self._name, self._timeout_s, self._log = folder, name, timeout_s, log
        self._turn, self._state = threading.Lock(), threading.Lock()
        self._life: _Life | None = None
        self._closed = False

    def invoke(self, payload: bytes) -> Invoked:
        """Have one event answered; start the process if there is none. The next caller waits until it's done."""
        request_id = str(uuid.uuid4())
        with self._turn:
            while True:
                life = self._living()
                if life is None:
                    return invoked.died("stopped", "thampi is stopping", request_id)
                ending = life.ask(request_id, payload)
                if not life.is_well:
                    life.end()
                if ending is not None:
                    return ending

    def close(self) -> None:
        """End the process, also in the middle of an invocation."""
        with self._state:
            self._closed = True
        if self._life is not None:
            self._life.end()

    def _living(self) -> "_Life | None":
        with self._state:
            if self._closed:
                return None
            if self._life is None or not self._life.is_well or not self._life.is_alive():
                self._life = _Life(
                    self._command, self._environment, self._folder, self._name, self._timeout_s, self._log
                )
            return self._life


def _as_lambda_has_it(name: str, memory_mb: int, folder: Path) -> dict[str, str]:
    return {
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
        "AWS_REGION": _REGION,
        "AWS_DEFAULT_REGION": _REGION,
        "LAMBDA_TASK_ROOT": str(folder),
        "LANG": "en_US.UTF-8",
        "TZ": "UTC",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }


# Its process asks for work, answers, says that it failed, says that it can't start, has ended.
_Kind = Literal["next", "response", "error", "init", "ended"]


@dataclass(frozen=True)
class _Happening:
    """What a life has to tell."""

    kind: _Kind
    body: bytes = b""


@dataclass(frozen=True)
class _Work:
    request_id: str
    payload: bytes
    deadline_ms: int


class _Life:
    """One process from start to end. Its Runtime API is its own, so no earlier process can answer for it."""

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        folder: Path,
        name: str,
        timeout_s: int,
        log: Callable[[str], None],
    ) -> None:
        self.name, self._timeout_s, self._log = name, timeout_s, log
        self.happened: queue.SimpleQueue[_Happening] = queue.SimpleQueue()
        self.work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self.taken: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.current: _Work | None = None
        self.is_well, self.has_answered = True, False
        self._ending = threading.Lock()
        with contextlib.ExitStack() as stack:
            server = _Server(self)
            stack.enter_context(wire.serving(server))
            told = {**environment, "AWS_LAMBDA_RUNTIME_API": f"{wire.LOOPBACK}:{server.server_port}"}
            self._process = child.start(command, told, folder)
            stack.callback(child.kill, self._process)
            self._resources = stack.pop_all()
        self._reader = threading.Thread(target=self._read_log, name="log", daemon=True)
        self._reader.start()
        threading.Thread(target=self._await_end, name="end", daemon=True).start()

    def is_alive(self) -> bool:
        """Say whether the process runs."""
        return self._process.poll() is None

    def ask(self, request_id: str, payload: bytes) -> Invoked | None:
        """Have the process answer one event, as soon as it asks for work; afterwards it may not be well any more.

        None: it has ended since its last answer, so nobody got the event.
        """
        self.is_well = False
        limit_s = max(_TO_START_S, _INIT_S + self._timeout_s)
        happening = self._await(("next", "init"), limit_s)
        if happening is None:
            return invoked.died(f"not ready after {limit_s} s", "the model takes too long to load", request_id)
        if happening.kind == "init":
            return invoked.failed(happening.body, request_id)
        if happening.kind == "ended" or not self._hand_out(_Work(request_id, payload, self._deadline_ms())):
            return None if self.has_answered else invoked.died(self._how(), _ADVICE, request_id)
        happening = self._await(("response", "error"), self._timeout_s)
        self.current = None
        if happening is None:
            self._log(f"{request_id} Task timed out after {self._timeout_s:.2f} seconds")
            return invoked.timed_out(self._timeout_s, request_id)
        if happening.kind == "ended":
            return invoked.died(self._how(), _ADVICE, request_id)
        self.is_well = self.has_answered = True
        made = invoked.failed if happening.kind == "error" else invoked.answered
        return made(happening.body, request_id)

    def _hand_out(self, work: _Work) -> bool:
        """Give work to the process that asked for it; False when it is gone."""
        self.current = work
        self.work.put(work)
        return self.taken.get()

    def _deadline_ms(self) -> int:
        return int((time.time() + self._timeout_s) * 1000)

    def end(self) -> None:
        """End the process and all that it started; may be called more than once, and from any thread."""
        with self._ending:
            self.work.put(None)
            self.taken.put(False)
            self._resources.close()
            self._reader.join(1)

    def _await(self, kinds: Sequence[str], seconds: float) -> _Happening | None:
        """Return the next happening of these kinds, or the process's end; None when the time is up."""
        until = time.monotonic() + seconds
        while True:
            try:
                happening = self.happened.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return None
            if happening.kind in (*kinds, "ended"):
                return happening

    def _how(self) -> str:
        """Say how the process ended, in the emulator's words."""
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return "it hung up"
        return f"exit status {code}" if code >= 0 else f"signal: {signal.Signals(-code).name}"

    def _read_log(self) -> None:
        pipe = self._process.stdout
        for line in pipe or ():
            with contextlib.suppress(OSError):  # nobody reads us any more; the process must not block for that
                self._log(line.decode(errors="replace").rstrip("\r\n"))
        if pipe is not None:
            pipe.close()

    def _await_end(self) -> None:
        self._process.wait()
        child.kill_group(self._process)  # what it started
        self._reader.join(1)  # first its last words
        self.happened.put(_Happening("ended"))


class _Server(wire.Server):
    def __init__(self, life: _Life) -> None:
        super().__init__(0, _Exchange)
        self.life = life


class _Exchange(wire.Exchange):
    server: _Server
    timeout = None  # a model may work for minutes before it says more

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        life = self.server.life
        if self.path != f"{_PREFIX}invocation/next":
            return self.respond(404)
        life.happened.put(_Happening("next"))
        work = life.work.get()
        is_there = work is not None and not self.is_gone()
        life.taken.put(is_there)
        if work is None or not is_there:
            self.close_connection = True
            return None
        headers = [
            ("Lambda-Runtime-Aws-Request-Id", work.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(work.deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", _ARN.format(name=life.name)),
        ]
        return self.respond(200, work.payload, headers)

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        life, kind, request_id = self.server.life, *_meaning(self.path)
        try:
            body = self.body(LARGEST_ANSWER)
        except wire.Refused as refused:  # accepted nevertheless: refused, awslambdaric would end its process
            kind, body = kind and "error", _too_large(refused.size)
        if kind is None:
            return self.respond(404)
        if kind != "init" and (life.current is None or life.current.request_id != request_id):
            return self.respond(400, b'{"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"}')
        life.happened.put(_Happening(kind, body))
        return self.respond(202, b'{"status": "OK"}')


def _meaning(path: str) -> "tuple[_Kind | None, str]":
    """Return what a report is about and whose it is."""
    if path == f"{_PREFIX}init/error":
        return "init", ""
    report = _REPORT.fullmatch(path)
    if report is None:
        return None, ""
    return ("error" if report[2] == "error" else "response"), report[1]


def _too_large(size: int) -> bytes:
    message = f"the answer has {size / 1024 / 1024:.1f} MB, and Lambda lets no more than 6 MB through"
    return orjson.dumps({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message})
