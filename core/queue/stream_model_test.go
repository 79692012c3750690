package queue_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"portico/core/queue"
)

// streamModel is what a stream must be, as simply as can be: its records by number, and where each reader is.
type streamModel struct {
	*rig
	rnd     *rand.Rand
	records []streamRecord // by number, ascending
	next    uint64         // number of the next record
	first   uint64         // no record below is kept
	id      uint64         // of the last record made
	readers []*modelReader
}

type streamRecord struct {
	number, id uint64
	size       int
	when       time.Time // when it was written, at the earliest
	doubtful   bool      // written, but its publisher was told that it is not: nobody may see it before a restart
}

// data is what is appended for the record.
func (rec *streamRecord) data() []byte {
	b := make([]byte, rec.size)
	binary.BigEndian.PutUint64(b, rec.id)
	for i := 8; i < len(b); i++ {
		b[i] = byte(rec.id) + byte(i)
	}
	return b
}

type modelReader struct {
	*sink
	next   uint64 // number of the record it gets next, or one at most so many before
	upTo   uint64 // and at most
	held   []queue.Delivery
	window int
}

// TestStreamModel applies random operations to a stream and to a slice, over crashes, refused appends, a log that is not trimmed, and a memory that is too small.
func TestStreamModel(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for i := range rounds {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(uint64(i), 6))
			cfg := queue.Config{Stream: true, Resident: []int64{0, 1, 3000, 200_000}[i%4], Observe: func(e queue.Event, n int) {
				if e == queue.EventLost {
					t.Errorf("%d records were lost", n)
				}
			}}
			synthetic(t, cfg, func(r *rig) {
				m := &streamModel{rig: r, rnd: rnd, next: 1, first: 1}
				for range 150 {
					m.step()
				}
				m.reconcile()
			})
		})
	}
}

func (m *streamModel) step() {
	switch n := m.rnd.IntN(100); {
	case n < 40:
		m.write(func(bool) {}, false, false)
	case n < 45:
		m.write(m.disk.Refuse, true, false)
	case n < 50:
		m.write(m.disk.Doubt, false, true)
	case n < 62:
		m.join()
	case n < 80:
		m.acknowledge()
	case n < 84:
		m.leave()
	case n < 90:
		pass(time.Duration(m.rnd.IntN(1500)) * time.Millisecond)
	case n < 93:
		m.limit()
	case n < 95:
		m.disk.Deafen(m.rnd.IntN(2) == 0)
	case n < 97:
		m.restart((*rig).reopen)
	default:
		m.restart((*rig).crash)
	}
	m.check()
}

// write appends a few records while the disk is as trouble sets it; doubt: it writes, and says that it has not.
func (m *streamModel) write(trouble func(bool), refused, doubt bool) {
	trouble(true)
	var kept []*told
	for range 1 + m.rnd.IntN(8) {
		m.id++
		rec := streamRecord{number: m.next, id: m.id, size: 8 + m.rnd.IntN(300), when: time.Now(), doubtful: doubt}
		if m.rnd.IntN(200) == 0 {
			rec.size = queue.PartBytes + m.rnd.IntN(2*queue.PartBytes)
		}
		m.next++
		if !refused {
			m.records = append(m.records, rec)
		}
		kept = append(kept, m.put(queue.Record{Data: rec.data()}))
		if m.rnd.IntN(2) == 0 {
			synctest.Wait() // what follows is another chunk
		}
	}
	synctest.Wait()
	trouble(false)
	for _, k := range kept {
		if err := k.once(); (err != nil) != (refused || doubt) {
			m.Fatalf("append: %v", err)
		}
	}
}

// join adds a reader. Where chunks begin the model does not know, so for some offsets it knows only where the first record may be: from next to upTo.
func (m *streamModel) join() {
	if len(m.readers) >= 6 {
		return
	}
	x := &modelReader{window: 1 + m.rnd.IntN(30)}
	var from queue.Offset
	switch m.rnd.IntN(6) {
	case 0:
		x.next, x.upTo = m.next, m.next
	case 1:
		from = first()
	case 2:
		from, x.upTo = queue.Offset{From: queue.FromLast}, m.last()
	case 3:
		at := m.when(m.rnd.IntN(len(m.records) + 1))
		from, x.next, x.upTo = written(at), m.since(at.Truncate(time.Second)), m.since(at)
	default:
		from = number(m.rnd.Uint64N(m.next + 4))
		x.next, x.upTo = from.Number, from.Number
	}
	x.sink = m.reader(from, x.window)
	m.readers = append(m.readers, x)
}

// when is when record i was written, or now.
func (m *streamModel) when(i int) time.Time {
	if i == len(m.records) {
		return time.Now().Add(time.Millisecond)
	}
	return m.records[i].when
}

// last is the number of the last record that may be had, or of the next one.
func (m *streamModel) last() uint64 {
	for _, rec := range slices.Backward(m.records) {
		if !rec.doubtful && rec.number >= m.first {
			return rec.number
		}
	}
	return m.next
}

// since is the number of the first record that may be had and was written at t or later.
func (m *streamModel) since(t time.Time) uint64 {
	for _, rec := range m.records {
		if !rec.doubtful && rec.number >= m.first && !rec.when.Before(t) {
			return rec.number
		}
	}
	return m.next
}

