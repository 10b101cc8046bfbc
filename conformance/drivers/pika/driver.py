"""Drives pika by JSON lines; ../README.md says which. Commands are carried out here, the journaled load in load.py."""
import importlib.metadata
import sys
import threading
import time

import pika

import lines
from lines import Unsupported
from load import Load

TAG_HEADER = "x-tag"
KEYS_HEADER = "x-keys"
ATTEMPT_HEADER = "x-delivery-count"
STOP_S_MAX = 10
BACKOFF_S = 0.2

endpoint = None
producer = None
consumers = {}
load = None


def connection():
    host, port = endpoint.rsplit(":", 1)
    return pika.BlockingConnection(pika.ConnectionParameters(host, int(port), socket_timeout=10, blocked_connection_timeout=10))


def connect(command):
    global endpoint
    endpoint = command["amqp"]


def publishing_channel():
    """The channel that publishes with confirms, opened again if the broker closed it."""
    global producer
    if producer is not None:
        try:
            producer.connection.process_data_events(0)
        except pika.exceptions.AMQPError:
            producer = None
    if producer is None or not producer.is_open:
        producer = connection().channel()
        producer.confirm_delivery()
    return producer


def create_topic(command):
    if command["queues"] != 1:
        raise Unsupported("an AMQP queue is one sequence; several queues are another protocol's")
    publishing_channel().queue_declare(command["topic"], durable=True)


def properties(message):
    headers = dict(message.get("properties", {}))
    if "tag" in message:
        headers[TAG_HEADER] = message["tag"]
    return pika.BasicProperties(headers=headers, message_id=message.get("key"), delivery_mode=pika.DeliveryMode.Persistent)


def send(command):
    mode = command["mode"]
    if mode == "sync":
        channel = publishing_channel()
    elif mode == "oneway":
        channel = publishing_channel().connection.channel()
    else:
        raise Unsupported(f"pika's blocking channel has no {mode} publish")
    receipts = []
    for message in command["messages"]:
        if message.get("queue", 0) != 0:
            raise Unsupported("an AMQP queue is one sequence")
        channel.basic_publish("", command["topic"], lines.body_of(message), properties(message), mandatory=mode == "sync")
        receipts.append({})
    if mode == "oneway":
        channel.close()
        return {"receipts": []}
    return {"receipts": receipts}


class Consumer(threading.Thread):
    """One connection with one consumer; the connection belongs to this thread."""

    def __init__(self, command):
        super().__init__(daemon=True)
        self.name_ = command["consumer"]
        self.queue = command["topic"]
        self.fail_times = command.get("fail_times", 0)
        self.hold = command.get("hold", False)
        self.prefetch = command.get("prefetch", 10)
        self.seen = {}
        self.started = threading.Event()
        self.failure = None

    def run(self):
        try:
            self.connection = connection()
            self.channel = self.connection.channel()
            self.channel.basic_qos(prefetch_count=self.prefetch)
            self.channel.basic_consume(self.queue, self.arrived)
            self.started.set()
            self.channel.start_consuming()
            self.connection.close()
        except Exception as error:  # told to whoever waits for the start, and as an event
            self.failure = error
            self.started.set()
            lines.emit({"event": "consumer_error", "consumer": self.name_, "error": f"{type(error).__name__}: {error}"})

    def arrived(self, channel, method, props, body):
        headers = dict(props.headers or {})
        tag = headers.pop(TAG_HEADER, None)
        key = headers.pop(KEYS_HEADER, None) or props.message_id
        attempt = headers.pop(ATTEMPT_HEADER, None)
        identity = (props.message_id, body)
        self.seen[identity] = self.seen.get(identity, 0) + 1
        ok = self.fail_times >= 0 and self.seen[identity] > self.fail_times
        outcome = "held" if self.hold else "ack" if ok else "fail"
        message = {
            "message_id": props.message_id, "topic": method.routing_key, "body": lines.text_of(body), "properties": headers, "tag": tag,
            "key": key, "redelivered": method.redelivered, "attempt": None if attempt is None else attempt + 1, "outcome": outcome,
            "receipt": str(method.delivery_tag),
        }
        lines.emit({"event": "message", "consumer": self.name_, "message": message})
        if outcome == "ack":
            channel.basic_ack(method.delivery_tag)
        elif outcome == "fail":
            time.sleep(BACKOFF_S)  # an AMQP requeue comes back at once
            channel.basic_nack(method.delivery_tag, requeue=True)

    def settle(self, receipts, outcome):
        done = threading.Event()

        def work():
            for receipt in receipts:
                if outcome == "ack":
                    self.channel.basic_ack(int(receipt))
                else:
                    self.channel.basic_nack(int(receipt), requeue=outcome == "requeue")
            done.set()

        self.connection.add_callback_threadsafe(work)
        if not done.wait(STOP_S_MAX):
            raise TimeoutError("the consumer's thread did not settle")

    def stop(self):
        if self.is_alive():
            self.connection.add_callback_threadsafe(self.channel.stop_consuming)
            self.join(STOP_S_MAX)
        if self.is_alive():
            raise TimeoutError("the consumer's thread did not stop")


def consume(command):
    if command.get("from", "earliest") != "earliest":
        raise Unsupported("an AMQP queue has no offsets")
    if command.get("tag", "*") != "*":
        raise Unsupported("an AMQP consumer has no filter; bindings have")
    consumer = Consumer(command)
    consumer.start()
    if not consumer.started.wait(STOP_S_MAX):
        raise TimeoutError("the consumer did not start")
    if consumer.failure:
        raise consumer.failure
    consumers[consumer.name_] = consumer


def settle(command):
    consumers[command["consumer"]].settle(command["receipts"], command["outcome"])


def stop(command):
    consumers.pop(command["consumer"]).stop()


def start_load(command):
    global load
    load = Load(endpoint, command)
    load.start()


def stop_load(_command):
    return load.end()


def drain(command):
    journal = lines.Journal(command["journal"])
    opened = connection()
    channel = opened.channel()
    channel.basic_qos(prefetch_count=500)
    count = 0
    for method, _props, body in channel.consume(command["topic"], inactivity_timeout=command["idle_ms"] / 1000):
        if method is None:
            break
        journal.received("-", "-", body, 2 if method.redelivered else 1)
        channel.basic_ack(method.delivery_tag)
        count += 1
    opened.close()
    journal.close()
    return {"count": count}


def reset(_command):
    global producer
    for name in list(consumers):
        consumers.pop(name).stop()
    if producer is not None and producer.connection.is_open:
        producer.connection.close()
    producer = None


def no_offsets(_command):
    raise Unsupported("an AMQP queue has no offsets")


if __name__ == "__main__":
    lines.serve({
        "hello": lambda _: {"sdk": "pika", "version": importlib.metadata.version("pika")}, "connect": connect, "create_topic": create_topic,
        "send": send, "consume": consume, "settle": settle, "stop": stop, "load": start_load, "stop_load": stop_load, "drain": drain,
        "reset": reset, "offsets": no_offsets, "seek_time": no_offsets,
    })
    sys.exit(0)
