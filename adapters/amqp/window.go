package amqp

import "sync/atomic"

// Bounds on what a connection has published and not yet heard of. Above them its socket is not read.
const (
	windowCount = 8192
	windowBytes = 16 << 20
)

// window counts a connection's publishes that are not settled.
type window struct {
	// immutable
	freed chan struct{} // capacity 1: half the window is free again, or all of it when the reader waits for that

	// atomic
	count   atomic.Int64
	bytes   atomic.Int64
	waiting atomic.Int32 // what the reader waits for
}

// What a reader may wait for.
const (
	waitsNot int32 = iota
	waitsHalf
	waitsEmpty
)

func newWindow() *window { return &window{freed: make(chan struct{}, 1)} }

func (w *window) take(bytes int64) {
	w.count.Add(1)
	w.bytes.Add(bytes)
}

func (w *window) give(count, bytes int64) {
	w.bytes.Add(-bytes)
	w.count.Add(-count)
	if what := w.waiting.Load(); what != waitsNot && w.satisfies(what) && w.waiting.CompareAndSwap(what, waitsNot) {
		select {
		case w.freed <- struct{}{}:
		default:
		}
	}
}

func (w *window) full() bool {
	return w.count.Load() >= windowCount || w.bytes.Load() >= windowBytes
}

func (w *window) satisfies(what int32) bool {
	count, bytes := w.count.Load(), w.bytes.Load()
	if what == waitsEmpty {
		return count == 0
	}
	return count <= windowCount/2 && bytes <= windowBytes/2
}

// expect announces that the reader waits for what; false: it need not.
func (w *window) expect(what int32) bool {
	select {
	case <-w.freed:
	default:
	}
	w.waiting.Store(what)
	if w.satisfies(what) {
		w.waiting.Store(waitsNot)
		return false
	}
	return true
}
