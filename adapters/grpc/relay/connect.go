package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"portico/adapters/grpc/relay/tunnel"
	relayv1 "portico/proto/portico/relay/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type stream = grpc.BidiStreamingClient[relayv1.ConnectRequest, relayv1.ConnectResponse]

// connect lends the server to the gateway until ctx ends or the connection does. The error is why.
func (r *relay) connect(ctx context.Context) error {
	alive, cut := context.WithCancel(context.WithoutCancel(ctx)) // calls may go on when ctx ends
	defer cut()
	hello, err := r.server.hello(ctx)
	if err != nil {
		return err
	}
	gateway, err := r.open(ctx, alive, cut, hello)
	if err != nil {
		return err
	}
	far, err := r.server.connect(ctx)
	if err != nil {
		return err
	}
	defer far.Close()
	r.options.Connected()
	t := &connection{stream: gateway, far: far}
	var over sync.WaitGroup
	defer over.Wait() // after cut and Close, which end both
	defer cut()
	defer far.Close()
	failed := make(chan error, 2)
	over.Go(func() { failed <- t.out() })
	over.Go(func() { failed <- t.in() })
	return r.until(ctx, t, failed)
}

// open says what the server serves and waits until the gateway is ready for it.
func (r *relay) open(ctx, alive context.Context, cut context.CancelFunc, what *relayv1.Hello) (stream, error) {
	defer context.AfterFunc(ctx, cut)()
	if r.options.Metadata != nil {
		pairs, err := r.options.Metadata(ctx)
		if err != nil {
			return nil, err
		}
		alive = metadata.NewOutgoingContext(alive, metadata.New(pairs))
	}
	gateway, err := r.client.Connect(alive)
	if err != nil {
		return nil, err
	}
	hello := &relayv1.ConnectRequest{Frame: &relayv1.ConnectRequest_Hello{Hello: what}}
	if err := gateway.Send(hello); err != nil && !errors.Is(err, io.EOF) { // io.EOF: Recv knows why
		return nil, err
	}
	first, err := gateway.Recv()
	switch {
	case err != nil:
		return nil, err
	case first.GetReady() == nil:
		return nil, status.Error(codes.Internal, "the gateway's first frame is not ready")
	}
	return gateway, nil
}

// until waits for the end: of the connection, of the server, or of ctx, after which the calls that have begun go on for a while.
func (r *relay) until(ctx context.Context, t *connection, failed chan error) error {
	select {
	case err := <-failed:
		return err
	case <-r.server.gone():
		return grpc.ErrServerStopped
	case <-ctx.Done():
	}
	if err := t.send(&relayv1.ConnectRequest{Frame: &relayv1.ConnectRequest_Leave{Leave: &relayv1.Leave{}}}); err != nil {
		return err
	}
	enough := time.NewTimer(r.options.DrainTimeout)
	defer enough.Stop()
	select {
	case err := <-failed:
		return err
	case <-enough.C:
		return context.DeadlineExceeded
	}
}

// connection is one tunnel: its far end; the near one is the server's.
type connection struct {
	stream stream
	far    net.Conn

	sending sync.Mutex // the stream takes one frame at a time
}

func (t *connection) send(frame *relayv1.ConnectRequest) error {
	t.sending.Lock()
	defer t.sending.Unlock()
	return t.stream.Send(frame)
}

// out sends the gateway what the server writes.
func (t *connection) out() error {
	return tunnel.Out(t.far, func(chunk []byte) error {
		return t.send(&relayv1.ConnectRequest{Frame: &relayv1.ConnectRequest_Data{Data: chunk}})
	})
}

// in hands the server what the gateway sends, until one of them ends the connection.
func (t *connection) in() error {
	defer t.far.Close()
	for {
		frame, err := t.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if data := frame.GetData(); len(data) > 0 {
			if err := tunnel.In(t.far, data); err != nil {
				return err
			}
		}
	}
}
