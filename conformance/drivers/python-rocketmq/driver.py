"""Drives the Python package rocketmq, the RocketMQ C++ client 1.x, by JSON lines; ../README.md says which. The load is in load.py."""
import collections
import importlib.metadata
import os
import threading
import time
import zlib

from rocketmq.client import Message, Producer, PushConsumer, RecvMessage, SendStatus
from rocketmq.exceptions import RocketMQException, ffi_check
from rocketmq.ffi import _CConsumeStatus, dll

import lines
from lines import Unsupported
from load import Load

SEND_TIMEOUT_MS = 10_000
MESSAGE_BYTES_MAX = 4 << 20
CONSUME_THREADS = 4
ASYNC_S_MAX = 20
FIRST_SEND_TRIES_MAX = 5
NO_CALL = "the package has no such call"
SETTLES = "a push consumer settles by what its callback returns"

address = None
producer = None
load = None
consumers = {}
# The library ends the process when an object of it is destroyed while one of its threads still looks at it.
ended = []


def connect(command):
    global address
    address = command["remoting"]


def current_producer():
    global producer
    if producer is None:
        made = Producer(f"conformance_producer_{os.getpid()}_{time.time_ns()}", timeout=SEND_TIMEOUT_MS, max_message_size=MESSAGE_BYTES_MAX)
        made.set_namesrv_addr(address)
        made.start()
        producer = made
    return producer


def message_of(topic, body):
    message = Message(topic)
    # The package's own setter takes a C string, which ends at its first zero byte.
    ffi_check(dll.SetByteMessageBody(message, body, len(body)))
    return message


def build(topic, wanted):
    message = message_of(topic, lines.body_of(wanted))
    for name, value in wanted.get("properties", {}).items():
        message.set_property(name, value)
    if "tag" in wanted:
        message.set_tags(wanted["tag"])
    if "key" in wanted:
        message.set_keys(wanted["key"])
    return message


def chooser(wanted):
    """Picks the queue that the message names, else the one of its ordering key."""
    if "queue" in wanted:
        return lambda _count, _message, _argument: wanted["queue"]
    return lambda count, _message, _argument: zlib.crc32(wanted["ordering_key"].encode()) % count


def receipt(result):
    if result.status != SendStatus.OK:
        raise RocketMQException(f"send status {result.status.name}")
    return {"message_id": result.msg_id, "offset": result.offset}


def is_placed(wanted):
    return "queue" in wanted or "ordering_key" in wanted


def send_sync(message, wanted):
    """Tries again when the route could not be had in time: nothing was sent then."""
    for attempt in range(1, FIRST_SEND_TRIES_MAX + 1):
        try:
            if is_placed(wanted):
                return receipt(current_producer().send_orderly(message, 0, retry_times=0, queue_selector=chooser(wanted)))
            return receipt(current_producer().send_sync(message))
        except RocketMQException as error:
            if attempt == FIRST_SEND_TRIES_MAX or "No route info" not in str(error):
                raise
            time.sleep(0.3)


def send_oneway(message, wanted):
    if is_placed(wanted):
        current_producer().send_oneway_orderly(message, 0, queue_selector=chooser(wanted))
    else:
        current_producer().send_oneway(message)


def send_async(messages):
    results = []
    done = threading.Event()

    def arrived(result):
        results.append(result)
        if len(results) == len(messages):
            done.set()

    for message in messages:
        current_producer().send_async(message, arrived, arrived)
    if not done.wait(ASYNC_S_MAX):
        raise TimeoutError(f"{len(results)} of {len(messages)} sends were answered")
    failed = [result for result in results if isinstance(result, Exception)]
    if failed:
        raise failed[0]
    return [receipt(result) for result in results]


def send(command):
    wanted, mode = command["messages"], command["mode"]
    messages = [build(command["topic"], one) for one in wanted]
    if mode == "sync":
        return {"receipts": [send_sync(*pair) for pair in zip(messages, wanted)]}
    if mode == "oneway":
        for pair in zip(messages, wanted):
            send_oneway(*pair)
        return {"receipts": []}
    if any(map(is_placed, wanted)):
        raise Unsupported(f"the package has no queue selector for {mode} sends")
    if mode == "async":
        return {"receipts": send_async(messages)}
    return {"receipts": [receipt(current_producer().send_batch(messages))]}


