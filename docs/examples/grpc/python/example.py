"""Portico over gRPC from Python: publish and subscribe, request and reply, work from a queue.

The stubs are generated from proto/portico/v1/portico.proto; the README beside tells how.
"""
import queue
import sys
import threading

import grpc
from google.protobuf.duration_pb2 import Duration
from portico.v1 import portico_pb2 as pb
from portico.v1 import portico_pb2_grpc as rpc

WAIT = 30  # seconds, for everything


def publish_and_subscribe(portico):
    messages = portico.Subscribe(pb.SubscribeRequest(subjects=["python.greetings.*"]), timeout=WAIT)
    messages.initial_metadata()  # it is in force when these have come
    receipt = portico.Publish(pb.PublishRequest(message=pb.Message(subject="python.greetings.you", data=b"hello")), timeout=WAIT)
    print("published, somebody listens:", str(receipt.live).lower())
    message = next(messages).message
    print(f"received {message.data.decode()} on {message.subject}")
    messages.cancel()


class Frames:
    """What a stream says to the gateway, one frame after the other until it is closed."""

    def __init__(self, first):
        self.frames = queue.Queue(maxsize=64)
        self.frames.put(first)

    def say(self, frame):
        self.frames.put(frame)

    def close(self):
        self.frames.put(None)

    def __iter__(self):
        return iter(self.frames.get, None)


def serve(portico, ready):
    frames = Frames(pb.ServeRequest(start=pb.ServeStart(subject="python.double", group="doublers")))
    calls = portico.Serve(iter(frames), timeout=WAIT)
    calls.initial_metadata()
    ready.set()
    for response in calls:
        if response.HasField("call"):
            answer = pb.Message(data=response.call.message.data * 2)
            frames.say(pb.ServeRequest(answer=pb.ServeAnswer(id=response.call.id, message=answer)))
            frames.close()  # this one answers once


def request_and_serve(portico):
    ready = threading.Event()
    server = threading.Thread(target=serve, args=(portico, ready), daemon=True)
    server.start()
    if not ready.wait(WAIT):
        raise TimeoutError("the service does not begin")
    answer = portico.Request(pb.RequestRequest(message=pb.Message(subject="python.double", data=b"ab")), timeout=WAIT)
    print("answered", answer.message.data.decode())
    server.join(WAIT)


def work(portico):
    portico.DeclareQueue(pb.DeclareQueueRequest(queue=pb.Queue(name="python.jobs", durable=True)), timeout=WAIT)
    portico.Bind(pb.BindRequest(queue="python.jobs", pattern="python.jobs.*"), timeout=WAIT)
    for job in (b"one", b"two", b"three"):
        portico.Publish(pb.PublishRequest(message=pb.Message(subject="python.jobs.new", data=job)), timeout=WAIT)
    frames = Frames(pb.ConsumeRequest(start=pb.ConsumeStart(queue="python.jobs", credit=2, lease=Duration(seconds=60))))
    working, settled = {}, 0
    for response in portico.Consume(iter(frames), timeout=WAIT):
        for delivery in response.deliveries.deliveries:
            working[delivery.id] = delivery.message.data.decode()
            frames.say(pb.ConsumeRequest(ack=pb.ConsumeAck(ids=[delivery.id])))
        for delivery_id in response.settled.ids:
            print("done", working.pop(delivery_id))
            settled += 1
        if settled == 3:
            frames.close()


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
    with grpc.insecure_channel(address) as channel:
        portico = rpc.PorticoServiceStub(channel)
        publish_and_subscribe(portico)
        request_and_serve(portico)
        work(portico)


if __name__ == "__main__":
    main()
