"""Plain HTTP in front of one function; what stands behind it here is a plain callable."""

import base64
import contextlib
import http.client
import json
import socket
import threading
import time

import pytest

from thampi.errors import ConfigError
from thampi.local import front, invoked
from thampi.local.front import Front

DIRECT = "/2015-03-31/functions/function/invocations"
SIX_MB = 6_291_456


def echo(payload):
    """Answer with what the function was given."""
    answer = {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": payload.decode()}
    return invoked.answered(json.dumps(answer).encode(), "the-id")


@pytest.fixture
def serve():
    """Return what starts a front before a function and gives its port."""
    with contextlib.ExitStack() as stack:

        def serve(invoke=echo):
            made = Front(0)
            stack.enter_context(made.serving(invoke))
            return made.port

        yield serve


def request(port, method, path, body=None, headers=None):
    """Return status, headers and body; the body as a value where it is JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        body = body.encode() if isinstance(body, str) else body
        connection.request(method, path, body, headers or {}, encode_chunked="Transfer-Encoding" in (headers or {}))
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, answer.headers, json.loads(content) if content else content


def talk(port, *texts):
    """Send bytes as they are; return all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        for text in texts:
            connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def error_of(answer):
    status, headers, body = answer
    assert set(body["error"]) == {"type", "message", "request_id"}
    assert headers["x-request-id"] == body["error"]["request_id"] != ""
    assert headers["content-type"] == "application/json"
    return status, body["error"]["type"], body["error"]["message"]


# ------------------------------------------------------------------------------------------------- a request's event


def test_a_request_becomes_the_event_of_an_http_api(serve):
    headers = {"X-Who": "me", "Cookie": "a=1; b=2", "User-Agent": "curl/8", "Host": "localhost:8080"}
    status, _, event = request(serve(), "POST", "/iris/predict?a=1&b=&a=2", '{"data": "ü"}', headers)
    assert status == 200
    assert event["version"] == "2.0"
    assert event["rawPath"] == "/iris/predict"
    assert event["rawQueryString"] == "a=1&b=&a=2"
    assert event["queryStringParameters"] == {"a": "1,2", "b": ""}
    assert event["headers"]["x-who"] == "me"
    assert event["headers"]["host"] == "localhost:8080"
    assert event["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in event["headers"]
    assert (event["body"], event["isBase64Encoded"]) == ('{"data": "ü"}', False)
    context = event["requestContext"]
    assert context["http"]["method"] == "POST"
    assert context["http"]["path"] == "/iris/predict"
    assert context["http"]["sourceIp"] == "127.0.0.1"
    assert context["http"]["userAgent"] == "curl/8"
    assert abs(context["timeEpoch"] / 1000 - time.time()) < 60


def test_the_handler_takes_the_paths_as_they_are_with_no_stage_and_no_mapping_before_them(serve):
    from handler import events, routes

    _, _, event = request(serve(), "POST", "/iris/predict", "{}")
    found = events.read(event)
    assert found is not None
    assert routes.find(found, "iris") == "predict"
    _, _, event = request(serve(), "POST", "/staging/iris/predict", "{}")
    found = events.read(event)
    assert found is not None
    assert routes.find(found, "iris") is None


def test_a_request_without_a_body_is_an_event_without_one(serve):
    _, _, event = request(serve(), "GET", "/iris")
    assert "body" not in event
    assert "queryStringParameters" not in event


def test_a_body_that_is_not_utf8_goes_as_base64(serve):
    _, _, event = request(serve(), "POST", "/iris/predict", b"\xff\xfe\x00")
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == b"\xff\xfe\x00"


def test_headers_that_come_twice_are_joined(serve):
    answer = talk(serve(), b"GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-A: 2\r\nConnection: close\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]["x-a"] == "1,2"


def test_a_whole_url_as_the_target_is_its_path(serve):
    target = b"GET http://localhost:8080/iris/ping?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    event = json.loads(talk(serve(), target).partition(b"\r\n\r\n")[2])
    assert (event["rawPath"], event["rawQueryString"]) == ("/iris/ping", "a=b")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_reaches_the_function(serve, method):
    assert request(serve(), method, "/x")[2]["requestContext"]["http"]["method"] == method


def test_a_chunked_body_arrives_whole(serve):
    def pieces():
        yield b'{"data": '
        yield b'"' + b"x" * 100_000 + b'"}'

    _, _, event = request(serve(), "POST", "/iris/predict", pieces(), {"Transfer-Encoding": "chunked"})
    assert event["body"] == '{"data": "' + "x" * 100_000 + '"}'


def test_a_client_that_expects_to_be_told_to_go_on_is_told(serve):
    head = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", serve()), 20) as connection:
        connection.sendall(head)
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(b"{}")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["body"] == "{}"


# ----------------------------------------------------------------------------------------------- an answer as HTTP


def answering(**response):
    return lambda payload: invoked.answered(json.dumps(response).encode())


def test_status_headers_cookies_and_body_are_the_functions(serve):
    port = serve(
        answering(statusCode=418, headers={"X-Tea": "pot", "Content-Length": "99"}, cookies=["a=1"], body='"short"')
    )
    status, headers, body = request(port, "GET", "/")
    assert (status, headers["x-tea"], headers["set-cookie"], body) == (418, "pot", "a=1", "short")
    assert headers["content-length"] == "7"


def test_a_base64_answer_is_sent_as_the_bytes_that_it_means(serve):
    port = serve(answering(statusCode=200, body=base64.b64encode(b'{"a": 1}').decode(), isBase64Encoded=True))
    assert request(port, "GET", "/")[2] == {"a": 1}


def test_an_answer_without_a_status_is_the_body_itself(serve):
    assert request(serve(answering(thampi="pong")), "GET", "/")[::2] == (200, {"thampi": "pong"})


def test_a_head_request_is_answered_without_a_body_and_the_connection_stays(serve):
    connection = http.client.HTTPConnection("127.0.0.1", serve(), timeout=20)
    with contextlib.closing(connection):
        for _ in range(2):
            connection.request("HEAD", "/iris/ping")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"")
            assert int(answer.headers["content-length"]) > 0


def test_after_the_head_of_an_answer_to_head_comes_nothing(serve):
    answer = talk(serve(), b"HEAD /iris/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")


def test_an_answer_of_no_content_has_none(serve):
    answer = talk(
        serve(answering(statusCode=204, headers={"allow": "POST"})), b"OPTIONS / HTTP/1.1\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 204")
    assert b"content-length" not in answer.lower()
    assert answer.endswith(b"\r\n\r\n")


def test_one_connection_serves_many_requests(serve):
    connection = http.client.HTTPConnection("127.0.0.1", serve(), timeout=20)
    with contextlib.closing(connection):
        connection.connect()
        first = connection.sock.getsockname()
        for number in range(5):
            connection.request("POST", "/p", str(number))
            assert json.loads(connection.getresponse().read())["body"] == str(number)
            assert connection.sock.getsockname() == first


# --------------------------------------------------------------------------------------------------------- refusals


def failing(ending):
    return lambda payload: ending


def test_what_dies_is_a_502_that_says_what_to_do(serve):
    ending = invoked.died("signal: SIGKILL", "raise memory_mb", "the-id")
    answer = request(serve(failing(ending)), "POST", "/iris/predict", "{}")
    status, kind, message = error_of(answer)
    assert (status, kind) == (502, "died")
    assert "SIGKILL" in message
    assert "memory_mb" in message
    assert answer[1]["x-request-id"] == "the-id"


def test_what_takes_too_long_is_a_504_that_names_the_setting(serve):
    status, kind, message = error_of(request(serve(failing(invoked.timed_out(7))), "POST", "/iris/predict", "{}"))
    assert (status, kind) == (504, "timed_out")
    assert "timeout_s = 7" in message


def test_a_function_that_raised_is_a_502_with_its_reason(serve):
    ending = invoked.failed(b'{"errorType": "ValueError", "errorMessage": "no flower", "stackTrace": []}')
    assert error_of(request(serve(failing(ending)), "GET", "/")) == (502, "function_failed", "ValueError: no flower")


@pytest.mark.parametrize(
    "answer",
    [
        b"no json",
        b'{"statusCode": "many"}',
        b'{"statusCode": 200, "body": 7}',
        b'{"statusCode": 200, "headers": [1]}',
        b'{"statusCode": 200, "body": "?", "isBase64Encoded": true}',
    ],
)
def test_an_answer_that_makes_no_http_is_a_502(serve, answer):
    assert error_of(request(serve(failing(invoked.answered(answer))), "GET", "/"))[:2] == (502, "function_failed")


def never(payload):
    raise AssertionError("the function must not be asked")


def test_an_event_over_six_megabytes_is_a_413_whether_it_is_announced_or_chunked(serve):
    port, body = serve(never), b"x" * (SIX_MB + 1)
    assert error_of(request(port, "POST", "/iris/predict", body))[:2] == (413, "too_large")
    chunked = request(port, "POST", "/iris/predict", iter([body]), {"Transfer-Encoding": "chunked"})
    assert error_of(chunked)[:2] == (413, "too_large")
    assert error_of(request(port, "POST", DIRECT, body))[:2] == (413, "too_large")


def test_what_counts_is_the_size_of_the_event_and_not_of_the_body(serve):
    body = b"\xff" * 5_000_000  # in base64 a third more
    status, _, message = error_of(request(serve(never), "POST", "/iris/predict", body))
    assert status == 413
    assert "6.4 MB" in message


def test_a_body_just_under_the_limit_goes_through(serve):
    sizes = []

    def measure(payload):
        sizes.append(len(payload))
        return invoked.answered(b"{}")

    assert request(serve(measure), "POST", DIRECT, b"x" * SIX_MB)[0] == 200
    assert sizes == [SIX_MB]


def test_a_client_that_asks_first_does_not_send_a_body_that_is_too_large(serve):
    head = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", serve(never)), 20) as connection:
        connection.sendall(head)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"8.6 MB" in answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: many\r\n\r\n", 400),
        (b"Content-Length: -1\r\n\r\n", 400),
        (b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
        (b"Transfer-Encoding: gzip\r\n\r\n{}", 501),
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx\r\n", 400),
    ],
)
def test_a_request_that_contradicts_itself_is_refused_and_the_connection_ends(serve, head, status):
    answer = talk(serve(never), b"POST /p HTTP/1.1\r\nHost: x\r\n" + head)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert "error" in json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("text", [b"what is this\r\n\r\n", b"BREW /pot HTTP/1.1\r\n\r\n"])
def test_what_is_no_http_is_refused_in_our_own_format(serve, text):
    answer = talk(serve(never), text)
    assert "error" in json.loads(answer.rpartition(b"\r\n")[2])


# --------------------------------------------------------------------------------------------------- one at a time


class Slow:
    """A function that takes its time, and sees when two requests overlap."""

    def __init__(self, seconds=0.05):
        self.seconds, self.active, self.overlapped, self.payloads = seconds, 0, False, []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, payload):
        self.active += 1
        self.overlapped |= self.active > 1
        self.payloads.append(payload)
        self.go.wait(20)
        time.sleep(self.seconds)
        self.active -= 1
        return invoked.answered(payload)


