package grpcapi

import (
	"context"
	"errors"
	"io"

	"portico/core"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// run runs the parts of a stream (its reader, its writer) until one of them fails, all have ended, or ctx does, and returns why.
// It does not wait for parts that still run: they end with the stream, which is over when the handler returns, and
// Serve waits for them.
func (a *Adapter) run(ctx context.Context, parts ...func() error) error {
	ended := make(chan error, len(parts))
	for _, part := range parts {
		a.running.Go(func() { ended <- guard(part) })
	}
	for range parts {
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// source is where a stream's frames come from.
type source[F any] interface {
	Recv() (*F, error)
}

// firstFrame takes the frame that opens a stream; start finds in it what it must be.
func firstFrame[F, S any](from source[F], start func(*F) *S) (*S, error) {
	frame, err := from.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if s := start(frame); s != nil {
		return s, nil
	}
	return nil, badField("start", "the first frame must be start")
}

// readFrames hands frames to take, each when room says that there is room for what it leads to, until the client half-closes (nil).
func readFrames[F any](from source[F], room func() error, take func(*F) error) error {
	for {
		if err := room(); err != nil {
			return err
		}
		frame, err := from.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err == nil:
			err = take(frame)
		}
		if err != nil {
			return err
		}
	}
}

// opened tells the client that what the stream asked for is in place.
func opened(stream grpc.ServerStream) error { return stream.SendHeader(metadata.MD{}) }

// onDrain calls f when the door begins to drain, unless stop is called before.
func (a *Adapter) onDrain(f func()) (stop func() bool) { return context.AfterFunc(a.draining, f) }

// The window of publishes that one stream may have under way.
const (
	windowBytes   = 16 << 20
	windowMessage = 16 << 10 // what a message counts for beside its own weight: 1,024 messages fill a window
)

// window bounds the publishes of one stream that are not yet settled.
type window struct {
	semaphore *semaphore.Weighted
	size      int64
}

func newWindow() *window {
	return &window{semaphore: semaphore.NewWeighted(windowBytes), size: windowBytes}
}

// enter waits for room for m and returns what leave gives back.
func (w *window) enter(ctx context.Context, m *core.Message) (weight int64, err error) {
	weight = min(w.size, int64(weigh(m))+windowMessage)
	if err := w.semaphore.Acquire(ctx, weight); err != nil {
		return 0, context.Cause(ctx)
	}
	return weight, nil
}

func (w *window) leave(weight int64) { w.semaphore.Release(weight) }
