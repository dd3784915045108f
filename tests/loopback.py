"""What reaches beyond this machine."""

import ipaddress
import sys
from typing import Any, Final

SILENT: Final = {  # libraries that would tell somebody of their use, or ask for news, do not
    "DO_NOT_TRACK": "true",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
}


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


def forbid_the_network() -> None:
    """Raise in this process where anything but loopback is about to be reached."""

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        host = host_in(event, arguments)
        if host is not None and not is_loopback(host):
            raise OSError(f"it reached beyond loopback: {host!r}")

    sys.addaudithook(check)
