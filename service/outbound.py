"""Requests that leave the service for hosts of others: to allowed hosts, at a pinned address.

A name is resolved once and its addresses are checked; the connection goes to one of those, whatever
the name says a moment later. Redirects are not followed and proxies of the environment not used.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

import httpx

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
# Addresses that carry an IPv4 address in their last 32 bits (RFC 6052, RFC 8215).
_NAT64: Final = (
    ipaddress.IPv6Network("64:ff9b::/96"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),
)
# All that is handed out of IPv6; IPv4 in its mapped and compatible forms lies outside.
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class RefusedTargetError(Exception):
    """A URL that the service does not send to; the message says why."""


@dataclass(frozen=True)
class OutboundPolicy:
    """Where requests may go.

    Attributes:
        hosts: names, `*.example.com` for all below one; none: nowhere.
        allows_private: private and loopback addresses too, and http; for tests.
    """

    hosts: tuple[str, ...]
    allows_private: bool = False

    def check_url(self, url: str) -> SplitResult:
        """Return the parts of a URL that may be sent to, as far as its text tells.

        Raises:
            RefusedTargetError: saying what would do.
        """
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
        except ValueError as error:
            raise RefusedTargetError(f"it is no URL: {error}") from None
        if parts.scheme != "https" and not (parts.scheme == "http" and self.allows_private):
            raise RefusedTargetError("an https:// URL would do")
        if not host or parts.username is not None or parts.fragment or port == 0:
            raise RefusedTargetError("a host, without user, password or fragment, would do")
        if not self._names(host):
            allowed = ", ".join(self.hosts) or "none: SYNTHFORGE_WEBHOOK_HOSTS is empty"
            raise RefusedTargetError(f"its host is not allowed ({allowed})")
        return parts

    def check_address(self, text: str) -> Address:
        """Return an address that may be connected to.

        Raises:
            RefusedTargetError: it is not a public one.
        """
        address = ipaddress.ip_address(text.partition("%")[0])
        if not self.allows_private and not is_public(address):
            raise RefusedTargetError(f"its address {address} is not a public one")
        return address

    def _names(self, host: str) -> bool:
        for allowed in self.hosts:
            if host == allowed.lower():
                return True
            if allowed.startswith("*.") and host.endswith(allowed[1:].lower()):
                return True
        return False


def is_public(address: Address) -> bool:
    """Tell whether an address, and any address inside it, is one of the public Internet."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    if any(address in network for network in _NAT64):
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    inner = [held for held in (address.sixtofour, *(address.teredo or ())) if held is not None]
    if any(not is_public(held) for held in inner):
        return False
    return address in _UNICAST and (address.is_global or bool(inner))


def resolve(host: str, port: int) -> Sequence[str]:
    """Return every address that a name has now.

    Raises:
        OSError: it has none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    policy: OutboundPolicy,
    timeout_s: float,
    resolve_host: Resolve = resolve,
) -> int:
    """Post a body, and return the status of the answer; its body is not read.

    Args:
        url: where to.
        body, headers: what.
        policy: where requests may go.
        timeout_s: of connecting, sending and waiting, together.
        resolve_host: finds the addresses of a name; asked once.

    Raises:
        RefusedTargetError: the URL, or an address of its host, is not allowed.
        OSError, httpx.HTTPError: the host does not answer; TimeoutError is one.
    """
    parts = policy.check_url(url)
    host, port = str(parts.hostname), parts.port or _DEFAULT_PORTS[parts.scheme]
    # One address that is not public is one too many: none of a name's is then used.
    addresses = [policy.check_address(text) for text in resolve_host(host, port)]
    if not addresses:
        raise RefusedTargetError("its host has no address")
    pinned = f"[{addresses[0]}]" if addresses[0].version == 6 else str(addresses[0])
    target = urlunsplit((parts.scheme, f"{pinned}:{port}", parts.path or "/", parts.query, ""))
    sent = {**headers, "Host": parts.netloc, "Content-Type": "application/json"}
    return asyncio.run(_status_of(target, body, sent, host, timeout_s))


async def _status_of(
    target: str, body: bytes, headers: Mapping[str, str], host: str, timeout_s: float
) -> int:
    """Post; a deadline over all of it is what a host cannot stretch a byte at a time."""
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(timeout=timeout_s, trust_env=False, follow_redirects=False) as client,
            client.stream(
                "POST",
                target,
                content=body,
                headers=headers,
                extensions={"sni_hostname": host},
            ) as answer,
        ):
            return answer.status_code
    except TimeoutError:
        raise TimeoutError(f"no answer within {timeout_s:g} s") from None
