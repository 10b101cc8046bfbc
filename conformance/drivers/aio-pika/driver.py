"""Drives aio-pika by JSON lines; ../README.md says which. Commands are carried out here, the journaled load in load.py.

Connections are robust ones, which come back by themselves. All of them live on one event loop in a thread of its own.
"""
import asyncio
import importlib.metadata
import sys
import threading

import aio_pika

import amqp_message
import lines
from amqp_message import BACKOFF_S, Judge
from lines import Unsupported
from load import Load

RECONNECT_S = 0.3
PUBLISH_S_MAX = 10
DRAIN_PREFETCH = 500

loop = asyncio.new_event_loop()
endpoint = None
producer = None
consumers = {}
load = None


def on_loop(coroutine_function):
    """A command of lines.py that runs on the loop."""
    return lambda command: asyncio.run_coroutine_threadsafe(coroutine_function(command), loop).result()


def connection():
    return aio_pika.connect_robust(f"amqp://guest:guest@{endpoint}/", timeout=10, reconnect_interval=RECONNECT_S)


async def connect(command):
    global endpoint
    endpoint = command["amqp"]


class Producer:
    """One connection with a channel that confirms and one that does not."""

    async def open(self):
        self.connection = await connection()
        self.confirming = await self.connection.channel()
        self.plain = await self.connection.channel(publisher_confirms=False)
        return self

    async def publish(self, channel, topic, message, mandatory):
        wanted = aio_pika.Message(
            lines.body_of(message), headers=amqp_message.headers_of(message), message_id=message.get("key"),
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(wanted, routing_key=topic, mandatory=mandatory, timeout=PUBLISH_S_MAX)


async def producing():
    global producer
    if producer is None:
        producer = await Producer().open()
    return producer


async def create_topic(command):
    amqp_message.check_topic(command)
    await (await producing()).confirming.declare_queue(command["topic"], durable=True)


async def send(command):
    amqp_message.check_messages(command)
    mode, topic, messages = command["mode"], command["topic"], command["messages"]
    sender = await producing()
    if mode == "sync":
        for message in messages:
            await sender.publish(sender.confirming, topic, message, True)
    elif mode == "async":
        await asyncio.gather(*(sender.publish(sender.confirming, topic, message, True) for message in messages))
    elif mode == "oneway":
        for message in messages:
            await sender.publish(sender.plain, topic, message, False)
        return {"receipts": []}
    else:
        raise Unsupported(f"AMQP has no {mode} publish")
    return {"receipts": [{} for _ in messages]}


class Consumer:
    """One connection with one consumer."""

    def __init__(self, command):
        self.queue_name = command["topic"]
        self.prefetch = command.get("prefetch", 10)
        self.judge = Judge(command)
        self.held = {}

    async def start(self):
        self.connection = await connection()
        self.channel = await self.connection.channel()
        await self.channel.set_qos(prefetch_count=self.prefetch)
        self.queue = await self.channel.get_queue(self.queue_name)
        self.tag = await self.queue.consume(self.arrived)

    async def arrived(self, message):
        receipt = str(message.delivery_tag)
        outcome = self.judge.arrived(
            topic=message.routing_key, body=message.body, headers=message.headers, message_id=message.message_id,
            redelivered=message.redelivered, receipt=receipt)
        if outcome == "ack":
            await message.ack()
        elif outcome == "fail":
            await asyncio.sleep(BACKOFF_S)
            await message.nack(requeue=True)
        else:
            self.held[receipt] = message

    async def settle(self, receipts, outcome):
        for receipt in receipts:
            message = self.held.pop(receipt)
            if outcome == "ack":
                await message.ack()
            else:
                await message.nack(requeue=outcome == "requeue")

    async def stop(self):
        await self.queue.cancel(self.tag)
        await self.connection.close()


async def consume(command):
    amqp_message.check_consume(command)
    consumer = Consumer(command)
    await consumer.start()
    consumers[command["consumer"]] = consumer


async def settle(command):
    await consumers[command["consumer"]].settle(command["receipts"], command["outcome"])


async def stop(command):
    await consumers.pop(command["consumer"]).stop()


async def start_load(command):
    global load
    load = Load(endpoint, command)
    load.start()


async def stop_load(_command):
    return await load.end()


async def drain(command):
    journal = lines.Journal(command["journal"])
    opened = await connection()
    channel = await opened.channel()
    await channel.set_qos(prefetch_count=DRAIN_PREFETCH)
    queue = await channel.get_queue(command["topic"])
    count = 0
    try:
        async with queue.iterator(timeout=command["idle_ms"] / 1000) as messages:
            async for message in messages:
                journal.received("-", "-", message.body, 2 if message.redelivered else 1)
                await message.ack()
                count += 1
    except asyncio.TimeoutError:
        pass  # nothing came for so long: that is all
    await opened.close()
    journal.close()
    return {"count": count}


async def reset(_command):
    global producer
    for name in list(consumers):
        await consumers.pop(name).stop()
    if producer is not None:
        await producer.connection.close()
        producer = None


if __name__ == "__main__":
    threading.Thread(target=loop.run_forever, daemon=True).start()
    commands = {
        "connect": connect, "create_topic": create_topic, "send": send, "consume": consume, "settle": settle, "stop": stop,
        "load": start_load, "stop_load": stop_load, "drain": drain, "reset": reset,
    }
    lines.serve({
        "hello": lambda _: {"sdk": "aio-pika", "version": importlib.metadata.version("aio-pika")},
        "offsets": amqp_message.no_offsets, "seek_time": amqp_message.no_offsets,
        **{name: on_loop(command) for name, command in commands.items()},
    })
    sys.exit(0)
