"""What an application does with pika, told line by line. The line "cut me" asks for the connection to be cut; the journey goes on afterwards."""

import sys
import time

import pika
from pika.exceptions import AMQPConnectionError, AMQPError, ChannelClosedByBroker, NackError, UnroutableError

PARAMETERS = pika.URLParameters(sys.argv[1])
PERSISTENT = pika.BasicProperties(delivery_mode=2)


def say(*words):
    print(*words, flush=True)


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def until(ask, good, seconds=20):
    """Asks again until the answer is good."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if good(answer):
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"still {answer!r}")
        time.sleep(0.02)


def get(channel, queue):
    """Waits for a message and takes it."""
    method, properties, body = until(lambda: channel.basic_get(queue, auto_ack=True), lambda got: got[0] is not None)
    return method, properties, body.decode()


def confirms(channel):
    channel.queue_declare("journey", durable=True)
    channel.confirm_delivery()
    for i in range(100):
        channel.basic_publish("", "journey", b"%d" % i, PERSISTENT)
    say("confirmed", ready(channel, "journey"))


def returns(channel):
    try:
        channel.basic_publish("", "nobody.home", b"", mandatory=True)
    except UnroutableError as e:
        say("returned", e.messages[0].method.reply_code, e.messages[0].method.reply_text, e.messages[0].method.routing_key)


def prefetch(connection):
    channel = connection.channel()
    got = []
    channel.basic_qos(prefetch_count=5)
    tag = channel.basic_consume("journey", lambda ch, method, properties, body: got.append((method, body)))
    while len(got) < 5:
        connection.process_data_events(1)
    say("prefetch", len(got), "ready", ready(channel, "journey"))
    while len(got) < 100:
        channel.basic_ack(got[-1][0].delivery_tag, multiple=True)
        connection.process_data_events(1)
    channel.basic_ack(0, multiple=True)
    in_order = [body for _, body in got] == [b"%d" % i for i in range(100)]
    channel.basic_cancel(tag)
    say("in order" if in_order else "out of order", "ready", ready(channel, "journey"))
    channel.close()


def redelivery(channel):
    channel.basic_publish("", "journey", b"once more")
    first, _, _ = until(lambda: channel.basic_get("journey"), lambda got: got[0] is not None)
    channel.basic_nack(first.delivery_tag, requeue=True)
    second, _, _ = until(lambda: channel.basic_get("journey"), lambda got: got[0] is not None)
    channel.basic_ack(second.delivery_tag)
    say("redelivered", first.redelivered, second.redelivered)


def exclusive(connection):
    mine = connection.channel().queue_declare("", exclusive=True).method.queue
    other = pika.BlockingConnection(PARAMETERS)
    try:
        other.channel().queue_declare(mine, passive=True)
    except ChannelClosedByBroker as e:
        say("locked", e.reply_code)
    connection.channel().queue_delete(mine)
    other.close()


def refusal(channel):
    channel.queue_declare("journey.small", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.basic_publish("", "journey.small", b"kept")
    try:
        channel.basic_publish("", "journey.small", b"refused")
    except NackError:
        say("nacked")


def death(channel, queue):
    """Takes a dead letter, checks that its headers agree with each other, and tells of its last death."""
    method, properties, body = get(channel, queue)
    last = properties.headers["x-death"][0]
    assert last["time"].timestamp() > time.time() - 600, last
    assert properties.expiration is None, properties
    return f"{body}: {last['reason']} in {last['queue']} from '{last['exchange']}' by {','.join(last['routing-keys'])} {last['count']} times", last


def dead_letters(channel):
    channel.exchange_declare("journey.dlx", "fanout")
    channel.queue_declare("journey.dead")
    channel.queue_bind("journey.dead", "journey.dlx")
    channel.queue_declare("journey.work", arguments={"x-dead-letter-exchange": "journey.dlx", "x-max-length": 2})
    channel.basic_publish("", "journey.work", b"bad")
    method, _, _ = until(lambda: channel.basic_get("journey.work"), lambda got: got[0] is not None)
    channel.basic_reject(method.delivery_tag, requeue=False)
    say("dead", death(channel, "journey.dead")[0])
    channel.basic_publish("", "journey.work", b"late", pika.BasicProperties(expiration="50"))
    text, last = death(channel, "journey.dead")
    say("dead", text, "expiration", last["original-expiration"])
    for body in (b"one", b"two", b"three"):
        channel.basic_publish("", "journey.work", body)
    say("dead", death(channel, "journey.dead")[0])


def retries(channel):
    """A failed message waits in a queue of its own before it comes back: the usual way to try again later."""
    channel.queue_declare("journey.wait", arguments={
        "x-message-ttl": 20, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "journey.try"})
    channel.queue_declare("journey.try", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "journey.wait"})
    channel.basic_publish("", "journey.try", b"flaky")
    for _ in range(3):
        method, _, _ = until(lambda: channel.basic_get("journey.try"), lambda got: got[0] is not None)
        channel.basic_nack(method.delivery_tag, requeue=False)
    _, properties, _ = get(channel, "journey.try")
    say("retried", *[f"{d['queue']} {d['reason']} {d['count']}" for d in properties.headers["x-death"]])


def poison(channel):
    channel.queue_declare("journey.quorum", durable=True, arguments={
        "x-queue-type": "quorum", "x-delivery-limit": 2, "x-dead-letter-exchange": "journey.dlx"})
    channel.queue_purge("journey.dead")
    channel.basic_publish("", "journey.quorum", b"poison")
    counts = []
    for _ in range(3):
        method, properties, _ = until(lambda: channel.basic_get("journey.quorum"), lambda got: got[0] is not None)
        counts.append(str((properties.headers or {}).get("x-delivery-count", 0)))
        channel.basic_nack(method.delivery_tag, requeue=True)
    say("delivery counts", *counts)
    say("dead", death(channel, "journey.dead")[0])


def cut(connection, channel):
    """Loses the connection with 10 of 20 messages acknowledged, and finds the others after coming back."""
    for i in range(20):
        channel.basic_publish("", "journey", b"%d" % i, PERSISTENT)
    for _ in range(10):
        method, _, _ = until(lambda: channel.basic_get("journey"), lambda got: got[0] is not None)
        channel.basic_ack(method.delivery_tag)
    held, _, _ = channel.basic_get("journey")
    ready(channel, "journey")  # the acknowledgements have arrived when this is answered
    say("cut me")
    try:
        while True:
            connection.process_data_events(1)
    except AMQPError:
        pass
    connection = until(connect, lambda c: c is not None)
    channel = connection.channel()
    bodies = [get(channel, "journey") for _ in range(10)]
    say("recovered", *[body for _, _, body in bodies], "redelivered", bodies[0][0].redelivered, "ready", ready(channel, "journey"))
    return connection


def connect():
    try:
        return pika.BlockingConnection(PARAMETERS)
    except AMQPConnectionError:
        return None


def main():
    connection = connect()
    channel = connection.channel()
    confirms(channel)
    returns(channel)
    prefetch(connection)
    redelivery(channel)
    exclusive(connection)
    refusal(channel)
    dead_letters(channel)
    retries(channel)
    poison(channel)
    connection = cut(connection, channel)
    connection.close()
    say("done")


main()
