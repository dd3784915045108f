"""The server that tests are answered by loses no request of its own accord."""

import socket

from fault_server import FaultServer, completion, failure

REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


def test_a_request_that_comes_before_the_last_answer_has_ended_is_answered_too() -> None:
    with FaultServer(failure(500), completion()) as server:
        host, _, port = server.url.removeprefix("http://").removesuffix("/v1").partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(REQUEST * 2)
            received = b""
            while b'"choices"' not in received:
                piece = client.recv(4096)
                assert piece, f"hung up after {received!r}"
                received += piece
        assert received.startswith(b"HTTP/1.1 500")
        assert b"HTTP/1.1 200" in received
        assert [one.path for one in server.received] == ["/v1/chat/completions"] * 2
