package client

import (
	"context"
	"errors"
	"iter"
	"sync"

	"golang.org/x/sync/semaphore"
)

// flow is what a stream has brought and nobody has taken yet. Whoever brings waits while it is full.
type flow[T any] struct {
	// immutable
	items  chan item[T]
	room   *semaphore.Weighted // bytes
	most   int64               // of room
	cancel context.CancelFunc
	ended  chan struct{} // closed when nothing more comes; err says why

	err error // valid when ended is closed
}

// item is a value, or an error in its place.
type item[T any] struct {
	value  T
	err    error
	weight int64
}

// open starts the stream of a flow: keep(run) in a goroutine, until the caller's ctx ends (if it is to), stop is called, or the client is closed. It waits until the stream is in force, and returns why it cannot be.
func open[T any](ctx context.Context, c *Client, what string, f *flow[T], ready *signal, run func(context.Context) error) error {
	alive, cancel := context.WithCancel(c.ctx)
	f.cancel = cancel
	started := c.run(func() {
		defer cancel()
		f.err = c.keep(alive, what, run)
		close(f.ended)
	})
	if !started {
		cancel()
		return ErrClosed
	}
	select {
	case <-ready.done:
		return nil
	case <-f.ended:
		return f.err
	case <-ctx.Done():
		cancel()
		<-f.ended
		return context.Cause(ctx)
	}
}

// signal is something that happens once.
type signal struct {
	once sync.Once
	done chan struct{}
}

func newSignal() *signal { return &signal{done: make(chan struct{})} }

func (s *signal) now() { s.once.Do(func() { close(s.done) }) }

func (s *signal) happened() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func newFlow[T any](messages int, bytes int64) *flow[T] {
	return &flow[T]{items: make(chan item[T], messages), room: semaphore.NewWeighted(bytes), most: bytes, ended: make(chan struct{})}
}

// put brings a value of a size in bytes, and waits for room.
func (f *flow[T]) put(ctx context.Context, value T, size int) error {
	return f.add(ctx, item[T]{value: value, weight: min(int64(size), f.most)})
}

// tell brings an error in the place of a value. The stream goes on.
func (f *flow[T]) tell(ctx context.Context, err error) error { return f.add(ctx, item[T]{err: err}) }

func (f *flow[T]) add(ctx context.Context, it item[T]) error {
	if err := f.room.Acquire(ctx, it.weight); err != nil {
		return err
	}
	select {
	case f.items <- it:
		return nil
	case <-ctx.Done():
		f.room.Release(it.weight)
		return ctx.Err()
	}
}

// next waits for a value. What has come before the end is given before the end is told.
func (f *flow[T]) next(ctx context.Context) (value T, err error) {
	select {
	case it := <-f.items:
		return f.take(it)
	default:
	}
	select {
	case it := <-f.items:
		return f.take(it)
	case <-ctx.Done():
		return value, context.Cause(ctx)
	case <-f.ended:
	}
	select {
	case it := <-f.items:
		return f.take(it)
	default:
		return value, f.err
	}
}

func (f *flow[T]) take(it item[T]) (T, error) {
	f.room.Release(it.weight)
	return it.value, it.err
}

// all gives one after the other until the flow has ended or ctx ends, which is told as the last error but for ErrClosed. Errors that are told in a value's place do not end it: lasting tells which.
func (f *flow[T]) all(ctx context.Context, lasting func(error) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			value, err := f.next(ctx)
			if errors.Is(err, ErrClosed) {
				return
			}
			if !yield(value, err) || (err != nil && !lasting(err)) {
				return
			}
		}
	}
}

func never(error) bool { return false }

func gaps(err error) bool {
	gap := (*GapError)(nil)
	return errors.As(err, &gap)
}

// stop ends the stream and returns when it has ended. What has come can still be taken. The error is why it had ended already, if it had.
func (f *flow[T]) stop() error {
	f.cancel()
	<-f.ended
	if errors.Is(f.err, ErrClosed) {
		return nil
	}
	return f.err
}

// offer is put that does not wait. When there is no room, what lapsed says is of no use to anybody makes room. Only one goroutine may bring.
func (f *flow[T]) offer(value T, lapsed func(T) bool) bool {
	it := item[T]{value: value}
	for {
		select {
		case f.items <- it:
			return true
		default:
		}
		select {
		case old := <-f.items:
			if lapsed(old.value) {
				continue
			}
			return false // it would be lost: nobody may bring more than fits
		default: // somebody has just taken one
		}
	}
}
