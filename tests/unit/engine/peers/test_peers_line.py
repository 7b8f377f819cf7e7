"""Lines between hosts: nobody speaks who does not know the secret, and nothing is changed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from holdfast.engine.peers import line as lines
from holdfast.engine.peers.line import Line, LineBroken, answer, call

SECRET, OTHER = b"a" * 32, b"b" * 32


@contextmanager
def answering(do: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """Do something with the first call; what it raises is raised here."""
    went_wrong: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            sock, _ = server.accept()
            with closing(sock):
                try:
                    do(sock)
                except BaseException as error:
                    went_wrong.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        yield "127.0.0.1", server.getsockname()[1]
        thread.join()
    if went_wrong:
        raise went_wrong[0]


def echo(sock: socket.socket) -> None:
    line = answer(sock, SECRET, 5.0)
    for _ in range(2):
        line.send(*((head, [payload]) for head, payload in [line.receive()]).__next__())


def test_what_is_said_arrives() -> None:
    with answering(echo) as address, closing(call(address, SECRET, 5.0)) as line:
        line.send({"do": "this"}, [b"one", bytearray(3 << 20), memoryview(b"two")])
        assert line.receive() == ({"do": "this"}, b"one" + bytes(3 << 20) + b"two")
        line.send({})
        assert line.receive() == ({}, b"")


def test_who_does_not_know_the_secret_is_not_heard() -> None:
    def refuse(sock: socket.socket) -> None:
        with pytest.raises(LineBroken, match="does not know the secret"):
            answer(sock, SECRET, 5.0)

    with answering(refuse) as address, pytest.raises(LineBroken):
        call(address, OTHER, 5.0)


def test_a_keeper_that_does_not_know_the_secret_is_told_nothing() -> None:
    def pretend(sock: socket.socket) -> None:
        sock.sendall(lines._HELLO + b"n" * 32)
        lines.exactly(sock, 64)
        sock.sendall(b"p" * 32)

    with (
        answering(pretend) as address,
        pytest.raises(LineBroken, match="does not know the secret"),
    ):
        call(address, SECRET, 5.0)


def test_something_else_that_answers_is_left_alone() -> None:
    def other(sock: socket.socket) -> None:
        sock.sendall(b"SSH-2.0-something else\r\n" + bytes(64))

    with answering(other) as address, pytest.raises(LineBroken, match="something else"):
        call(address, SECRET, 5.0)


def pair() -> tuple[Line, Line, socket.socket, socket.socket]:
    """Return two ends of which each is joined to a wire that the test holds the other end of."""
    one, at_one = socket.socketpair()
    two, at_two = socket.socketpair()
    ours = Line(one, b"k" * 32, is_caller=True, patience_s=5.0)
    theirs = Line(two, b"k" * 32, is_caller=False, patience_s=5.0)
    return ours, theirs, at_one, at_two


@pytest.mark.parametrize("at", [13, 30, -1])
def test_a_bit_that_flips_on_the_way_is_noticed(at: int) -> None:
    ours, theirs, wire, on = pair()
    ours.send({"key": "x"}, [b"payload of some length"])
    data = bytearray(wire.recv(1 << 16))
    data[at] ^= 1
    on.sendall(data)
    with pytest.raises(LineBroken, match="changed on its way"):
        theirs.receive()
    for end in (ours, theirs, wire, on):
        end.close()


def test_a_message_that_is_sent_again_is_noticed() -> None:
    ours, theirs, wire, on = pair()
    ours.send({"do": "delete"})
    data = wire.recv(1 << 16)
    on.sendall(data + data)
    assert theirs.receive()[0] == {"do": "delete"}
    with pytest.raises(LineBroken, match="changed on its way"):
        theirs.receive()
    for end in (ours, theirs, wire, on):
        end.close()


def test_an_endless_message_is_refused_before_it_takes_memory() -> None:
    ours, theirs, wire, on = pair()
    on.sendall(lines._SIZES.pack(10, 1 << 50))
    with pytest.raises(LineBroken, match="too long"):
        theirs.receive()
    for end in (ours, theirs, wire, on):
        end.close()
