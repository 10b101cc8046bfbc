"""Drives pika by JSON lines; ../README.md says which. Commands are carried out here, the journaled load in load.py."""
import importlib.metadata
import ssl
import sys
import threading
import time

import pika

import amqp_message
import lines
from amqp_message import BACKOFF_S, STOP_S_MAX, Judge
from lines import Unsupported
from load import Load

endpoint = None
credentials = None
trusted = None
producer = None
consumers = {}
load = None


def connection():
    host, port = endpoint.rsplit(":", 1)
    return pika.BlockingConnection(pika.ConnectionParameters(
        host, int(port), credentials=credentials, ssl_options=trusted, socket_timeout=10, blocked_connection_timeout=10))


def connect(command):
    global endpoint, credentials, trusted
    endpoint = command["amqp"]
    credentials = pika.PlainCredentials(command.get("user", "guest"), command.get("secret", "guest"))
    trusted = pika.SSLOptions(ssl.create_default_context(cafile=command["tls"]), endpoint.rsplit(":", 1)[0]) if "tls" in command else None


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
    amqp_message.check_topic(command)
    publishing_channel().queue_declare(command["topic"], durable=True)


def properties(message):
    return pika.BasicProperties(
        headers=amqp_message.headers_of(message), message_id=message.get("key"), delivery_mode=pika.DeliveryMode.Persistent)


def send(command):
    mode = command["mode"]
    amqp_message.check_messages(command)
    if mode == "sync":
        channel = publishing_channel()
    elif mode == "oneway":
        channel = publishing_channel().connection.channel()
    else:
        raise Unsupported(f"pika's blocking channel has no {mode} publish")
    receipts = []
    for message in command["messages"]:
        channel.basic_publish("", command["topic"], lines.body_of(message), properties(message), mandatory=mode == "sync")
        receipts.append({})
    if mode == "oneway":
        channel.close()
        return {"receipts": []}
    return {"receipts": receipts}


def route(command):
    """Everything on a channel of its own: an error of one scenario is not another's."""
    opened = connection()
    channel = opened.channel()
    for exchange in command["exchanges"]:
        arguments = {"alternate-exchange": exchange["alternate"]} if "alternate" in exchange else None
        channel.exchange_declare(
            exchange["name"], exchange["kind"], durable=True, internal=exchange.get("internal", False), arguments=arguments)
    for queue in command["queue_names"]:
        channel.queue_declare(queue, durable=True, arguments=command.get("queue_arguments", {}).get(queue))
    for binding in command["bindings"]:
        arguments = binding.get("arguments")
        if "queue" in binding:
            channel.queue_bind(binding["queue"], binding["source"], binding["key"], arguments)
        else:
            channel.exchange_bind(binding["exchange"], binding["source"], binding["key"], arguments)
    channel.confirm_delivery()
    returned, nacked = [], []
    for message in command["messages"]:
        props = pika.BasicProperties(
            headers=message.get("headers"), delivery_mode=pika.DeliveryMode.Persistent, expiration=message.get("expiration"),
            priority=message.get("priority"))
        try:
            channel.basic_publish(message["exchange"], message["key"], message["text"].encode(), props, mandatory=True)
        except pika.exceptions.UnroutableError as error:
            returned.extend(back.body.decode() for back in error.messages)
        except pika.exceptions.NackError:
            nacked.append(message["text"])
    for queue in command.get("reject_queues", []):
        reject(channel, queue)
    time.sleep(command.get("wait_ms", 0) / 1000)
    missing = [queue for queue in command.get("looked_for", []) if not is_there(opened, queue)]
    queues = {queue: list(taken(channel, queue)) for queue in command["queue_names"] if queue not in missing}
    opened.close()
    return {"queues": queues, "returned": returned, "nacked": nacked, "missing": missing}


def reject(channel, queue):
    while True:
        method, _props, _body = channel.basic_get(queue)
        if method is None:
            return
        channel.basic_reject(method.delivery_tag, requeue=False)


