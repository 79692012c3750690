package queue_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

var errRefused = queuetest.ErrRefused

// TestStreamMaxBytes: whole chunks go from the front, but never the last one; those who had not come so far go on with the first that is kept.
func TestStreamMaxBytes(t *testing.T) {
	stream(t, queue.Rules{MaxBytes: queue.AtMost(4)}, func(r *rig) {
		slow := r.reader(first(), 1)
		fast := r.reader(first(), 10)
		r.chunk("a", "b")
		r.chunk("c", "d")
		r.holds("1=a 2=b 3=c 4=d")
		r.chunk("e")
		r.holds("3=c 4=d 5=e")
		fast.reads("1=a 2=b 3=c 4=d 5=e")
		hs := slow.reads("1=a")
		r.q.Settle(queue.Requeue, hs, nil)
		slow.reads("3=c")
		s := r.stats(3, 0)
		if s.Bytes != 3 || r.disk.Len() != 2 {
			r.Errorf("%d bytes in %d entries", s.Bytes, r.disk.Len())
		}
		r.chunk(strings.Repeat("x", 100))
		r.holds("6=xxxxxxxxxx")
		r.crash()
		r.holds("6=xxxxxxxxxx")
		r.chunk("g")
		r.holds("7=g")
		fast = r.reader(number(3), 10)
		fast.reads("7=g")
	})
}

// TestStreamRetentionWaits: what is on its way drops nothing, nor does what is refused.
func TestStreamRetentionWaits(t *testing.T) {
	stream(t, queue.Rules{MaxBytes: queue.AtMost(2)}, func(r *rig) {
		r.chunk("a", "b")
		kept := r.pending("c")
		pass(time.Second)
		r.holds("1=a 2=b")
		r.disk.Refuse(true)
		r.log.Hold(false)
		r.wants("append", kept[0].once(), errRefused)
		r.disk.Refuse(false)
		r.holds("1=a 2=b")
		r.chunk("d")
		r.holds("4=d")
	})
}

// TestStreamMaxAge: a chunk goes when its time is over, without anybody doing anything, and the last one stays.
func TestStreamMaxAge(t *testing.T) {
	stream(t, queue.Rules{MaxAge: queue.AtMost(10_000)}, func(r *rig) {
		r.dozen() // written after 0, 1 and 2 s; it is 3 s now
		pass(7*time.Second - time.Millisecond)
		r.stats(6, 0)
		pass(time.Millisecond)
		r.stats(4, 0)
		r.holds("3=c 4=d 5=e 6=f")
		pass(time.Second)
		r.holds("5=e 6=f")
		pass(time.Hour)
		r.holds("5=e 6=f")
		if n := r.disk.Len(); n != 1 {
			r.Errorf("%d entries", n)
		}
		r.chunk("g")
		r.holds("7=g")
	})
}

// TestStreamMaxAgeOverRestart: chunks keep their time; what has become too old meanwhile is gone at once.
func TestStreamMaxAgeOverRestart(t *testing.T) {
	stream(t, queue.Rules{}, func(r *rig) {
		second := r.dozen()
		r.reopen()
		r.reader(written(second), 10).reads("3=c 4=d 5=e 6=f")
		pass(3 * time.Second)
		r.cfg.MaxAge = queue.AtMost(5500)
		r.crash()
		r.holds("3=c 4=d 5=e 6=f")
		pass(time.Second)
		r.holds("5=e 6=f")
	})
}

// TestStreamGovern: rules hold for what is there already.
func TestStreamGovern(t *testing.T) {
	stream(t, queue.Rules{}, func(r *rig) {
		r.dozen()
		r.noError("govern", r.q.Govern(queue.Rules{MaxBytes: queue.AtMost(4)}))
		r.holds("3=c 4=d 5=e 6=f")
		r.noError("govern", r.q.Govern(queue.Rules{MaxAge: queue.AtMost(2500)}))
		r.holds("3=c 4=d 5=e 6=f")
		pass(500 * time.Millisecond)
		r.holds("5=e 6=f")
		r.noError("govern", r.q.Govern(queue.Rules{}))
		r.chunk("g")
		pass(time.Hour)
		r.holds("5=e 6=f 7=g")
	})
}