def in_parallel(count, call):
    answers = [None] * count
    threads = [threading.Thread(target=lambda i=i: answers.__setitem__(i, call(i))) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


def test_twenty_at_once_are_all_answered_and_never_two_at_a_time(serve):
    slow = Slow()
    port = serve(slow)
    answers = in_parallel(20, lambda i: request(port, "POST", DIRECT, f'{{"number": {i}}}'))
    assert [body for _, _, body in answers] == [{"number": i} for i in range(20)]
    assert not slow.overlapped


def test_direct_invocations_wait_in_the_same_line_as_all_others(serve):
    slow = Slow()
    port = serve(slow)
    in_parallel(10, lambda i: request(port, "POST", DIRECT if i % 2 else "/iris/predict", "{}"))
    assert len(slow.payloads) == 10
    assert not slow.overlapped


def test_who_comes_first_is_served_first(serve):
    slow = Slow(0)
    slow.go.clear()
    port = serve(slow)
    threads = []
    for number in range(6):
        threads.append(threading.Thread(target=request, args=(port, "POST", DIRECT, str(number))))
        threads[-1].start()
        time.sleep(0.05)
    slow.go.set()
    for thread in threads:
        thread.join(20)
    assert slow.payloads == [str(number).encode() for number in range(6)]


def test_more_than_the_line_holds_are_turned_away_with_a_503(serve):
    slow = Slow(0)
    slow.go.clear()
    port = serve(slow)
    answers = []
    count = front.PLACES + 6
    threads = [
        threading.Thread(target=lambda: answers.append(request(port, "GET", "/iris/ping"))) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 20
    while len(answers) < 5 and time.monotonic() < until:
        time.sleep(0.02)
    slow.go.set()
    for thread in threads:
        thread.join(30)
    turned_away = [answer for answer in answers if answer[0] == 503]
    assert len(turned_away) == 5
    assert error_of(turned_away[0])[1] == "busy"
    assert len(slow.payloads) == front.PLACES + 1


def test_who_gave_up_waiting_is_not_computed_for(serve):
    slow = Slow(0)
    slow.go.clear()
    port = serve(slow)
    first = threading.Thread(target=request, args=(port, "POST", DIRECT, "1"))
    first.start()
    time.sleep(0.1)
    with socket.create_connection(("127.0.0.1", port), 20) as impatient:
        impatient.sendall(f"POST {DIRECT} HTTP/1.1\r\nContent-Length: 1\r\n\r\n2".encode())
        time.sleep(0.1)
    time.sleep(0.1)
    slow.go.set()
    first.join(20)
    assert request(port, "POST", DIRECT, "3")[2] == 3
    assert slow.payloads == [b"1", b"3"]


def test_a_client_that_goes_away_in_the_middle_harms_nobody(serve, capsys):
    slow = Slow(0.2)
    port = serve(slow)
    for head in (
        b"POST /p HTTP/1.1\r\nContent-Length: 10\r\n\r\n{",
        b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
        b"GET /p HTTP/1.1\r\n\r\n",
        b"GET",
    ):
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(head)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closes with a reset
    time.sleep(0.5)
    assert request(port, "POST", DIRECT, "7")[2] == 7
    assert capsys.readouterr() == ("", "")


def test_a_function_that_breaks_down_does_not_stop_the_line(serve):
    def break_down(payload):
        if payload == b"1":
            raise RuntimeError("a bug of ours")
        return invoked.answered(payload)

    port = serve(break_down)
    with pytest.raises(http.client.HTTPException):
        request(port, "POST", DIRECT, "1")
    assert request(port, "POST", DIRECT, "2")[2] == 2


# ------------------------------------------------------------------------------------------------ direct invocation


def test_a_direct_invocation_gives_event_and_answer_as_they_are(serve):
    def double(payload):
        return invoked.answered(json.dumps({"doubled": json.loads(payload)["data"] * 2}).encode(), "the-id")

    status, headers, body = request(serve(double), "POST", DIRECT, '{"data": 4}')
    assert (status, body) == (200, {"doubled": 8})
    assert headers["x-amz-function-error"] is None
    assert headers["x-amzn-requestid"] == "the-id"


def test_a_direct_invocation_may_name_any_function(serve):
    path = "/2015-03-31/functions/thampi-iris-staging/invocations?Qualifier=live"
    assert request(serve(lambda payload: invoked.answered(payload)), "POST", path, "5")[2] == 5


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (invoked.failed(b'{"errorType": "ValueError", "errorMessage": "no"}'), "ValueError"),
        (invoked.timed_out(3), "Sandbox.Timedout"),
        (invoked.died("exit status 1", ""), "Runtime.ExitError"),
    ],
)
def test_a_direct_invocation_that_failed_is_a_200_with_lambdas_header(serve, ending, kind):
    status, headers, body = request(serve(failing(ending)), "POST", DIRECT, "{}")
    assert (status, headers["x-amz-function-error"], body["errorType"]) == (200, "Unhandled", kind)


