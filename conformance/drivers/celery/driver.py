"""Drives Celery and kombu by JSON lines; ../README.md says which. `work` and `call` are Celery's, all others kombu's own."""
import concurrent.futures
import importlib.metadata
import queue
import socket
import sys
import threading

import kombu
from kombu.mixins import ConsumerMixin

import amqp_message
import lines
import tasks
from amqp_message import BACKOFF_S, STOP_S_MAX, Judge
from lines import Unsupported
from load import Load
from worker import Worker

CONNECT_S_MAX = 10
ITERATION_S = 0.05
CALL_S_MAX = 60
DRAIN_PREFETCH = 500
RETRY_POLICY = {"max_retries": 5, "interval_start": 0.1, "interval_step": 0.3}

endpoint = None
producer = None
consumers = {}
workers = {}
# Celery has a queue of results for each thread, and in one process reads that of the first only.
calling = concurrent.futures.ThreadPoolExecutor(1)
load = None


def connection(confirm=True):
    options = {"confirm_publish": confirm}
    return kombu.Connection(f"amqp://guest:guest@{endpoint}//", connect_timeout=CONNECT_S_MAX, transport_options=options)


def durable_queue(name):
    return kombu.Queue(name, kombu.Exchange(""), routing_key=name, durable=True)


def connect(command):
    global endpoint
    endpoint = command["amqp"]
    tasks.app.conf.broker_url = f"amqp://guest:guest@{endpoint}//"


def create_topic(command):
    amqp_message.check_topic(command)
    with connection() as opened:
        durable_queue(command["topic"]).bind(opened.default_channel).declare()


def publish(sender, topic, message, mandatory):
    properties = {"message_id": message["key"]} if "key" in message else {}
    sender.publish(
        lines.body_of(message), routing_key=topic, headers=amqp_message.headers_of(message), delivery_mode=2, mandatory=mandatory,
        content_type="application/octet-stream", content_encoding="binary", retry=True, retry_policy=RETRY_POLICY, **properties)


def send(command):
    global producer
    amqp_message.check_messages(command)
    if command["mode"] == "sync":
        if producer is None:
            producer = connection().Producer()
        for message in command["messages"]:
            publish(producer, command["topic"], message, True)
        return {"receipts": [{} for _ in command["messages"]]}
    if command["mode"] == "oneway":
        with connection(confirm=False) as opened:
            for message in command["messages"]:
                publish(opened.Producer(), command["topic"], message, False)
        return {"receipts": []}
    raise Unsupported(f"kombu has no {command['mode']} publish")


class Consumer(ConsumerMixin):
    """One connection with one consumer, in a thread of its own, where settling is done too. It reconnects by itself."""

    def __init__(self, command):
        self.connection = connection()
        self.queue_name = command["topic"]
        self.prefetch = command.get("prefetch", 10)
        self.judge = Judge(command)
        self.held = {}
        self.jobs = queue.Queue()
        self.started = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def work(self):
        try:
            self.run(safety_interval=ITERATION_S)
        except Exception as error:  # an event, since nobody waits for this thread
            amqp_message.consumer_error(self.judge.consumer, error)
        self.connection.release()

    def get_consumers(self, make, _channel):
        return [make([durable_queue(self.queue_name)], on_message=self.arrived, prefetch_count=self.prefetch)]

    def on_consume_ready(self, *_arguments, **_more):
        self.started.set()

    def on_iteration(self):
        while not self.jobs.empty():
            self.jobs.get()()

    def arrived(self, message):
        properties, delivery = message.properties, message.delivery_info
        body = message.body if isinstance(message.body, bytes) else message.body.encode()
        receipt = str(message.delivery_tag)
        outcome = self.judge.arrived(
            topic=delivery["routing_key"], body=body, headers=message.headers, message_id=properties.get("message_id"),
            redelivered=delivery["redelivered"], receipt=receipt)
        if outcome == "ack":
            message.ack()
        elif outcome == "fail":
            threading.Event().wait(BACKOFF_S)
            message.requeue()
        else:
            self.held[receipt] = message

    def settle(self, receipts, outcome):
        done = threading.Event()

        def work():
            for receipt in receipts:
                message = self.held.pop(receipt)
                {"ack": message.ack, "requeue": message.requeue, "reject": message.reject}[outcome]()
            done.set()

        self.jobs.put(work)
        if not done.wait(STOP_S_MAX):
            raise TimeoutError("the consumer's thread did not settle")

    def stop(self):
        self.should_stop = True
        self.thread.join(STOP_S_MAX)
        if self.thread.is_alive():
            raise TimeoutError("the consumer's thread did not stop")


def consume(command):
    amqp_message.check_consume(command)
    consumer = Consumer(command)
    consumer.thread.start()
    if not consumer.started.wait(STOP_S_MAX):
        raise TimeoutError("the consumer did not start")
    consumers[command["consumer"]] = consumer


def settle(command):
    consumers[command["consumer"]].settle(command["receipts"], command["outcome"])


def stop(command):
    members = workers if command["consumer"] in workers else consumers
    members.pop(command["consumer"]).stop()


def work(command):
    worker = Worker(endpoint, command)
    workers[command["consumer"]] = worker
    worker.await_ready()


def call(command):
    return calling.submit(call_in_turn, command).result()


def call_in_turn(command):
    """Has each text told by the task; gives the results back unless `wait` is false."""
    options = {"queue": command["topic"], "countdown": command.get("delay_ms", 0) / 1000 or None}
    given = {"fail_times": command.get("fail_times", 0), "hold_ms": command.get("hold_ms", 0)}
    wait = command.get("wait", True)
    calls = [tasks.tell.apply_async((text,), given, ignore_result=not wait, **options) for text in command["texts"]]
    return {"results": [made.get(timeout=CALL_S_MAX) for made in calls] if wait else []}


def start_load(command):
    global load
    load = Load(connection(), command)
    load.start()


def stop_load(_command):
    return load.end()


def drain(command):
    journal = lines.Journal(command["journal"])
    count = 0

    def arrived(message):
        nonlocal count
        body = message.body if isinstance(message.body, bytes) else message.body.encode()
        journal.received("-", "-", body, 2 if message.delivery_info["redelivered"] else 1)
        message.ack()
        count += 1

    with connection() as opened:
        with opened.Consumer([durable_queue(command["topic"])], on_message=arrived, prefetch_count=DRAIN_PREFETCH):
            try:
                while True:
                    opened.drain_events(timeout=command["idle_ms"] / 1000)
            except socket.timeout:
                pass  # nothing came for so long: that is all
    journal.close()
    return {"count": count}


def reset(_command):
    global producer
    for members in (consumers, workers):
        for name in list(members):
            members.pop(name).stop()
    if producer is not None:
        producer.connection.release()
        producer = None


if __name__ == "__main__":
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("celery", "kombu"))
    lines.serve({
        "hello": lambda _: {"sdk": "Celery and kombu", "version": versions}, "connect": connect, "create_topic": create_topic,
        "send": send, "consume": consume, "settle": settle, "stop": stop, "load": start_load, "stop_load": stop_load, "drain": drain,
        "work": work, "call": call, "reset": reset, "offsets": amqp_message.no_offsets, "seek_time": amqp_message.no_offsets,
    })
    sys.exit(0)
