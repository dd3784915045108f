"""What reaches beyond this machine."""

import ipaddress
from typing import Any


def host_in(event: str, arguments: tuple[Any, ...]) -> Any:
    """The host that an audit event is about to reach; None where it reaches none."""
    if event == "socket.getaddrinfo":
        return arguments[0]
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        return arguments[1][0]
    return None


def is_loopback(host: Any) -> bool:
    """Whether a host is this machine itself."""
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