def test_a_direct_invocation_is_a_post(serve):
    answer = request(serve(never), "GET", DIRECT)
    assert error_of(answer)[:2] == (405, "method_not_allowed")
    assert answer[1]["allow"] == "POST"


# ---------------------------------------------------------------------------------------------------------- the port


def test_a_port_that_is_taken_is_named_with_the_flag_that_chooses_another():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            Front(port)
    assert str(port) in caught.value.message
    assert "--port" in str(caught.value.hint)


def test_the_port_is_ours_before_we_serve_and_free_afterwards():
    made = Front(0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", made.port), 5)
    with made.serving(echo):
        assert request(made.port, "GET", "/")[0] == 200
    again = Front(made.port)
    assert again.port == made.port
    again.close()


def test_who_takes_the_port_while_we_only_hold_it_is_named_when_we_serve():
    first = Front(0)
    with contextlib.closing(first), Front(first.port).serving(echo), pytest.raises(ConfigError) as caught:
        first.serving(echo).__enter__()
    assert str(first.port) in caught.value.message


def test_nobody_but_this_machine_can_connect(serve):
    port = serve()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        address = probe.getsockname()[0]
    if address.startswith("127."):
        pytest.skip("this machine has no other address")
    with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
        socket.create_connection((address, port), 5)
