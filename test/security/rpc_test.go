package security

import (
	"context"
	"encoding/base64"
	"testing"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type rpcVisitor struct {
	conn   *grpc.ClientConn
	client porticov1.PorticoServiceClient
	ctx    context.Context
}

func visitGRPC(t *testing.T, s *site, w shown) (visitor, error) {
	security := insecure.NewCredentials()
	if w.tls != nil {
		security = credentials.NewTLS(w.tls)
	}
	conn, err := grpc.NewClient(s.at["gRPC"], grpc.WithTransportCredentials(security))
	if err != nil {
		return nil, err
	}
	v := &rpcVisitor{conn: conn, client: porticov1.NewPorticoServiceClient(conn), ctx: within(t)}
	t.Cleanup(v.close)
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready && state != connectivity.TransientFailure; state = conn.GetState() {
		if !conn.WaitForStateChange(v.ctx, state) {
			return nil, v.ctx.Err()
		}
	}
	switch {
	case w.token != "":
		v.ctx = metadata.AppendToOutgoingContext(v.ctx, "authorization", "Bearer "+w.token)
	case !w.nothing():
		v.ctx = metadata.AppendToOutgoingContext(v.ctx, "authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(w.user+":"+w.password)))
	}
	return v, nil
}

// coded is the code of an error that the server gave.
func coded(err error) error {
	if err == nil {
		return nil
	}
	name, there := map[codes.Code]string{
		codes.Unauthenticated: "UNAUTHENTICATED", codes.PermissionDenied: "PERMISSION_DENIED", codes.NotFound: "NOT_FOUND", codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
	}[status.Code(err)]
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Reason == "no-responders" {
			name, there = "UNAVAILABLE no-responders", true
		}
	}
	if !there {
		return err
	}
	return refusal(name)
}

func (v *rpcVisitor) publish() error {
	_, err := v.client.Publish(v.ctx, &porticov1.PublishRequest{Message: &porticov1.Message{Subject: subjectIn}})
	return coded(err)
}

func (v *rpcVisitor) subscribe() error {
	ctx, cancel := context.WithCancel(v.ctx)
	defer cancel()
	stream, err := v.client.Subscribe(ctx, &porticov1.SubscribeRequest{Subjects: []string{subjectOut}})
	if err != nil {
		return coded(err)
	}
	if head, err := stream.Header(); err != nil || head == nil {
		_, err = stream.Recv()
		return coded(err)
	}
	return nil
}

func (v *rpcVisitor) request() error {
	_, err := v.client.Request(v.ctx, &porticov1.RequestRequest{Message: &porticov1.Message{Subject: subjectAsk}})
	return coded(err)
}

func (v *rpcVisitor) consume() error {
	ctx, cancel := context.WithCancel(v.ctx)
	defer cancel()
	stream, err := v.client.Consume(ctx)
	if err != nil {
		return coded(err)
	}
	start := &porticov1.ConsumeStart{Queue: queueThere, Credit: 1}
	if err := stream.Send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Start{Start: start}}); err != nil {
		_, err = stream.Recv()
		return coded(err)
	}
	if head, err := stream.Header(); err != nil || head == nil {
		_, err = stream.Recv()
		return coded(err)
	}
	return nil
}

func (v *rpcVisitor) declare() error {
	_, err := v.client.DeclareQueue(v.ctx, &porticov1.DeclareQueueRequest{Queue: &porticov1.Queue{Name: queueNew, Durable: true}})
	return coded(err)
}

func (v *rpcVisitor) admin() error { return errNotThere }
func (v *rpcVisitor) close()       { v.conn.Close() }
