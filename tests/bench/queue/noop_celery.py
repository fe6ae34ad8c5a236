"""Celery's side of peers.py: an app with one task that does nothing, and what sends and awaits it.

    noop_celery.py COUNT     prints JSON: the seconds to send COUNT tasks; after a line on its input, those until all results are there
"""

import json
import os
import sys
import time

from celery import Celery

URL = os.environ.get("NOOP_REDIS", "redis://127.0.0.1:6399/0")
app = Celery("noop_celery", broker=URL, backend=URL)
# A task that a dead worker had is done again, as here: acknowledged only when it is done.
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=64, task_track_started=False)


@app.task(name="nothing")
def nothing():
    return None


def main():
    count = int(sys.argv[1])
    began = time.monotonic()
    sent = [nothing.delay() for _ in range(count)]
    submitted = time.monotonic() - began
    print(json.dumps({"submitted_seconds": submitted}), flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    for one in sent:
        one.get(timeout=300, interval=0.01)
    print(json.dumps({"seconds": time.monotonic() - began, "jobs": count}), flush=True)


if __name__ == "__main__":
    main()
