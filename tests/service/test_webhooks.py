"""Webhooks: signed, tried again, given up and listed; and sent to allowed public hosts alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest
from sqlalchemy import update

from service.app import create_app
from service.outbound import OutboundPolicy, RefusedTargetError, is_public, post
from service.settings import Settings
from service.store import Store
from service.store.webhook_verbs import DeliveryRow, WebhookRow, WebhookVerbs
from service.tables import deliveries
from service.webhooks import BACK_OFF_S, Deliverer
from tests.service.driver import TestClient
from tests.service.test_extensions import SPEC, posted


@dataclass
class Receiver:
    """A host that takes webhooks, or does not."""

    port: int = 0
    status: int = 200
    location: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(state.status)
            if state.location:
                self.send_header("Location", state.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def http(settings: Settings, store: Store) -> TestClient:
    allowed = replace(settings, webhook_hosts=("hooks.test",), webhook_private="allowed")
    return TestClient(create_app(allowed, store), raise_server_exceptions=False)


def loopback(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


def deliverer(http: TestClient) -> Deliverer:
    return Deliverer(http.app.state.context, loopback)


def registered(http: TestClient, receiver: Receiver) -> dict[str, str]:
    url = f"http://hooks.test:{receiver.port}/in?x=1"
    answer = http.post("/v1/webhooks", json={"url": url})
    assert answer.status_code == 201, answer.text
    made: dict[str, str] = answer.json()
    return made


def make_due(http: TestClient) -> None:
    with http.app.state.context.store.database.write() as tx:
        tx.connection.execute(update(deliveries).values(next_at=0))


def listed(http: TestClient, hook: dict[str, str], query: str = "") -> list[dict[str, object]]:
    answer = http.get(f"/v1/webhooks/{hook['id']}/deliveries{query}")
    found: list[dict[str, object]] = answer.json()["deliveries"]
    return found


def test_a_change_of_state_is_posted_once_and_signed(http: TestClient, receiver: Receiver) -> None:
    hook = registered(http, receiver)
    job = posted(http, "/v1/jobs", **SPEC)
    assert deliverer(http).step() == 1
    assert deliverer(http).step() == 0
    ((headers, body),) = receiver.got
    event = json.loads(body)
    assert (event["type"], event["seq"], event["data"]["job_id"]) == ("job.queued", 1, job.id)
    told = http.get(f"/v1/jobs/{job.id}").json()
    assert event["data"]["at"] == told["created_at"]  # in the same words
    assert headers["host"] == f"hooks.test:{receiver.port}"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(hook["secret"].removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert [row["state"] for row in listed(http, hook)] == ["taken"]


def test_what_is_not_taken_is_tried_again_with_the_same_id_and_given_up_in_the_end(
    http: TestClient, receiver: Receiver
) -> None:
    hook = registered(http, receiver)
    receiver.status = 500
    posted(http, "/v1/jobs", **SPEC)
    sender = deliverer(http)
    for _ in range(len(BACK_OFF_S) + 1):
        assert sender.step() == 1
        assert sender.step() == 0  # not before its time
        make_due(http)
    (dead,) = listed(http, hook, "?state=dead")
    assert (dead["attempts"], dead["error"]) == (len(BACK_OFF_S) + 1, "it answered 500")
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert sender.step() == 0


def test_a_redirect_is_not_followed(http: TestClient, receiver: Receiver) -> None:
    hook = registered(http, receiver)
    receiver.status, receiver.location = 302, f"http://127.0.0.1:{receiver.port}/elsewhere"
    posted(http, "/v1/jobs", **SPEC)
    deliverer(http).step()
    assert len(receiver.got) == 1
    assert listed(http, hook)[0]["error"] == "it answered 302"


def test_a_host_that_does_not_answer_is_tried_again(http: TestClient, receiver: Receiver) -> None:
    hook = registered(http, replace(receiver, port=1))
    posted(http, "/v1/jobs", **SPEC)
    deliverer(http).step()
    (row,) = listed(http, hook)
    assert row["state"] == "pending"
    assert "ConnectError" in str(row["error"])


def test_everything_that_is_due_is_sent_in_order_and_no_more_is_claimed_than_is_at_work(
    http: TestClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(http, receiver)
    jobs = [posted(http, "/v1/jobs", **SPEC).id for _ in range(9)]
    at_work: list[int] = []
    deliver = Deliverer._deliver

    def noted(sender: Deliverer, due: tuple[DeliveryRow, WebhookRow]) -> None:
        rows = http.app.state.context.store.webhooks.deliveries("", due[1].id, ["pending"], 99)
        at_work.append(sum(row.attempts > 0 for row in rows))
        deliver(sender, due)

    monkeypatch.setattr(Deliverer, "_deliver", noted)
    assert deliverer(http).step() == 9
    assert at_work == [1] * 9
    assert [json.loads(body)["data"]["job_id"] for _, body in receiver.got] == jobs


def test_webhooks_that_hang_with_much_to_tell_hold_up_no_others(
    http: TestClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as there are threads hang; the one that does not has its turn after each."""
    hanging = {registered(http, receiver)["id"] for _ in range(4)}
    for _ in range(3):
        posted(http, "/v1/jobs", **SPEC)
    well = registered(http, receiver)
    jobs = [posted(http, "/v1/jobs", **SPEC).id for _ in range(2)]
    order: list[str] = []
    done = threading.Event()

    def sent(sender: Deliverer, due: tuple[DeliveryRow, WebhookRow]) -> None:
        delivery, webhook = due
        order.append(webhook.id)
        if order.count(well["id"]) == len(jobs):
            done.set()
        if webhook.id in hanging:
            done.wait(0.05)
        sender._context.store.webhooks.note_taken(delivery)

    monkeypatch.setattr(Deliverer, "_deliver", sent)
    assert deliverer(http).step() == 4 * 5 + 2
    places = [place for place, hook in enumerate(order) if hook == well["id"]]
    assert places[0] <= 4, "its turn comes after one of each"
    assert places[1] <= 9, "it waited for all that the others had"


