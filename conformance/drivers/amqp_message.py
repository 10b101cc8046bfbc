"""What the drivers of AMQP clients in Python share: how a command's message becomes headers and how a delivery is told. Knows no client.

README.md beside this file says where a tag and a key travel.
"""
import lines
from lines import Unsupported

TAG_HEADER = "x-tag"
KEYS_HEADER = "x-keys"
ATTEMPT_HEADER = "x-delivery-count"
BACKOFF_S = 0.2  # an AMQP requeue comes back at once
STOP_S_MAX = 10


def check_topic(command):
    if command["queues"] != 1:
        raise Unsupported("an AMQP queue is one sequence; several queues are another protocol's")


def check_messages(command):
    if any(message.get("queue", 0) != 0 for message in command["messages"]):
        raise Unsupported("an AMQP queue is one sequence")


def check_consume(command):
    if command.get("from", "earliest") != "earliest":
        raise Unsupported("an AMQP queue has no offsets")
    if command.get("tag", "*") != "*":
        raise Unsupported("an AMQP consumer has no filter; bindings have")


def no_offsets(_command):
    raise Unsupported("an AMQP queue has no offsets")


def headers_of(message):
    headers = dict(message.get("properties", {}))
    if "tag" in message:
        headers[TAG_HEADER] = message["tag"]
    return headers


class Judge:
    """Decides about the deliveries of one consumer by its command, and tells each as an event."""

    def __init__(self, command):
        self.consumer = command["consumer"]
        self._fail_times = command.get("fail_times", 0)
        self._hold = command.get("hold", False)
        self._seen = {}

    def arrived(self, *, topic, body, headers, message_id, redelivered, receipt):
        """Gives the outcome: `ack`, `fail` or `held`."""
        headers = dict(headers or {})
        tag = headers.pop(TAG_HEADER, None)
        key = headers.pop(KEYS_HEADER, None) or message_id
        attempt = headers.pop(ATTEMPT_HEADER, None)
        identity = (message_id, body)
        self._seen[identity] = self._seen.get(identity, 0) + 1
        ok = self._fail_times >= 0 and self._seen[identity] > self._fail_times
        outcome = "held" if self._hold else "ack" if ok else "fail"
        message = {
            "message_id": message_id, "topic": topic, "body": lines.text_of(body), "properties": headers, "tag": tag, "key": key,
            "redelivered": redelivered, "attempt": None if attempt is None else attempt + 1, "outcome": outcome, "receipt": receipt,
        }
        lines.emit({"event": "message", "consumer": self.consumer, "message": message})
        return outcome


def consumer_error(consumer, error):
    lines.emit({"event": "consumer_error", "consumer": consumer, "error": f"{type(error).__name__}: {error}"})
