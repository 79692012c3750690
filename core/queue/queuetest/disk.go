package queuetest

import (
	"errors"
	"slices"
	"sync"

	"portico/core/queue"
)

// ErrRefused is what a Disk answers while it refuses.
var ErrRefused = errors.New("refused by the test")

// Disk is what stays of a log when its process dies. Its zero value is empty. All methods may be called from any goroutine.
type Disk struct {
	mu       sync.Mutex
	entries  []queue.Entry
	last     uint64
	owner    int
	refuse   bool
	doubt    bool
	deaf     bool
	unread   bool
	readable chan struct{} // closed when reads are held no more; nil: they are not
	reads    int
	appends  int
}

// NewDisk returns a disk with these entries.
func NewDisk(entries ...queue.Entry) *Disk {
	d := &Disk{entries: entries}
	if n := len(entries); n > 0 {
		d.last = entries[n-1].Seq
	}
	return d
}

// Refuse makes every append fail until it is called with false.
func (d *Disk) Refuse(refuse bool) { d.set(&d.refuse, refuse) }

// Doubt makes every append be written and yet answered with an error, until it is called with false.
func (d *Disk) Doubt(doubt bool) { d.set(&d.doubt, doubt) }

// Deafen makes Trim do nothing, until it is called with false.
func (d *Disk) Deafen(deaf bool) { d.set(&d.deaf, deaf) }

// RefuseReads makes every read fail, until it is called with false.
func (d *Disk) RefuseReads(refuse bool) { d.set(&d.unread, refuse) }

func (d *Disk) set(flag *bool, value bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*flag = value
}

// HoldReads makes reads wait until it is called with false, or their context ends.
func (d *Disk) HoldReads(hold bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case hold && d.readable == nil:
		d.readable = make(chan struct{})
	case !hold && d.readable != nil:
		close(d.readable)
		d.readable = nil
	}
}

// Len returns the number of entries.
func (d *Disk) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.entries)
}

// Entries returns the entries; their data is shared.
func (d *Disk) Entries() []queue.Entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.entries)
}

// Reads returns how often the log has been read.
func (d *Disk) Reads() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reads
}

// Appends returns how many entries have been written, trimmed ones included.
func (d *Disk) Appends() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.appends
}

// Corrupt flips a bit in the i-th entry.
func (d *Disk) Corrupt(i int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	data := slices.Clone(d.entries[i].Data)
	data[len(data)/2] ^= 1
	d.entries[i].Data = data
}

// Replace puts other data into the i-th entry.
func (d *Disk) Replace(i int, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries[i].Data = slices.Clone(data)
}

// Lose removes the i-th entry behind the queue's back.
func (d *Disk) Lose(i int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = slices.Delete(d.entries, i, i+1)
}

// Open returns a log on the disk and fences all earlier ones.
func (d *Disk) Open() *Log {
	l := d.open()
	go l.answer()
	return l
}

// OpenInline is Open for a log that answers within Append: it costs as little as a log can. Hold, Tear and Abandon have no effect on it.
func (d *Disk) OpenInline() *Log {
	l := d.open()
	l.inline = true
	close(l.done)
	return l
}

func (d *Disk) open() *Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owner++
	l := &Log{disk: d, owner: d.owner, done: make(chan struct{})}
	l.more.L = &l.mu
	return l
}

// Fence makes the disk somebody else's: the logs opened so far are refused.
func (d *Disk) Fence() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owner++
}

// write appends an entry for an owner.
func (d *Disk) write(owner int, data []byte) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.owner != owner:
		return 0, queue.ErrFenced
	case d.refuse:
		return 0, ErrRefused
	}
	d.last++
	d.appends++
	d.entries = append(d.entries, queue.Entry{Seq: d.last, Data: slices.Clone(data)})
	if d.doubt {
		return 0, ErrRefused
	}
	return d.last, nil
}

// read returns what Log.Read does, or a channel to wait for.
func (d *Disk) read(from uint64, maxBytes int) (got []queue.Entry, wait chan struct{}, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	switch {
	case d.readable != nil:
		return nil, d.readable, nil
	case d.unread:
		return nil, nil, ErrRefused
	}
	size := 0
	for _, e := range d.entries[d.index(from):] {
		if size += len(e.Data); len(got) > 0 && size > maxBytes {
			break
		}
		got = append(got, queue.Entry{Seq: e.Seq, Data: slices.Clone(e.Data)})
	}
	return got, nil, nil
}

// index returns where the first entry from seq on is. mu is held.
func (d *Disk) index(seq uint64) int {
	i, _ := slices.BinarySearchFunc(d.entries, seq, func(e queue.Entry, seq uint64) int {
		if e.Seq < seq {
			return -1
		}
		return 1
	})
	return i
}

func (d *Disk) trim(owner int, below uint64, also []uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owner != owner || d.deaf {
		return
	}
	d.entries = slices.Delete(d.entries, 0, d.index(below))
	if len(also) == 0 {
		return
	}
	drop := make(map[uint64]bool, len(also))
	for _, seq := range also {
		drop[seq] = true
	}
	d.entries = slices.DeleteFunc(d.entries, func(e queue.Entry) bool { return drop[e.Seq] })
}

func (d *Disk) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = nil
}
