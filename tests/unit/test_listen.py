"""Addresses to serve on: how they are written, and who may have one."""

import socket
import sys

import pytest

from stopline_server.listen import Address, ListenError, parse_listen, reserve


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:50051", ("127.0.0.1", 50051)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_listen(text) == address
    assert str(parse_listen(text)) == text


@pytest.mark.parametrize("text", ["", ":1", "a", "a:", "a:b", "::1:5", "a:65536", "a:-1", "a:１", "50051"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="write HOST:PORT"):
        parse_listen(text)


def joined(address: Address) -> socket.socket:
    """A socket as a worker's gRPC makes it."""
    worker = socket.socket()
    worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    worker.bind(address)
    worker.listen()
    return worker


def test_an_address_is_for_one_server_and_all_its_workers() -> None:
    holder, address = reserve(Address("127.0.0.1", 0))
    with holder, joined(address), joined(address), pytest.raises(ListenError, match="it is in use"):
        reserve(address)


def test_a_server_without_workers_yet_holds_its_address_too() -> None:
    holder, address = reserve(Address("127.0.0.1", 0))
    with holder, pytest.raises(ListenError, match="it is in use"):
        reserve(address)


def test_a_strangers_address_is_refused() -> None:
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        with pytest.raises(ListenError, match=r"^cannot listen on 127.0.0.1:\d+: it is in use; choose another"):
            reserve(Address(*stranger.getsockname()))


def test_a_restart_takes_its_address_again_at_once() -> None:
    holder, address = reserve(Address("127.0.0.1", 0))
    with holder, joined(address) as worker, socket.create_connection(address) as client:
        served, _ = worker.accept()
        served.close()  # the server's side closes first, and is in TIME_WAIT
        assert client.recv(1) == b""
    holder, again = reserve(address)
    with holder:
        assert again == address


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.1"])
def test_an_address_of_no_machine_or_another(host: str) -> None:
    with pytest.raises(ListenError, match=f"^cannot listen on {host}:1") as caught:
        reserve(Address(host, 1))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not socket.has_ipv6 or sys.platform == "win32", reason="needs IPv6")
def test_ipv6() -> None:
    try:
        holder, address = reserve(Address("::1", 0))
    except ListenError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    with holder:
        assert str(address).startswith("[::1]:")
