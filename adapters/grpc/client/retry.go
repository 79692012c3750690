package client

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// healthy is how long a stream must have lasted for the pauses to begin anew.
const healthy = 5 * time.Second

// keep runs a stream again and again, with pauses, until ctx ends or it fails in a way that another attempt would not change. The error is why, ErrClosed when ctx has ended.
func (c *Client) keep(ctx context.Context, what string, stream func(context.Context) error) error {
	for bound := c.options.firstWait; ; bound = min(2*bound, c.options.longestWait) {
		began := time.Now()
		err := once(ctx, stream)
		switch {
		case ctx.Err() != nil:
			return ErrClosed
		case !passing(err):
			return wrap(ctx, err)
		}
		if time.Since(began) >= healthy {
			bound = c.options.firstWait
		}
		pause := rand.N(bound)
		c.options.log.Warn("a stream is lost, opening it again", "stream", what, "after", pause, "err", err)
		if !sleep(ctx, pause) {
			return ErrClosed
		}
	}
}

// once runs a stream, and takes care that nothing of it is left afterwards.
func once(ctx context.Context, stream func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return stream(ctx)
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// inForce waits until the gateway says that what a stream asked for is in place. The error is why it is not.
func inForce(stream grpc.ClientStream) error {
	header, err := stream.Header()
	if err != nil || header != nil {
		return err
	}
	if err := stream.RecvMsg(&emptypb.Empty{}); err != nil { // nothing but a status has come
		return err
	}
	return status.Error(codes.Internal, "a message came without headers")
}