// TestStreamNumbersSurvive: after trimming and a restart, in good order or not, every record has the number that it had.
func TestStreamNumbersSurvive(t *testing.T) {
	for name, restart := range map[string]func(r *rig){"close": (*rig).reopen, "crash": (*rig).crash} {
		t.Run(name, func(t *testing.T) {
			stream(t, queue.Rules{MaxBytes: queue.AtMost(5)}, func(r *rig) {
				r.chunk("a", "b", "c")
				r.chunk("d", "e")
				r.chunk("f")
				for range 3 {
					restart(r)
					r.holds("4=d 5=e 6=f")
					r.stats(3, 0)
				}
				r.chunk("g", "h")
				restart(r)
				r.holds("4=d 5=e 6=f 7=g 8=h")
				r.disk.Deafen(true) // the log keeps what it was told to drop
				r.chunk("i")
				r.holds("6=f 7=g 8=h 9=i")
				restart(r)
				r.holds("6=f 7=g 8=h 9=i")
			})
		})
	}
}

// TestStreamKeepsOnlyItsLog: a stream writes nothing but its records, whatever is settled.
func TestStreamKeepsOnlyItsLog(t *testing.T) {
	stream(t, queue.Rules{}, func(r *rig) {
		c := r.reader(first(), 10)
		r.chunk("a", "b")
		r.noError("settle", r.settle(queue.Ack, c.reads("1=a 2=b")...).once())
		pass(time.Minute)
		r.reopen()
		if n := r.disk.Appends(); n != 1 {
			r.Errorf("%d entries have been written, want 1", n)
		}
	})
}

// TestStreamLargeRecords: they are kept in parts; one that was never finished is not there, and its number is free.
func TestStreamLargeRecords(t *testing.T) {
	large := strings.Repeat("large", queue.PartBytes/4)
	stream(t, queue.Rules{}, func(r *rig) {
		r.chunk("a")
		r.chunk(large)
		r.chunk("b")
		r.holds("1=a 2=largelarge 3=b")
		kept := r.pending(large)
		r.log.Release(1)
		pass(0)
		kept[0].not()
		r.crash()
		r.holds("1=a 2=largelarge 3=b")
		r.chunk(large)
		r.chunk("c")
		r.reopen()
		r.holds("1=a 2=largelarge 3=b 4=largelarge 5=c")
		c := r.reader(number(4), 1)
		pass(0)
		if len(c.got) != 1 || string(c.got[0].Record) != large {
			r.Error("the large record is not what it was")
		}
	})
}

// TestStreamCorrupt: entries that a stream does not write, or numbers that are given twice, keep it from being opened.
func TestStreamCorrupt(t *testing.T) {
	ok := []byte{2, 4, 5, 1, 1, 9, 'a'}
	for name, c := range map[string]struct {
		entries [][]byte
		stream  bool
		want    error
	}{
		"good":                        {[][]byte{ok, {2, 4, 6, 1, 1, 9, 'b'}}, true, nil},
		"a gap":                       {[][]byte{ok, {2, 4, 60, 1, 1, 9, 'b'}}, true, nil},
		"a chunk of nothing":          {[][]byte{ok, {2, 4, 5, 1, 0}}, true, nil},
		"a chunk of what is not here": {[][]byte{{2, 4, 5, 1, 2, 0, 0}}, true, nil},
		"a number twice":              {[][]byte{ok, ok}, true, queue.ErrCorrupt},
		"number 0":                    {[][]byte{{2, 4, 0, 1, 1, 9, 'b'}}, true, queue.ErrCorrupt},
		"a number out of bounds":      {[][]byte{{2, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 1, 9, 'b'}}, true, queue.ErrCorrupt},
		"no head":                     {[][]byte{{2, 4}}, true, queue.ErrCorrupt},
		"records of a queue":          {[][]byte{{2, 1, 1, 9, 'a'}}, true, queue.ErrCorrupt},
		"a part of a queue":           {[][]byte{{2, 2, 0, 1, 1, 'p'}}, true, queue.ErrCorrupt},
		"a journal":                   {[][]byte{{2, 3, 0, 0, 0, 0}}, true, queue.ErrCorrupt},
		"records in a queue":          {[][]byte{ok}, false, queue.ErrCorrupt},
		"a part in a queue":           {[][]byte{{2, 5, 5, 1, 0, 1, 1, 'p'}}, false, queue.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			var entries []queue.Entry
			for i, e := range c.entries {
				entries = append(entries, queue.Entry{Seq: uint64(i + 1), Data: queue.Seal(e)})
			}
			q, err := queue.Open(queue.Config{Stream: c.stream}, queuetest.NewDisk(entries...).OpenInline())
			r := &rig{T: t}
			r.wants("open", err, c.want)
			if err == nil {
				r.noError("close", q.Close())
			}
		})
	}
}

