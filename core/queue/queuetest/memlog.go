// Package queuetest holds a queue.Log in memory that can be torn, delayed and refused at will, and the contract suite that every queue passes
// whatever its log.
package queuetest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"portico/core/queue"
)

// ErrRefused is what a Disk answers while it refuses.
var ErrRefused = errors.New("refused by the test")

// Disk is what stays of a log when its process dies.
type Disk struct {
	mu      sync.Mutex
	entries []queue.Entry
	last    uint64
	owner   int
	refuse  bool
	reads   int
}

// Refuse makes every append fail until it is called with false.
func (d *Disk) Refuse(refuse bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = refuse
}

// Len returns the number of entries.
func (d *Disk) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.entries)
}

// Reads returns how often the log has been read.
func (d *Disk) Reads() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reads
}

// Corrupt flips a bit in the i-th entry.
func (d *Disk) Corrupt(i int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	data := slices.Clone(d.entries[i].Data)
	data[len(data)/2] ^= 1
	d.entries[i].Data = data
}

// Lose removes the i-th entry behind the queue's back.
func (d *Disk) Lose(i int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = slices.Delete(d.entries, i, i+1)
}

// Open returns a log on the disk and fences all earlier ones.
func (d *Disk) Open() *Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owner++
	l := &Log{disk: d, owner: d.owner, done: make(chan struct{})}
	l.more.L = &l.mu
	go l.answer()
	return l
}

// Log implements queue.Log on a Disk. Appends are answered by a goroutine of its own, in order.
type Log struct {
	disk  *Disk
	owner int
	done  chan struct{}

	mu     sync.Mutex
	more   sync.Cond
	queued []pending
	hold   bool
	torn   bool
	closed bool
}

type pending struct {
	data []byte
	done func(uint64, error)
}

// Append implements queue.Log.
func (l *Log) Append(entry []byte, done func(uint64, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queued = append(l.queued, pending{entry, done})
	l.more.Signal()
}

// Hold keeps appends unanswered (and unwritten) until it is called with false.
func (l *Log) Hold(hold bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = hold
	l.more.Signal()
}

// Tear ends the log as a dying process does: what has not been written never will be, and nothing is answered any more.
func (l *Log) Tear() {
	l.mu.Lock()
	l.torn, l.closed = true, true
	l.more.Signal()
	l.mu.Unlock()
	<-l.done
}

func (l *Log) answer() {
	defer close(l.done)
	for {
		l.mu.Lock()
		for !l.torn && (l.hold || len(l.queued) == 0) && !(l.closed && len(l.queued) == 0) {
			l.more.Wait()
		}
		if l.torn || len(l.queued) == 0 {
			l.mu.Unlock()
			return
		}
		p := l.queued[0]
		l.queued = l.queued[1:]
		l.mu.Unlock()
		p.done(l.write(p.data))
	}
}

func (l *Log) write(data []byte) (uint64, error) {
	d := l.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owner != l.owner {
		return 0, queue.ErrFenced
	}
	if d.refuse {
		return 0, ErrRefused
	}
	d.last++
	d.entries = append(d.entries, queue.Entry{Seq: d.last, Data: slices.Clone(data)})
	return d.last, nil
}

// Read implements queue.Log.
func (l *Log) Read(_ context.Context, from uint64, maxBytes int) ([]queue.Entry, error) {
	d := l.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	var got []queue.Entry
	size := 0
	for _, e := range d.entries {
		if e.Seq < from {
			continue
		}
		if size += len(e.Data); len(got) > 0 && size > maxBytes {
			break
		}
		got = append(got, queue.Entry{Seq: e.Seq, Data: slices.Clone(e.Data)})
	}
	return got, nil
}

// Trim implements queue.Log.
func (l *Log) Trim(below uint64, also []uint64) {
	d := l.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owner != l.owner {
		return
	}
	d.entries = slices.DeleteFunc(d.entries, func(e queue.Entry) bool {
		return e.Seq < below || slices.Contains(also, e.Seq)
	})
}

// Close implements queue.Log.
func (l *Log) Close(drop bool) error {
	l.mu.Lock()
	l.closed = true
	l.more.Signal()
	l.mu.Unlock()
	<-l.done
	if drop {
		l.disk.mu.Lock()
		defer l.disk.mu.Unlock()
		l.disk.entries = nil
	}
	return nil
}
