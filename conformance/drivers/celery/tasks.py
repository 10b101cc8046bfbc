"""A Celery application of one task, as a worker and its callers import it. The task tells by an event line what it was given.

Remote control, gossip, mingling and the expiry of results are as Celery has them: their queues have the arguments x-expires and
x-message-ttl.
"""
import base64
import json
import os
import time

import celery

RETRY_S = 0.2

app = celery.Celery("tasks", broker=os.environ.get("CONFORMANCE_BROKER"), backend="rpc://")
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_redirect_stdouts=False,
)


@app.task(bind=True, name="conformance.tell", max_retries=None)
def tell(self, text, fail_times=0, hold_ms=0):
    """Fails so many times and is retried; then holds its message for a while, and gives the text back in capitals."""
    failing = self.request.retries < fail_times
    message = {
        "body": base64.b64encode(text.encode()).decode(), "attempt": self.request.retries + 1,
        "redelivered": bool(self.request.delivery_info.get("redelivered")), "outcome": "fail" if failing else "ack",
    }
    line = {"event": "message", "consumer": os.environ["CONFORMANCE_CONSUMER"], "message": message}
    os.write(1, (json.dumps(line) + "\n").encode())
    if failing:
        raise self.retry(countdown=RETRY_S)
    time.sleep(hold_ms / 1000)
    return text.upper()
