package queue_test

import (
	"testing"
	"testing/synctest"
	"time"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// doubtful appends a record that the log has although its publisher is told that it has not.
func (r *rig) doubtful(record queue.Record) {
	r.Helper()
	r.disk.Doubt(true)
	r.wants("doubtful", r.put(record).once(), queuetest.ErrRefused)
	r.disk.Doubt(false)
}

// TestARefusedRecordIsNotADuplicate: what was refused, is in the log and was passed over is nowhere after a restart: its publisher, who comes again only then, has to be heard.
func TestARefusedRecordIsNotADuplicate(t *testing.T) {
	for name, c := range map[string]struct {
		deaf   bool // trimming fails without a word
		settle bool // what is around it, so that the floor is above it
		record queue.Record
		wait   time.Duration
	}{
		"trimmed":               {record: named(1, "x"), wait: 100 * time.Millisecond},
		"not trimmed":           {record: named(1, "x"), wait: 100 * time.Millisecond, deaf: true},
		"settled around it":     {record: named(1, "x"), wait: time.Second, settle: true},
		"settled, not trimmed":  {record: named(1, "x"), wait: time.Second, settle: true, deaf: true},
		"in parts, not trimmed": {record: named(1, string(make([]byte, 2*queue.PartBytes+1))), wait: time.Second, deaf: true},
	} {
		t.Run(name, func(t *testing.T) {
			synthetic(t, queue.Config{}, func(r *rig) {
				r.disk.Deafen(c.deaf)
				r.kept(named(9, "before"))
				r.doubtful(c.record)
				r.kept(named(2, "after"))
				if c.settle {
					r.noError("settle", r.settle(queue.Ack, r.all().wants("before", "after")...).once())
				}
				pass(c.wait)
				for range 3 { // the doubt outlives more than one restart
					r.crash()
					pass(time.Second)
				}
				r.again(named(9, "before"))
				r.again(named(2, "after"))
				r.kept(c.record)
				r.again(c.record)
				r.crash()
				r.again(c.record)
				got := r.all()
				synctest.Wait()
				want := 3
				if c.settle {
					want = 1
				}
				if len(got.got) != want {
					r.Errorf("%d records are there, want %d", len(got.got), want)
				}
			})
		})
	}
}

// TestARefusedRecordAtTheEnd: while nothing was written behind it a restart brings it back, and then it is a duplicate.
func TestARefusedRecordAtTheEnd(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.kept(named(9, "before"))
		r.doubtful(named(1, "x"))
		r.crash()
		r.again(named(1, "x"))
		r.all().wants("before", "x")
	})
}

// TestDoubtsAreBounded: however often records were refused, none is lost: each can be published again or is there.
func TestDoubtsAreBounded(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.disk.Deafen(true)
		const n = queue.MaxDoubts + 10
		r.kept(queue.Record{Data: []byte("first")})
		for i := range n {
			r.doubtful(named(i+1, "x"))
			r.kept(queue.Record{Data: []byte("between")})
		}
		pass(time.Second)
		if n := r.q.Doubts(); n != queue.MaxDoubts {
			r.Errorf("%d doubts, want %d", n, queue.MaxDoubts)
		}
		r.crash()
		r.stats(n+1, 0)
		for i := range n {
			r.kept(named(i+1, "x"))
		}
		r.stats(2*n+1, 0)
		r.disk.Deafen(false)
		if _, err := r.q.Purge(); err != nil {
			r.Fatal(err)
		}
		pass(window)
		r.kept(queue.Record{Data: []byte("last")})
		r.noError("settle", r.settle(queue.Ack, r.all().wants("last")...).once())
		if x := r.q.Internals(); r.q.Doubts() != 0 || x.IDs != 0 || x.IDGroups != 0 {
			r.Errorf("doubts are left: %+v", x)
		}
	})
}

// TestMalformedDoubts: a journal entry whose doubts are cut off or make no sense is refused.
func TestMalformedDoubts(t *testing.T) {
	good := []byte{2, 8, 2, 5, 0, 3, 1, 0, 0, 1, 0} // runs 5 to 5 and 8 to 9; nothing delivered, floor 1, nothing gone
	for n := range len(good) + 1 {
		q, err := queue.Open(queue.Config{}, queuetest.NewDisk(queue.Entry{Seq: 1, Data: queue.Seal(good[:n])}).OpenInline())
		if err == nil {
			_ = q.Close()
		}
		if (err == nil) != (n == len(good)) {
			t.Errorf("%d of %d octets: %v", n, len(good), err)
		}
	}
	for name, body := range map[string][]byte{
		"none":      {2, 8, 0, 0, 0, 1, 0},
		"backwards": {2, 8, 1, 5, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 1, 0},
		"in stream": good,
	} {
		_, err := queue.Open(queue.Config{Stream: name == "in stream"}, queuetest.NewDisk(queue.Entry{Seq: 1, Data: queue.Seal(body)}).OpenInline())
		if err == nil {
			t.Errorf("%s: it is opened", name)
		}
	}
}
