"""The tasks of the worker, which is told the broker in BROKER."""

import os
import time

from celery import Celery

app = Celery("tasks", broker=os.environ["BROKER"], backend="rpc://")
app.conf.update(
    task_acks_late=True,  # a task is acknowledged when it is done, so that it outlives its worker
    worker_prefetch_multiplier=1,
    broker_connection_retry=True,
    broker_transport_options={"confirm_publish": True},
    task_send_sent_event=True,
)


@app.task
def add(x, y):
    return x + y


@app.task(bind=True, max_retries=5)
def flaky(self, failures):
    if self.request.retries < failures:
        raise self.retry(countdown=0.1)
    return self.request.retries


@app.task(bind=True)
def stuck(self, started):
    """Tells who runs it in a file and does not end, the first time; the second time it says whether it knows of the first."""
    if os.path.exists(started):
        return self.request.delivery_info["redelivered"]
    with open(started, "w") as f:
        f.write(str(os.getpid()))
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.05)
    os._exit(1)


@app.task
def when():
    return time.time()