def claimed_of(verbs: WebhookVerbs, num: int, claim_s: float) -> tuple[DeliveryRow, WebhookRow]:
    claimed = verbs.claim(num, claim_s)
    assert claimed is not None
    return claimed


def test_what_was_taken_stays_so_whatever_a_slower_replica_says(
    http: TestClient, receiver: Receiver
) -> None:
    hook = registered(http, receiver)
    posted(http, "/v1/jobs", **SPEC)
    verbs = http.app.state.context.store.webhooks
    (num,) = verbs.due().values()
    ((slow, _), (quick, _)) = (claimed_of(verbs, num, claim_s) for claim_s in (0, 60))
    assert verbs.claim(num, claim_s=60) is None
    verbs.note_dead(slow, "it came late")  # of an attempt before this one
    assert [row["state"] for row in listed(http, hook)] == ["pending"]
    verbs.note_taken(quick)
    verbs.note_dead(quick, "it came late")
    verbs.note_failed(quick, "it came late", 5.0)
    (row,) = listed(http, hook)
    assert (row["state"], row["error"]) == ("taken", None)


@pytest.fixture
def dripping() -> Iterator[int]:
    """The port of a host that answers a byte at a time, for half a minute."""
    stopped = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                for _ in range(3000):
                    if stopped.wait(0.01):
                        return
                    connection.sendall(b"x")
                connection.sendall(b"\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=drip)
    thread.start()
    yield int(listener.getsockname()[1])
    stopped.set()
    thread.join()
    listener.close()


def test_a_host_that_answers_a_byte_at_a_time_is_left(dripping: int) -> None:
    policy = OutboundPolicy(("hooks.test",), allows_private=True)
    with pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
        post(f"http://hooks.test:{dripping}/", b"{}", {}, policy, 0.2, loopback)


def test_a_webhook_that_is_deleted_is_told_nothing(http: TestClient, receiver: Receiver) -> None:
    hook = registered(http, receiver)
    posted(http, "/v1/jobs", **SPEC)
    assert http.delete(f"/v1/webhooks/{hook['id']}").json()["id"] == hook["id"]
    assert http.get("/v1/webhooks").json() == {"webhooks": []}
    assert deliverer(http).step() == 0
    assert http.delete(f"/v1/webhooks/{hook['id']}").status_code == 404


def test_the_secret_is_told_once(http: TestClient, receiver: Receiver) -> None:
    registered(http, receiver)
    assert "secret" not in http.get("/v1/webhooks").text


STRICT = OutboundPolicy(("hooks.example.com", "*.corp.example", "127.0.0.1", "[::1]"))


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/x",
        "https://elsewhere.example.com/x",
        "https://hooks.example.com.evil.test/x",
        "https://corp.example/x",
        "https://user@hooks.example.com/x",
        "https://hooks.example.com@evil.test/x",
        "https://evil.test#hooks.example.com",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:99999/",
        "ftp://hooks.example.com/x",
        "file:///etc/passwd",
        "https:///x",
        "//hooks.example.com/x",
        "https://[::1",
    ],
)
def test_a_url_that_is_not_allowed_is_refused(url: str) -> None:
    with pytest.raises(RefusedTargetError):
        STRICT.check_url(url)


def test_an_allowed_url_passes() -> None:
    assert STRICT.check_url("https://hooks.example.com:8443/a?b=c").port == 8443
    assert STRICT.check_url("https://a.b.corp.example/").hostname == "a.b.corp.example"


PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1",
    "2002:7f00:1::", "2002:a00:1::", "2001:0:7f00:1::",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_never_connected_to(address: str) -> None:
    assert not is_public(ip_address(address))
    asked: list[str] = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["93.184.215.14", address]

    with pytest.raises(RefusedTargetError, match="not a public one"):
        post("https://hooks.example.com/", b"{}", {}, STRICT, 1.0, resolve)
    assert asked == ["hooks.example.com"]


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::"]
)
def test_public_addresses_are(address: str) -> None:
    assert is_public(ip_address(address))


def test_a_name_that_changes_between_two_look_ups_is_looked_up_once(receiver: Receiver) -> None:
    answers = iter([["127.0.0.1"], ["10.255.255.1"]])
    policy = OutboundPolicy(("hooks.test",), allows_private=True)
    url = f"http://hooks.test:{receiver.port}/"
    assert post(url, b"{}", {}, policy, 5.0, lambda *_: next(answers)) == 200
    assert next(answers) == ["10.255.255.1"]  # nobody asked for it


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "[::ffff:7f00:1]",
    ],
)
def test_loopback_spelt_otherwise_is_loopback_even_to_a_host_that_is_allowed(host: str) -> None:
    policy = OutboundPolicy((host.strip("[]"),))
    with pytest.raises(RefusedTargetError, match="not a public one"):
        post(f"https://{host}/", b"{}", {}, policy, 1.0)


def test_webhooks_are_off_until_a_host_is_allowed(settings: Settings, sqlite_store: Store) -> None:
    http = TestClient(create_app(settings, sqlite_store))
    refused = http.post("/v1/webhooks", json={"url": "https://hooks.example.com/"})
    assert refused.status_code == 422
    assert "SYNTHFORGE_WEBHOOK_HOSTS is empty" in refused.json()["detail"]
