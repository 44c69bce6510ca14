"""How the clients reach a server: one set of channel options for both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

Option = tuple[str, Any]

MESSAGE_BYTES = 16 << 20
"""The largest message, both ways: 100,000 phones of 64 characters are more than gRPC's default of 4 MiB."""

_CONSENT, _TIMELINE, _ADMIN = "stopline.v1.ConsentService", "stopline.v1.TimelineService", "stopline.v1.AdminService"
# Those that may be sent again: reads, and a write that is idempotent by its message id. IsSendable is among them, with
# its one side effect: a lost pass for a confirmation means that it is not sent, which is the safe side.
_REPEATABLE = {
    _CONSENT: ("RecordInbound", "IsSendable", "BatchFilter", "StreamFilter"),
    _TIMELINE: ("GetConsent", "ListTimeline"),
    _ADMIN: ("GetServerInfo",),
}
_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 2,
    # Nothing else: every other code is an answer, or would be the same again.
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def service_config() -> str:
    """The service config of the channel, as JSON.

    Repeats happen within the call's own timeout, and only until the first answer of a stream.
    """
    repeatable = [
        {"service": service, "method": method} for service, methods in _REPEATABLE.items() for method in methods
    ]
    return json.dumps(
        {
            # All addresses of the target, not the first that answers: a load balancer cannot spread a connection.
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": [{"name": repeatable, "retryPolicy": _RETRY_POLICY}],
            # While most calls fail, repeats stop: they would multiply the load on a server that cannot carry it.
            "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
        }
    )


def channel_options(extra: Sequence[Option] = ()) -> list[Option]:
    """The options of the channel; one in `extra` takes the place of ours of the same name."""
    options: dict[str, Any] = {
        "grpc.service_config": service_config(),
        "grpc.max_send_message_length": MESSAGE_BYTES,
        "grpc.max_receive_message_length": MESSAGE_BYTES,
        # What is kept of a request to send it again; the default of 256 KiB would leave large lists without a repeat.
        "grpc.per_rpc_retry_buffer_size": MESSAGE_BYTES,
        # A connection that died silently is found in the middle of a stream. Not while nothing is asked: servers take
        # pings without calls as abuse.
        "grpc.keepalive_time_ms": 20_000,
        "grpc.keepalive_timeout_ms": 5_000,
        # Without these a client is up to two minutes late to see that a server is back.
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.min_reconnect_backoff_ms": 1_000,
        "grpc.max_reconnect_backoff_ms": 2_000,
        # A connection for each client, so that two clients in a process are two connections.
        "grpc.use_local_subchannel_pool": 1,
    }
    options.update(extra)
    return list(options.items())
