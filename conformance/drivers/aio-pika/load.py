"""A journaled load by aio-pika: so many tasks as the window is wide, each with one unconfirmed persistent message."""
import asyncio

import aio_pika

import lines

END_S_MAX = 20


class Load:
    """Publishes until told to stop or until the connection goes; it does not come back by itself, as the others here do."""

    def __init__(self, endpoint, command):
        self.endpoint = endpoint
        self.topic, self.run_id = command["topic"], command["run"]
        self.bytes, self.window = command["bytes"], command["window"]
        self.journal = lines.Journal(command["journal"])
        self.stopping = False
        self.sent = self.acked = self.failed = 0

    def start(self):
        self.task = asyncio.get_running_loop().create_task(self.run())

    async def end(self):
        self.stopping = True
        await asyncio.wait_for(asyncio.shield(self.task), END_S_MAX)
        return self.counts()

    def counts(self):
        return {"sent": self.sent, "acked": self.acked, "failed": self.failed}

    async def run(self):
        connection = await aio_pika.connect(f"amqp://guest:guest@{self.endpoint}/", timeout=10)
        channel = await connection.channel()
        await asyncio.gather(*(self.publish_all(channel.default_exchange) for _ in range(self.window)))
        if not connection.is_closed:
            await connection.close()
        self.journal.close()
        lines.emit({"event": "load_end", "load": self.counts()})

    async def publish_all(self, exchange):
        while not self.stopping:
            self.sent += 1
            id_ = f"{self.run_id}-{self.sent}"
            body = lines.load_body(id_, self.bytes)
            self.journal.sent(id_, body)
            try:
                await exchange.publish(aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT), self.topic)
            except Exception as error:  # a refusal, or the connection went
                self.failed += 1
                self.journal.failed(id_, error)
                self.stopping = True
                return
            self.acked += 1
            self.journal.acked(id_)
            if self.acked % lines.PROGRESS_EVERY == 0:
                lines.emit({"event": "load_progress", "acked": self.acked})