func (m *streamModel) pick() *modelReader {
	if len(m.readers) == 0 {
		return nil
	}
	return m.readers[m.rnd.IntN(len(m.readers))]
}

// acknowledge settles some of what a reader holds, and one of it twice.
func (m *streamModel) acknowledge() {
	x := m.pick()
	if x == nil || len(x.held) == 0 {
		return
	}
	var hs []queue.Handle
	m.rnd.Shuffle(len(x.held), func(i, j int) { x.held[i], x.held[j] = x.held[j], x.held[i] })
	n := 1 + m.rnd.IntN(len(x.held))
	for _, d := range x.held[:n] {
		hs = append(hs, d.Handle)
	}
	x.held = x.held[n:]
	o := queue.Outcome(m.rnd.IntN(3))
	m.noError("settle", m.settle(o, hs...).once())
	m.wants("settle twice", m.settle(o, hs[0]).once(), queue.ErrStale)
}

func (m *streamModel) leave() {
	if x := m.pick(); x != nil {
		x.Close()
		m.readers = slices.DeleteFunc(m.readers, func(y *modelReader) bool { return y == x })
	}
}

// limit changes the rules.
func (m *streamModel) limit() {
	m.cfg.Rules = queue.Rules{}
	if m.rnd.IntN(2) == 0 {
		m.cfg.MaxBytes = queue.AtMost(m.rnd.Int64N(20_000))
	}
	if m.rnd.IntN(2) == 0 {
		m.cfg.MaxAge = queue.AtMost(1 + m.rnd.Int64N(5000))
	}
	m.noError("govern", m.q.Govern(m.cfg.Rules))
}

func (m *streamModel) restart(how func(*rig)) {
	how(m.rig)
	m.readers = nil
	m.reconcile()
}

// reconcile reads all there is and takes over what the restart has brought back: what was in doubt, and what could not be trimmed.
func (m *streamModel) reconcile() {
	x := &modelReader{sink: m.reader(first(), 1<<30)}
	defer x.Close()
	there := map[uint64]bool{}
	m.next, m.first = 1, 1
	for i, d := range x.took() {
		if i == 0 {
			m.first = d.Seq
		}
		m.same(d)
		there[d.Seq] = true
		m.next = d.Seq + 1
	}
	kept := m.records[:0]
	for _, rec := range m.records {
		switch {
		case there[rec.number]:
			rec.doubtful = false
			kept = append(kept, rec)
		case rec.number < m.first: // it may come back, if it could not be trimmed and the rules change
			kept = append(kept, rec)
		case !rec.doubtful:
			m.Fatalf("record %d is gone, the first is %d", rec.number, m.first)
		}
	}
	m.records = kept
}

// took returns what has come since the last time.
func (x *modelReader) took() []queue.Delivery {
	synctest.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	got := x.got
	x.got = nil
	return got
}

// same checks that a delivery is the record with its number.
func (m *streamModel) same(d queue.Delivery) {
	i, ok := slices.BinarySearchFunc(m.records, d.Seq, func(rec streamRecord, n uint64) int { return cmp.Compare(rec.number, n) })
	if !ok || string(d.Record) != string(m.records[i].data()) {
		m.Fatalf("record %d is not what was appended", d.Seq)
	}
}

// check compares what every reader has got with what it should have.
func (m *streamModel) check() {
	probe := &modelReader{sink: m.reader(first(), 1)}
	before := m.first
	if m.first = m.next; true {
		for _, d := range probe.took() {
			m.first = d.Seq
		}
	}
	probe.Close()
	if m.first < before {
		m.Fatalf("the first record is %d, and was %d", m.first, before)
	}
	for _, x := range m.readers {
		m.checkReader(x)
	}
	ready, size := 0, int64(0)
	for _, rec := range m.records {
		if rec.number >= m.first && !rec.doubtful {
			ready++
			size += int64(rec.size)
		}
	}
	s := m.stats(ready, 0)
	most := m.cfg.Resident
	if most == 0 {
		most = 32 << 20
	}
	if s.Bytes != size || s.Resident > most || s.Resident > size {
		m.Fatalf("%+v, want %d bytes, at most %d in memory", s, size, most)
	}
}

func (m *streamModel) checkReader(x *modelReader) {
	for _, d := range x.took() {
		for _, rec := range m.records {
			if rec.number >= max(x.next, x.upTo) && rec.number < d.Seq && rec.number >= m.first && !rec.doubtful {
				m.Fatalf("a reader got record %d, not record %d", d.Seq, rec.number)
			}
		}
		if d.Seq < x.next {
			m.Fatalf("a reader got record %d, and wants those from %d on", d.Seq, x.next)
		}
		m.same(d)
		x.next, x.upTo = d.Seq+1, d.Seq+1
		x.held = append(x.held, d)
	}
	if len(x.held) > x.window {
		m.Fatalf("a reader holds %d, and may hold %d", len(x.held), x.window)
	}
	for _, rec := range m.records {
		if len(x.held) < x.window && rec.number >= max(x.next, x.upTo, m.first) && !rec.doubtful {
			m.Fatalf("a reader has not got record %d", rec.number)
		}
	}
}
