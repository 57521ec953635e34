"""What the transport does with providers that answer, stall, break and lie."""

import asyncio
import ssl
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from routing.errors import (
    StreamBrokenError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from routing.providers import Upstream, build
from tests.loopback import free_port
from tests.routing.configs import config
from tests.routing.raw_server import OK, RawServer, raw_server

BODY = b'{"model":"m"}'
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 20))


async def ask(upstream: Upstream) -> bytes:
    return await upstream.ask("openai_chat", BODY, {})


async def read(upstream: Upstream) -> list[bytes]:
    async with upstream.stream("openai_chat", BODY, {}) as chunks:
        return [chunk async for chunk in chunks]


def answering(answer: bytes, *, close: bool = False) -> Any:
    async def play(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        if close:
            writer.close()

    return play


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = Encoding.PEM
    (folder / "both.pem").write_bytes(
        key.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context


def outcome(answer: bytes, way: Any = ask, **changes: Any) -> Any:
    """What a provider's bytes, after which it hangs up, become."""

    async def story() -> Any:
        async with raw_server(answering(answer, close=True)) as server:
            return await way(build(config(server.url, **changes)))

    return run(story())


def test_an_answer_arrives_whole():
    assert outcome(OK) == b"{}"


def test_connections_are_kept_and_used_again():
    async def story() -> RawServer:
        async with raw_server(answering(OK)) as server:
            upstream = build(config(server.url))
            for _ in range(3):
                await ask(upstream)
            return server

    assert run(story()).connections == 1


def test_a_request_carries_the_credential_and_nothing_of_the_sdk():
    async def story() -> bytes:
        async with raw_server(answering(OK)) as server:
            await build(config(server.url)).ask("openai_chat", BODY, {"cookie": "a=b"})
            return server.heads[0].lower()

    head = run(story())
    names = {line.split(b":")[0] for line in head.strip().split(b"\r\n")[1:]}
    assert head.startswith(b"post /v1/chat/completions http/1.1\r\n")
    assert b"authorization: bearer sk-test-0123456789\r\n" in head
    assert b"accept-encoding: identity\r\n" in head
    assert names == {
        b"host", b"accept", b"content-type", b"user-agent", b"authorization",
        b"accept-encoding", b"content-length",
    }  # fmt: skip


def test_a_server_that_hung_up_while_idle_is_asked_again_on_a_new_connection():
    heads = []

    async def hang_up_on_the_second(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        if len(heads) == 2:
            writer.close()
        else:
            writer.write(OK)

    async def story() -> int:
        async with raw_server(hang_up_on_the_second) as server:
            upstream = build(config(server.url))
            assert [await ask(upstream), await ask(upstream)] == [b"{}", b"{}"]
            return server.connections

    assert run(story()) == 2


def test_f5_a_fresh_connection_that_is_hung_up_on_is_not_tried_twice():
    async def story() -> int:
        async with raw_server(answering(b"", close=True)) as server:
            with pytest.raises(UpstreamUnreachableError):
                await ask(build(config(server.url)))
            return len(server.heads)

    assert run(story()) == 1


def test_f5_a_refused_connection_is_unreachable():
    with pytest.raises(UpstreamUnreachableError):
        run(ask(build(config(f"http://127.0.0.1:{free_port()}/v1"))))


@pytest.mark.parametrize("name", ["nowhere.invalid", "a..b"])
def test_f7_a_name_without_an_address_is_unreachable(name: str):
    with pytest.raises(UpstreamUnreachableError):
        run(ask(build(config(f"https://{name}/v1"))))


def test_f6_a_server_without_tls_is_unreachable_over_https():
    async def story() -> None:
        async with raw_server(answering(OK)) as server:
            https = server.url.replace("http://", "https://")
            await ask(build(config(https, connect_timeout_seconds=0.2)))

    with pytest.raises(UpstreamUnreachableError):
        run(story())


def test_f6_a_certificate_that_nobody_vouches_for_is_unreachable(tmp_path: Path):
    async def story() -> None:
        listener = await asyncio.start_server(
            lambda _, writer: writer.write(OK), "127.0.0.1", 0, ssl=self_signed(tmp_path)
        )
        port = listener.sockets[0].getsockname()[1]
        async with listener:
            await ask(build(config(f"https://localhost:{port}/v1")))

    with pytest.raises(UpstreamUnreachableError, match="secure"):
        run(story())


def test_f8_silence_before_the_head_is_a_timeout_that_may_have_been_billed():
    async def story() -> None:
        async with raw_server(answering(b"")) as server:
            await ask(build(config(server.url, timeout_seconds=0.1)))

    with pytest.raises(UpstreamTimeoutError) as caught:
        run(story())
    assert caught.value.maybe_billed


def test_silence_before_the_body_is_a_timeout():
    async def story() -> None:
        async with raw_server(answering(OK[:-2])) as server:
            await ask(build(config(server.url, timeout_seconds=0.1)))

    with pytest.raises(UpstreamTimeoutError):
        run(story())


def test_a_trickling_answer_ends_at_the_total_timeout():
    async def trickle(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def story() -> None:
        async with raw_server(trickle) as server:
            await ask(build(config(server.url, total_timeout_seconds=0.3)))

    with pytest.raises(UpstreamTimeoutError):
        run(story())


def test_f9_a_stream_that_stalls_is_broken():
    async def story() -> None:
        async with raw_server(answering(STREAM_HEAD + b"5\r\nhello\r\n")) as server:
            await read(build(config(server.url, stream_idle_timeout_seconds=0.1)))

    with pytest.raises(StreamBrokenError):
        run(story())


def test_f11_a_stream_that_is_cut_is_broken():
    with pytest.raises(StreamBrokenError):
        outcome(STREAM_HEAD + b"5\r\nhello\r\n", read)


def test_a_stream_comes_as_it_is_sent():
    asked_for_more = asyncio.Event()

    async def in_turns(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + b"1\r\na\r\n")
        await asked_for_more.wait()
        writer.write(b"1\r\nb\r\n0\r\n\r\n")

    async def story() -> list[bytes]:
        async with raw_server(in_turns) as server:
            chunks = []
            async with build(config(server.url)).stream("openai_chat", BODY, {}) as stream:
                async for chunk in stream:
                    chunks.append(chunk)
                    asked_for_more.set()
            return chunks

    assert run(story()) == [b"a", b"b"]


def test_a_body_without_a_length_ends_with_its_connection():
    assert outcome(b"HTTP/1.1 200 OK\r\n\r\n{}") == b"{}"


def test_an_interim_answer_is_passed_over():
    assert outcome(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK) == b"{}"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000,
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n" + b" " * 1000,
    ],
)
def test_f21_what_is_not_an_answer_is_a_protocol_error(answer: bytes):
    with pytest.raises(UpstreamProtocolError):
        outcome(answer)


def test_f21_json_where_a_stream_was_asked_for_is_a_protocol_error():
    with pytest.raises(UpstreamProtocolError):
        outcome(OK, read)


def test_f17_an_answer_beyond_the_largest_is_cut_off():
    async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" " * 1_000_000)
            await writer.drain()

    async def story() -> None:
        async with raw_server(endless) as server:
            with pytest.raises(UpstreamProtocolError):
                await ask(build(config(server.url)))
            await asyncio.wait_for(server.left.wait(), 1)

    run(story())


@pytest.mark.parametrize("way", [ask, read])
@pytest.mark.parametrize("sent", [b"", STREAM_HEAD, STREAM_HEAD + b"5\r\nhello\r\n"])
def test_f14_f15_a_caller_who_leaves_closes_the_connection(way: Any, sent: bytes):
    async def story() -> None:
        async with raw_server(answering(sent)) as server:
            call = asyncio.create_task(way(build(config(server.url))))
            await server.asked.wait()
            call.cancel()
            await asyncio.wait_for(server.left.wait(), 1)
            with pytest.raises(asyncio.CancelledError):
                await call

    run(story())


def test_a_stream_can_be_read_on_after_a_cancelled_read():
    cancelled = asyncio.Event()

    async def in_turns(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        await cancelled.wait()
        writer.write(b"1\r\na\r\n0\r\n\r\n")

    async def story() -> list[bytes]:
        async with (
            raw_server(in_turns) as server,
            build(config(server.url)).stream("openai_chat", BODY, {}) as chunks,
        ):
            reading = asyncio.ensure_future(anext(chunks))
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            cancelled.set()
            return [chunk async for chunk in chunks]

    assert run(story()) == [b"a"]


def test_oai_18_a_reader_who_pauses_makes_the_provider_wait():
    blocked = asyncio.Event()

    async def flood(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        for _turn in range(1000):
            writer.write(b" " * 100_000)
            try:
                await asyncio.wait_for(writer.drain(), 0.2)
            except TimeoutError:
                blocked.set()
                writer.close()
                return

    async def story() -> None:
        async with (
            raw_server(flood) as server,
            build(config(server.url)).stream("openai_chat", BODY, {}),
        ):
            await blocked.wait()

    run(story())


def test_a_second_answer_that_nobody_asked_for_is_never_handed_on():
    async def twice(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + OK.replace(b"{}", b"[]"))

    async def story() -> list[bytes]:
        async with raw_server(twice) as server:
            upstream = build(config(server.url))
            return [await ask(upstream) for _ in range(3)]

    assert run(story()) == [b"{}"] * 3


def test_r67_a_closed_provider_still_finishes_what_is_under_way():
    async def story() -> list[bytes]:
        async with raw_server(answering(STREAM_HEAD + b"1\r\na\r\n0\r\n\r\n")) as server:
            upstream = build(config(server.url))
            async with upstream.stream("openai_chat", BODY, {}) as chunks:
                await upstream.close()
                read = [chunk async for chunk in chunks]
            await asyncio.wait_for(server.left.wait(), 1)
            return read

    assert run(story()) == [b"a"]


def test_a_header_with_a_line_break_never_leaves():
    async def story() -> list[bytes]:
        async with raw_server(answering(OK)) as server:
            upstream = build(config(server.url, kind="anthropic"))
            with pytest.raises(Exception, match="header"):
                await upstream.ask("anthropic_messages", BODY, {"anthropic-beta": "a\r\nb: c"})
            return server.heads

    assert run(story()) == []


def test_no_message_names_the_host():
    for way in (ask, read):
        with pytest.raises(UpstreamError) as caught:
            outcome(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", way)
        assert "127.0.0.1" not in caught.value.message
