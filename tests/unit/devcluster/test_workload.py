import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster import load, workload
from devcluster.workload import Behaviour, Request, Seen


def a_request(target: str = "/", **headers: str) -> Request:
    return Request("GET", target, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("request_", "behaviour", "chance", "expected"),
    [
        (a_request(), Behaviour(), 0.0, (200, 0.0)),
        (a_request(x_workload_status="503"), Behaviour(), 0.0, (503, 0.0)),
        (a_request("/a?status=418&delay=0.5"), Behaviour(), 0.0, (418, 0.5)),
        (a_request("/a?status=418", x_workload_status="503"), Behaviour(), 0.0, (503, 0.0)),
        (a_request(), Behaviour(500, 0.2, 0.3), 0.29, (500, 0.2)),
        (a_request(), Behaviour(500, 0.2, 0.3), 0.3, (200, 0.0)),
        (a_request(x_workload_status="x", x_workload_delay="y"), Behaviour(), 0.0, (200, 0.0)),
        (a_request(x_workload_status="99"), Behaviour(), 0.0, (400, 0.0)),
        (a_request(x_workload_delay="nan"), Behaviour(), 0.0, (200, 0.0)),
        (a_request(x_workload_delay="inf"), Behaviour(), 0.0, (200, 3600.0)),
    ],
)
def test_an_answer_is_what_the_request_or_else_the_behaviour_asks_for(
    request_: Request, behaviour: Behaviour, chance: float, expected: tuple[int, float]
) -> None:
    assert workload.decide(request_, behaviour, chance) == expected


def test_so_many_attempts_fail_as_a_request_asks_for() -> None:
    seen = Seen()
    first = a_request(x_workload_fail_attempts="2", x_request_id="a")
    attempts = [seen.count(first) for _ in range(3)]
    assert [workload.decide(first, Behaviour(), 0.0, attempt)[0] for attempt in attempts] == [503, 503, 200]
    assert seen.count(a_request(x_request_id="b")) == 1
    assert seen.count(a_request()) == seen.count(a_request()) == 1


@given(st.text(), st.text())
def test_no_wish_of_a_request_is_a_crash(status: str, delay: str) -> None:
    request = Request("GET", "/", {"x-workload-status": status, "x-workload-delay": delay})
    code, seconds = workload.decide(request, Behaviour(), 0.0)
    assert 200 <= code <= 599
    assert 0 <= seconds <= 3600


def test_a_mirrored_request_is_counted_under_its_own_host() -> None:
    seen = Seen()
    seen.count(a_request("/reviews/0?x=1", host="reviews"))
    seen.count(a_request("/reviews/0", host="ratings"))
    report = seen.report()
    assert report["total"] == 2
    assert report["byHost"] == {"reviews": 1, "ratings": 1}
    assert report["byPath"] == {"/reviews/0": 2}


def test_bookinfos_services_call_each_other_and_others_nobody() -> None:
    page = "docker.io/istio/examples-bookinfo-productpage-v1:1.20.3"
    assert len(workload.upstreams(page, "/productpage")) == 2
    assert not workload.upstreams(page, "/health")
    assert not workload.upstreams("istio/examples-bookinfo-reviews-v1", "/reviews/0")
    assert workload.upstreams("istio/examples-bookinfo-reviews-v2", "/reviews/0") == ("http://ratings:9080/ratings/0",)


def read(data: bytes) -> Request | None:
    async def go() -> Request | None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await workload.read_request(reader)

    return asyncio.run(go())


