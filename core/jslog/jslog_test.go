package jslog_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"portico/core/jslog"
	"portico/core/queue"
)

func TestEntriesAreReadAsTheyWereAppended(t *testing.T) {
	for name, sync := range map[string]bool{"synced": true, "written": false} {
		t.Run(name, func(t *testing.T) {
			b := startBus(t, t.TempDir(), nil)
			l := open(t, b.store(t, jslog.Options{Sync: sync}), "a queue/with.odd > name\xff")
			if got, err := l.Read(t.Context(), 1, 100); len(got) != 0 || err != nil {
				t.Fatalf("an empty log has %v, %v", got, err)
			}
			want := append(numbered(500), []byte{}, bytes.Repeat([]byte{0, '\r', '\n'}, 1000))
			mustAppend(t, l, 1, want...)
			got, _ := readAll(t, l, 1<<20)
			if len(got) != len(want) {
				t.Fatalf("%d entries of %d", len(got), len(want))
			}
			for i, e := range got {
				if e.Seq != uint64(i+1) || !bytes.Equal(e.Data, want[i]) {
					t.Fatalf("entry %d is %d %q", i, e.Seq, e.Data)
				}
			}
			if got, err := l.Read(t.Context(), 400, 1); err != nil || len(got) != 1 || got[0].Seq != 400 {
				t.Fatalf("a read of one byte got %v, %v", got, err)
			}
		})
	}
}

func TestReadsGoOnWhereABatchWasFull(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	l := open(t, b.store(t, jslog.Options{}), "q")
	big := bytes.Repeat([]byte("x"), 1<<20)
	for i := range uint64(12) {
		big[0] = byte(i)
		mustAppend(t, l, i+1, big)
	}
	got, reads := readAll(t, l, 1<<30) // more than one read may ask for
	if len(got) != 12 || reads < 3 {
		t.Fatalf("%d entries in %d reads", len(got), reads)
	}
	for i, e := range got {
		if len(e.Data) != 1<<20 || e.Data[0] != byte(i) {
			t.Fatalf("entry %d: %d bytes of %d", i, len(e.Data), e.Data[0])
		}
	}
	if got, reads = readAll(t, l, 1500<<10); len(got) != 12 || reads != 6 {
		t.Fatalf("%d entries in %d reads", len(got), reads)
	}
}

func TestManySmallEntriesTakeSeveralReads(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	l := open(t, b.store(t, jslog.Options{}), "q")
	for i := range uint64(10) {
		mustAppend(t, l, i*500+1, numbered(500)...)
	}
	if got, reads := readAll(t, l, 1<<30); len(got) != 5000 || reads != 2 {
		t.Fatalf("%d entries in %d reads", len(got), reads)
	}
}

func TestTrimRemovesBelowAndNamed(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	l := open(t, b.store(t, jslog.Options{}), "q")
	mustAppend(t, l, 1, numbered(100)...)
	l.Trim(0, nil)
	l.Trim(1, nil)
	l.Trim(11, []uint64{5, 12, 98, 99, 100, 101, 5000})
	eventually(t, "trimmed", func() bool { got, _ := readAll(t, l, 1<<20); return len(got) == 86 })
	got, _ := readAll(t, l, 1<<20)
	if want := append([]uint64{11}, seqRange(13, 97)...); !slices.Equal(seqs(got), want) {
		t.Fatalf("left are %v", seqs(got))
	}
	// Coalesced, overlapping, and beyond the end: the end does not move.
	for i := range uint64(50) {
		l.Trim(i+11, seqRange(13, 40))
	}
	l.Trim(1<<40, []uint64{50})
	eventually(t, "empty", func() bool { got, _ := readAll(t, l, 1<<20); return len(got) == 0 })
	mustAppend(t, l, 101, []byte("next"))
	if got, _ := readAll(t, l, 1<<20); !slices.Equal(seqs(got), []uint64{101}) {
		t.Fatalf("left are %v", seqs(got))
	}
}

func seqRange(from, to uint64) (s []uint64) {
	for n := from; n <= to; n++ {
		s = append(s, n)
	}
	return s
}

func TestTrimManySequenceNumbersOfManyLogs(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	s := b.store(t, jslog.Options{})
	var logs []queue.Log
	for i := range 20 {
		l := open(t, s, fmt.Sprint(i))
		mustAppend(t, l, 1, numbered(200)...)
		logs = append(logs, l)
	}
	for _, l := range logs {
		l.Trim(1, seqRange(2, 199))
	}
	for _, l := range logs {
		eventually(t, "trimmed", func() bool { got, _ := readAll(t, l, 1<<20); return slices.Equal(seqs(got), []uint64{1, 200}) })
	}
}

func TestCloseTrimsFirst(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	s := b.store(t, jslog.Options{})
	l := open(t, s, "q")
	mustAppend(t, l, 1, numbered(500)...)
	l.Trim(11, seqRange(20, 400))
	if err := l.Close(false); err != nil {
		t.Fatal(err)
	}
	if got, _ := readAll(t, open(t, s, "q"), 1<<20); len(got) != 109 {
		t.Fatalf("%d are left", len(got))
	}
}