def is_there(opened, queue):
    try:
        channel = opened.channel()
        channel.queue_declare(queue, passive=True)
        channel.close()
        return True
    except pika.exceptions.ChannelClosedByBroker:
        return False


def taken(channel, queue):
    while True:
        method, props, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return
        headers = props.headers or {}
        deaths = [
            {"queue": death["queue"], "reason": death["reason"], "count": death["count"], "exchange": death["exchange"],
             "keys": death["routing-keys"], "expiration": death.get("original-expiration")}
            for death in headers.get("x-death", [])]
        yield {"text": body.decode(), "headers": sorted(headers), "deaths": deaths, "expiration": props.expiration}


class Channel:
    """A channel in whatever mode the steps bring it to; another one counts."""

    def __init__(self, queue):
        self.queue = queue
        self.connection = connection()
        self.counting = self.connection.channel()
        self.open()

    def open(self):
        self.channel = self.connection.channel()
        self.tag = None

    def reopen(self):
        self.channel.close()
        self.open()

    def step(self, step):
        try:
            return self.carry_out(*step.split(" ", 1)) or ""
        except pika.exceptions.ChannelClosedByBroker as closed:
            self.open()
            return str(closed.reply_code)

    def carry_out(self, word, text=None):
        if word == "publish":
            self.channel.basic_publish("", self.queue, text.encode(), pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent))
        elif word == "get":
            method, _props, body = self.channel.basic_get(self.queue)
            if method is None:
                return "none"
            self.tag = method.delivery_tag
            return body.decode()
        elif word == "depth":
            return str(self.counting.queue_declare(self.queue, passive=True).method.message_count)
        elif word == "ack":
            self.channel.basic_ack(self.tag)
        elif word == "requeue":
            self.channel.basic_nack(self.tag, requeue=True)
        else:
            calls = {"select": "tx_select", "commit": "tx_commit", "rollback": "tx_rollback", "confirm": "confirm_delivery"}
            getattr(self.channel, calls[word])() if word in calls else self.reopen()


def transact(command):
    channel = Channel(command["topic"])
    seen = [channel.step(step) for step in command["steps"]]
    channel.connection.close()
    return {"seen": seen}


class Consumer(threading.Thread):
    """One connection with one consumer; the connection belongs to this thread."""

    def __init__(self, command):
        super().__init__(daemon=True)
        self.name_ = command["consumer"]
        self.queue = command["topic"]
        self.prefetch = command.get("prefetch", 10)
        self.arguments = {"x-priority": command["priority"]} if command.get("priority") else None
        self.judge = Judge(command)
        self.started = threading.Event()
        self.failure = None

    def run(self):
        try:
            self.connection = connection()
            self.channel = self.connection.channel()
            self.channel.basic_qos(prefetch_count=self.prefetch)
            self.channel.basic_consume(self.queue, self.arrived, arguments=self.arguments)
            self.started.set()
            self.channel.start_consuming()
            self.connection.close()
        except Exception as error:  # told to whoever waits for the start, and as an event
            self.failure = error
            self.started.set()
            amqp_message.consumer_error(self.name_, error)

    def arrived(self, channel, method, props, body):
        outcome = self.judge.arrived(
            topic=method.routing_key, body=body, headers=props.headers, message_id=props.message_id, redelivered=method.redelivered,
            receipt=str(method.delivery_tag))
        if outcome == "ack":
            channel.basic_ack(method.delivery_tag)
        elif outcome == "fail":
            time.sleep(BACKOFF_S)
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
    amqp_message.check_consume(command)
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


if __name__ == "__main__":
    lines.serve({
        "hello": lambda _: {"sdk": "pika", "version": importlib.metadata.version("pika")}, "connect": connect, "create_topic": create_topic,
        "send": send, "route": route, "transact": transact, "consume": consume, "settle": settle, "stop": stop, "load": start_load, "stop_load": stop_load, "drain": drain,
        "reset": reset, "offsets": amqp_message.no_offsets, "seek_time": amqp_message.no_offsets,
    })
    sys.exit(0)
