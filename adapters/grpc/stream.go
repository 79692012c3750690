package grpcapi

import (
	"context"

	"portico/core"

	"golang.org/x/sync/semaphore"
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
