package grpc

import (
	"context"
	"errors"
	"io"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
)

// bareService does the least that a server can do with the same messages: it answers each publish, and sends without end.
type bareService struct {
	porticov1.UnimplementedPorticoServiceServer
}

// PublishStream answers every message, as an echo does.
func (bareService) PublishStream(stream grpc.BidiStreamingServer[porticov1.PublishStreamRequest, porticov1.PublishStreamResponse]) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&porticov1.PublishStreamResponse{Results: []*porticov1.PublishResult{{Id: req.GetId(), Live: true}}}); err != nil {
			return err
		}
	}
}

// Subscribe sends the same message until the client goes.
func (bareService) Subscribe(req *porticov1.SubscribeRequest, stream grpc.ServerStreamingServer[porticov1.SubscribeResponse]) error {
	resp := &porticov1.SubscribeResponse{Message: &porticov1.Message{Subject: req.GetSubjects()[0], Data: payload()}}
	for {
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}

// bareCalls answers unary calls.
type bareCalls struct {
	testing_pb.UnimplementedTestServiceServer
}

func (bareCalls) UnaryCall(_ context.Context, req *testing_pb.SimpleRequest) (*testing_pb.SimpleResponse, error) {
	return &testing_pb.SimpleResponse{Payload: req.GetPayload()}, nil
}

// payload is that of every message here.
func payload() []byte { return make([]byte, 128) }