// streamExamples checks the examples of streams' entries in docs/queue-log.md.
func (r *rig) streamExamples(examples map[string]string) {
	r.Helper()
	x := &rig{T: r.T, cfg: queue.Config{Stream: true}, disk: &queuetest.Disk{}}
	x.open()
	x.chunk("first")
	x.chunk("a", "b")
	x.chunk(strings.Repeat("x", queue.PartBytes) + "slice")
	entries := x.disk.Entries()
	r.example(examples, "stream", entries[1].Data)
	r.example(examples, "stream part", entries[3].Data)
}

// FuzzStreamEntry: whatever is in an entry, a stream reads or refuses it, when it recovers as well as when it reads back, and counts rightly.
func FuzzStreamEntry(f *testing.F) {
	for _, data := range [][]byte{
		{}, {2, 4}, {2, 4, 5, 1, 1, 9, 'a'}, {2, 4, 2, 1, 2, 9, 'a', 9, 'b'}, {2, 4, 2, 1, 2, 0, 9, 'b'}, {2, 4, 2, 1, 1, 0}, {2, 4, 2, 1, 0}, {2, 4, 2, 1, 3, 1, 1, 1},
		{2, 5, 2, 1, 0, 1, 1, 'p'}, {2, 5, 2, 1, 0, 2, 1, 'p'}, {2, 5, 2, 1, 1, 2, 1, 'p'}, {2, 4, 0, 1, 1, 9, 'b'}, {2, 1, 1, 9, 'a'},
	} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sealed := queue.Seal(data)
		good := func(n byte) []byte { return queue.Seal([]byte{2, 4, n, 1, 1, 9, 'a' + n}) }
		if q, err := queue.Open(queue.Config{Stream: true}, queuetest.NewDisk(
			queue.Entry{Seq: 3, Data: good(1)}, queue.Entry{Seq: 4, Data: sealed}).OpenInline()); err == nil {
			readAll(t, q)
		}
		disk := queuetest.NewDisk(queue.Entry{Seq: 1, Data: good(1)}, queue.Entry{Seq: 2, Data: good(2)}, queue.Entry{Seq: 3, Data: good(3)})
		q, err := queue.Open(queue.Config{Stream: true, Resident: 1}, disk.OpenInline())
		if err != nil {
			t.Fatal(err)
		}
		disk.Replace(1, sealed)
		readAll(t, q)
	})
}

// readAll reads q from its first record on, and checks that it ends where the counters say.
func readAll(t *testing.T, q *queue.Queue) {
	defer q.Close()
	got := make(chan queue.Delivery, 1<<16)
	c, err := q.Consume(queue.ConsumerConfig{Offset: first(), Credit: queue.Unlimited, Deliver: func(ds []queue.Delivery) {
		for _, d := range ds {
			got <- d
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	n, size := 0, int64(0)
	end := time.Now().Add(10 * time.Second)
	for last := uint64(0); ; {
		if s, err := q.Stats(); err != nil {
			t.Fatal(err)
		} else if time.Now().After(end) {
			t.Fatalf("%d records have been read, %d are there", n, s.Ready)
		} else if n == s.Ready {
			if s.Bytes != size {
				t.Fatalf("%d bytes, want %d", s.Bytes, size)
			}
			break
		}
		select {
		case d := <-got:
			if d.Seq <= last {
				t.Fatalf("record %d after %d", d.Seq, last)
			}
			last = d.Seq
			n++
			size += int64(len(d.Record))
		case <-time.After(time.Millisecond): // something is being read back, and perhaps lost
		}
	}
	c.Close()
}

// TestStreamRecordsAreWhole: what is read back is octet for octet what was appended.
func TestStreamRecordsAreWhole(t *testing.T) {
	stream(t, queue.Rules{}, func(r *rig) {
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		r.kept(queue.Record{Data: all})
		r.kept(queue.Record{})
		r.cfg.Resident = 1
		r.reopen()
		c := r.reader(first(), 10)
		pass(0)
		if len(c.got) != 2 || !bytes.Equal(c.got[0].Record, all) || len(c.got[1].Record) != 0 {
			r.Errorf("read %v", c.got)
		}
	})
}