def test_requests_are_read_with_either_kind_of_body() -> None:
    plain = read(b"POST /a?b=1 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 3\r\n\r\nabc")
    assert plain == Request("POST", "/a?b=1", {"host": "h", "x-a": "1, 2", "content-length": "3"}, b"abc")
    chunked = read(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
    assert chunked is not None
    assert chunked.body == b"abcde"
    assert read(b"") is None


def test_a_served_connection_stays_open_and_the_admin_port_changes_the_answers() -> None:
    async def go() -> None:
        options = argparse.Namespace(app="reviews", version="v1", pod="p", namespace="n", image="", ready_file="")
        process = workload.Workload(options)
        public = await asyncio.start_server(lambda r, w: process.serve(r, w, admin=False), "127.0.0.1", 0)
        admin = await asyncio.start_server(lambda r, w: process.serve(r, w, admin=True), "127.0.0.1", 0)
        port, control = (s.sockets[0].getsockname()[1] for s in (public, admin))

        def ask() -> load.Tally:
            tally, client = load.Tally(), load.Client("127.0.0.1", port, 5.0)
            for _ in range(3):
                client.send("GET", "/x", {"host": "reviews"}, tally)
            return tally

        tally = await asyncio.to_thread(ask)
        assert (tally.requests, tally.failed, tally.reconnects) == (3, 0, 0)
        assert dict(tally.answers) == {("reviews", "v1"): 3}
        process.behaviour = Behaviour(503, 0.0, 1.0)
        tally = await asyncio.to_thread(ask)
        assert dict(tally.statuses) == {503: 3}
        assert tally.failed == 3
        status, body = await workload.fetch(f"http://127.0.0.1:{control}/requests", {})
        assert (status, json.loads(body)["total"]) == (200, 6)
        scraper = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4"}
        _, body = await workload.fetch(f"http://127.0.0.1:{port}/metrics", scraper)
        assert "workload_requests_total 6\n" in body.decode()
        process.metrics = "other 1\n"
        assert await workload.fetch(f"http://127.0.0.1:{port}/metrics", scraper) == (200, b"other 1\n")
        assert process.seen.total == 6
        status, body = await workload.fetch(f"http://127.0.0.1:{port}/metrics", {})
        assert (status, json.loads(body)["path"]) == (503, "/metrics")
        public.close()
        admin.close()

    asyncio.run(go())


def test_a_grpc_call_is_answered_with_a_message_and_a_status() -> None:
    async def go() -> list[tuple[int, int, int, bytes]]:
        options = argparse.Namespace(app="emoji-svc", version="v1", pod="p", namespace="n", image="", ready_file="")
        process = workload.Workload(options)
        server = await asyncio.start_server(lambda r, w: process.serve(r, w, admin=False), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        # The preface, settings, a call with a body, a ping (RFC 9113, sections 3.4, 6.5, 6.2, 6.1, 6.7).
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + workload.frame(4, 0, 0))
        writer.write(workload.frame(1, 4, 3, b"\x83") + workload.frame(0, 1, 3, b"\0\0\0\0\0"))
        writer.write(workload.frame(6, 0, 0, b"12345678"))
        found: list[tuple[int, int, int, bytes]] = []
        while not found or found[-1][0] != 6:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
            found.append((head[3], head[4], int.from_bytes(head[5:]), payload))
        writer.close()
        server.close()
        return found

    settings, acknowledged, whole, of_stream, headers, message, trailers, ping = asyncio.run(go())
    assert settings[:3] == (4, 0, 0)
    assert acknowledged[:3] == (4, 1, 0)
    assert [window[2:] for window in (whole, of_stream)] == [(0, b"\0\0\0\x05"), (3, b"\0\0\0\x05")]
    assert headers == (1, 4, 3, b"\x88\x00\x0ccontent-type\x10application/grpc")
    assert json.loads(message[3][5:])["app"] == "emoji-svc"
    assert int.from_bytes(message[3][1:5]) == len(message[3]) - 5
    assert trailers == (1, 5, 3, b"\x00\x0bgrpc-status\x010")
    assert ping == (6, 1, 0, b"12345678")


def test_a_server_that_is_not_there_is_a_counted_failure() -> None:
    tally = load.Tally()
    load.Client("127.0.0.1", 1, 1.0).send("GET", "/", {}, tally)
    assert (tally.requests, tally.failed, tally.unanswered) == (1, 1, 1)
    assert "ConnectionRefusedError" in tally.failures[0]


def test_an_answer_of_somebody_else_is_a_counted_failure() -> None:
    tally = load.Tally()
    tally.answer(200, b"<html>")
    tally.answer(204, b"")
    tally.answer(200, b'{"app": "a", "version": "v"}')
    assert (tally.requests, tally.failed) == (3, 2)


def test_at_its_end_a_workload_finishes_the_request_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "_DRAIN_SECONDS", 0.0)

    async def go() -> tuple[int, bytes]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        options = argparse.Namespace(
            app="web", version="v1", pod="p", namespace="n", image="", ready_file="", port=[port], admin_port=0
        )
        process = workload.Workload(options)
        running = asyncio.create_task(process.run())
        asked = asyncio.create_task(ask(f"http://127.0.0.1:{port}/"))
        while not process.busy:
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        await running
        assert not process.busy
        return await asked

    async def ask(url: str) -> tuple[int, bytes]:
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                return await workload.fetch(url, {"x-workload-delay": "0.3"})
            await asyncio.sleep(0.01)

    assert asyncio.run(go())[0] == 200