def text_or_none(value):
    return value.decode("utf-8", "replace") if value else None


def describe(message, property_names):
    properties = {name: text_or_none(message.get_property(name)) for name in property_names}
    return {
        "message_id": message.id, "topic": message.topic, "queue": message.queue_id, "offset": message.queue_offset,
        "body": lines.text_of(message.body or b""), "properties": {name: value for name, value in properties.items() if value is not None},
        "tag": text_or_none(message.tags), "key": text_or_none(message.keys), "attempt": message.reconsume_times + 1,
        "redelivered": message.reconsume_times > 0, "store_time_ms": message.store_timestamp,
    }


class Consumer(PushConsumer):
    """Tells the library how a delivery went: the package's own `subscribe` reports success when the callback raises."""

    def listen(self, topic, expression, callback):
        def arrived(_consumer, message):
            ok = callback(RecvMessage(message))
            return (_CConsumeStatus.CONSUME_SUCCESS if ok else _CConsumeStatus.RECONSUME_LATER).value

        ffi_check(dll.Subscribe(self._handle, topic.encode(), expression.encode()))
        self._register_callback(arrived)


def open_consumer(command, callback):
    if command.get("from", "earliest") != "earliest":
        # Left alone it takes up a new group where the broker says, which is at the first message that was ever stored.
        raise Unsupported("the package has no setting for where a new group begins")
    consumer = Consumer(command["group"], orderly=command.get("mode") == "orderly")
    consumer.set_namesrv_addr(address)
    consumer.set_thread_count(CONSUME_THREADS)
    consumer.set_message_batch_max_size(1)
    consumer.listen(command["topic"], command.get("tag", "*"), callback)
    consumer.start()
    return consumer


def consume(command):
    if command.get("hold"):
        raise Unsupported(SETTLES)
    if "max_attempts" in command:
        raise Unsupported("the package cannot set how often a message is delivered, and the broker's 16 times take hours")
    name, fail_times = command["consumer"], command.get("fail_times", 0)
    names = command.get("property_names", [])

    # An orderly consumer gives a message again without counting it as an attempt.
    times = collections.Counter()

    def arrived(message):
        times[message.id] += 1
        ok = fail_times >= 0 and max(message.reconsume_times, times[message.id] - 1) >= fail_times
        fields = {**describe(message, names), "outcome": "ack" if ok else "fail"}
        lines.emit({"event": "message", "consumer": name, "message": fields})
        return ok

    consumers[name] = open_consumer(command, arrived)


def end(consumer):
    consumer.shutdown()
    ended.append(consumer)


def stop(command):
    end(consumers.pop(command["consumer"]))


def start_load(command):
    global load
    load = Load(command, lambda body: receipt(current_producer().send_sync(message_of(command["topic"], body))))


def stop_load(_command):
    return load.end()


def drain(command):
    journal = lines.Journal(command["journal"])
    seen = {"count": 0, "last": time.monotonic()}

    def arrived(message):
        journal.received(message.queue_id, message.queue_offset, message.body or b"", message.reconsume_times + 1)
        seen["count"] += 1
        seen["last"] = time.monotonic()
        return True

    consumer = open_consumer(command, arrived)
    while time.monotonic() - seen["last"] < command["idle_ms"] / 1000:
        time.sleep(0.02)
    end(consumer)
    journal.close()
    return {"count": seen["count"]}


def reset(_command):
    global producer
    for name in list(consumers):
        end(consumers.pop(name))
    if producer is not None:
        producer.shutdown()
        ended.append(producer)
    producer = None


def unsupported(reason):
    def refuse(_command):
        raise Unsupported(reason)

    return refuse


if __name__ == "__main__":
    lines.serve({
        "hello": lambda _: {"sdk": "rocketmq (Python)", "version": importlib.metadata.version("rocketmq")}, "connect": connect, "send": send,
        "create_topic": unsupported("the SDK makes a topic by sending to it"), "consume": consume, "stop": stop, "load": start_load,
        "stop_load": stop_load, "drain": drain, "reset": reset, "settle": unsupported(SETTLES), "offsets": unsupported(NO_CALL),
        "seek_time": unsupported(NO_CALL),
    })
    os._exit(0)  # see `ended`
