package grpcproxy

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// service is the interop TestService, as its description has it.
type service struct {
	testing_pb.UnimplementedTestServiceServer
}

func (*service) EmptyCall(context.Context, *testing_pb.Empty) (*testing_pb.Empty, error) {
	return &testing_pb.Empty{}, nil
}

const (
	initial  = "x-grpc-test-echo-initial"
	trailing = "x-grpc-test-echo-trailing-bin"
)

// echo is the metadata that the caller wants back.
func echo(ctx context.Context) (header, trailer metadata.MD) {
	md, _ := metadata.FromIncomingContext(ctx)
	header, trailer = metadata.MD{}, metadata.MD{}
	header.Set(initial, md.Get(initial)...)
	trailer.Set(trailing, md.Get(trailing)...)
	return header, trailer
}

func wanted(s *testing_pb.EchoStatus) error {
	return status.Error(codes.Code(s.GetCode()), s.GetMessage())
}

func body(size int32) *testing_pb.Payload { return &testing_pb.Payload{Body: make([]byte, size)} }

func (*service) UnaryCall(ctx context.Context, in *testing_pb.SimpleRequest) (*testing_pb.SimpleResponse, error) {
	header, trailer := echo(ctx)
	if err := errors.Join(grpc.SetHeader(ctx, header), grpc.SetTrailer(ctx, trailer)); err != nil {
		return nil, err
	}
	if err := wanted(in.GetResponseStatus()); err != nil {
		return nil, err
	}
	return &testing_pb.SimpleResponse{Payload: body(in.GetResponseSize())}, nil
}

func (*service) StreamingOutputCall(in *testing_pb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[testing_pb.StreamingOutputCallResponse]) error {
	return respond(stream.Context(), in, stream.Send)
}

// respond sends the responses that a request asks for.
func respond(ctx context.Context, in *testing_pb.StreamingOutputCallRequest, send func(*testing_pb.StreamingOutputCallResponse) error) error {
	for _, p := range in.GetResponseParameters() {
		if wait := time.Duration(p.GetIntervalUs()) * time.Microsecond; wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := send(&testing_pb.StreamingOutputCallResponse{Payload: body(p.GetSize())}); err != nil {
			return err
		}
	}
	return nil
}

func (*service) StreamingInputCall(stream grpc.ClientStreamingServer[testing_pb.StreamingInputCallRequest, testing_pb.StreamingInputCallResponse]) error {
	sum := 0
	for {
		in, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return stream.SendAndClose(&testing_pb.StreamingInputCallResponse{AggregatedPayloadSize: int32(sum)})
		case err != nil:
			return err
		}
		sum += len(in.GetPayload().GetBody())
	}
}

func (*service) FullDuplexCall(stream grpc.BidiStreamingServer[testing_pb.StreamingOutputCallRequest, testing_pb.StreamingOutputCallResponse]) error {
	header, trailer := echo(stream.Context())
	if err := stream.SetHeader(header); err != nil {
		return err
	}
	stream.SetTrailer(trailer)
	for {
		in, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := wanted(in.GetResponseStatus()); err != nil {
			return err
		}
		if err := respond(stream.Context(), in, stream.Send); err != nil {
			return err
		}
	}
}
