"""Gives work to a worker and tells line by line what came of it. "start a worker" and "kill the worker" ask for just that."""

import os
import sys
import tempfile
import time

import tasks

PATIENCE = 30


def say(*words):
    print(*words, flush=True)


def until(ask):
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)


def many():
    results = [tasks.add.delay(i, i) for i in range(200)]
    say("added", sum(r.get(timeout=PATIENCE) for r in results))


def retries():
    say("retried", tasks.flaky.delay(3).get(timeout=PATIENCE))


def eta():
    began = time.time()
    ran = tasks.when.apply_async(countdown=1).get(timeout=PATIENCE)
    say("waited" if 0.9 <= ran - began < 5 else f"ran after {ran - began} s")


def overtake():
    """The worker takes tasks that are not due out of its prefetch, so that they do not keep others from it."""
    due = time.time() + 3
    later = [tasks.when.apply_async(countdown=3) for _ in range(20)]
    now = [tasks.when.delay() for _ in range(5)]
    overtaken = max(r.get(timeout=PATIENCE) for r in now) < due
    kept = min(r.get(timeout=PATIENCE) for r in later) >= due - 0.1
    say("overtook" if overtaken else "was held up", "kept" if kept else "was early")


def control():
    """Questions to all workers and their answers go over queues of their own."""
    say("workers", len(until(tasks.app.control.ping)))
    queues = next(iter(tasks.app.control.inspect().active_queues().values()))
    say("consumes", *[q["name"] for q in queues])


def killed():
    started = os.path.join(tempfile.mkdtemp(), "started")
    result = tasks.stuck.delay(started)
    until(lambda: os.path.exists(started))
    say("kill the worker")
    say("run again, redelivered", result.get(timeout=PATIENCE))


say("start a worker")
many()
retries()
eta()
overtake()
control()
killed()
say("done")