func TestALogGoesOnAfterCloseAndReopen(t *testing.T) {
	dir := t.TempDir()
	b := startBus(t, dir, nil)
	s := b.store(t, jslog.Options{Sync: true})
	l := open(t, s, "q")
	mustAppend(t, l, 1, numbered(10)...)
	if err := l.Close(false); err != nil {
		t.Fatal(err)
	}
	if r := appendAll(t, l, []byte("late"))[0]; !errors.Is(r.err, queue.ErrClosed) {
		t.Fatalf("append to a closed log: %v", r.err)
	}
	l = open(t, s, "q")
	mustAppend(t, l, 11, numbered(10)...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r := appendAll(t, l, []byte("late"))[0]; !errors.Is(r.err, queue.ErrClosed) {
		t.Fatalf("append to a closed store: %v", r.err)
	}
	if _, err := s.Open(t.Context(), "q", nil); !errors.Is(err, queue.ErrClosed) {
		t.Fatalf("open in a closed store: %v", err)
	}
	if err := s.Sync(t.Context()); !errors.Is(err, queue.ErrClosed) {
		t.Fatalf("sync of a closed store: %v", err)
	}
	b.stop()
	l = open(t, startBus(t, dir, nil).store(t, jslog.Options{Sync: true}), "q")
	if got, _ := readAll(t, l, 50); len(got) != 20 {
		t.Fatalf("%d entries", len(got))
	}
	mustAppend(t, l, 21, []byte("on"))
}

func TestCloseAnswersWhatIsUnderWay(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	l := open(t, b.store(t, jslog.Options{Sync: true}), "q")
	var mu sync.Mutex
	told := 0
	for _, e := range numbered(300) {
		l.Append(e, func(_ uint64, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				told++
			}
		})
	}
	if err := l.Close(false); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if told != 300 {
		t.Fatalf("%d were kept of 300", told)
	}
}

func TestNamesAndDrop(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	s := b.store(t, jslog.Options{})
	js, err := jetstream.New(b.connect(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "Q_other", Subjects: []string{"other"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"", "a b", "a%20b", "ü.*>", "\xff\x00"}
	logs := map[string]queue.Log{}
	for _, n := range want {
		logs[n] = open(t, s, n)
		mustAppend(t, logs[n], 1, []byte(n))
	}
	names, err := s.Names(t.Context())
	if slices.Sort(names); err != nil || !slices.Equal(names, want) {
		t.Fatalf("names are %q, %v", names, err)
	}
	if err := logs["a b"].Close(true); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(t.Context(), "a%20b"); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(t.Context(), "never there"); err != nil {
		t.Fatal(err)
	}
	names, err = s.Names(t.Context())
	if slices.Sort(names); err != nil || !slices.Equal(names, []string{"", "ü.*>", "\xff\x00"}) {
		t.Fatalf("names are %q, %v", names, err)
	}
	if r := appendAll(t, logs["a%20b"], []byte("gone"))[0]; !errors.Is(r.err, jslog.ErrUnavailable) {
		t.Fatalf("append without a stream: %v", r.err)
	}
	mustAppend(t, open(t, s, "a b"), 1, []byte("new"))
}

func TestNamesOfMoreThanAPage(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	s := b.store(t, jslog.Options{})
	for i := range 600 {
		open(t, s, fmt.Sprint(i))
	}
	if names, err := s.Names(t.Context()); err != nil || len(names) != 600 {
		t.Fatalf("%d names, %v", len(names), err)
	}
}

func TestAQueueRunsOnIt(t *testing.T) {
	dir := t.TempDir()
	b := startBus(t, dir, nil)
	q, err := queue.Open(queue.Config{Name: "q"}, open(t, b.store(t, jslog.Options{Sync: true}), "q"))
	if err != nil {
		t.Fatal(err)
	}
	const records = 5000
	kept := make(chan error, records)
	for i := range records {
		q.AppendFunc(queue.Record{Data: fmt.Appendf(nil, "record %d", i)}, func(err error) { kept <- err })
	}
	q.AppendFunc(queue.Record{Data: make([]byte, 3<<20)}, func(err error) { kept <- err }) // in parts
	for range records + 1 {
		if err := <-kept; err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		if d, ok, err := q.Get(true, nil); err != nil || !ok || string(d.Record) != fmt.Sprintf("record %d", i) {
			t.Fatalf("got %q, %v, %v", d.Record, ok, err)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	b.stop()
	q, err = queue.Open(queue.Config{Name: "q"}, open(t, startBus(t, dir, nil).store(t, jslog.Options{Sync: true}), "q"))
	if err != nil {
		t.Fatal(err)
	}
	if st, err := q.Stats(); err != nil || st.Ready != records-100+1 {
		t.Fatalf("after a restart %+v, %v", st, err)
	}
	if _, err := q.Delete(false, false); err != nil {
		t.Fatal(err)
	}
}
