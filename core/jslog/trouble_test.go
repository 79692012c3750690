package jslog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"portico/core/jslog"
	"portico/core/queue"
)

func TestTheLaterOwnerFencesTheEarlier(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	first := open(t, b.store(t, jslog.Options{Sync: true}), "q")
	mustAppend(t, first, 1, numbered(10)...)
	second := open(t, b.store(t, jslog.Options{Sync: true}), "q")
	mustAppend(t, second, 11, []byte("mine now"))
	for range 2 { // of those that leave together, one expects the very number that the other's entry has
		for _, r := range appendAll(t, first, numbered(20)...) {
			if !errors.Is(r.err, queue.ErrFenced) {
				t.Fatalf("append of a fenced owner: %d, %v", r.seq, r.err)
			}
		}
	}
	first.Trim(12, []uint64{11})
	mustAppend(t, second, 12, []byte("still mine"))
	if got, _ := readAll(t, second, 1<<20); len(got) != 12 {
		t.Fatalf("%d entries", len(got))
	}
	if err := first.Close(false); err != nil {
		t.Fatal(err)
	}
}

// failures collects what a store reports.
type failures struct {
	mu   sync.Mutex
	errs []error
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = append(f.errs, err)
}

func (f *failures) has(want error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.errs, func(err error) bool { return errors.Is(err, want) })
}

func TestRefusedForSpaceAndGoesOnWhenThereIsSome(t *testing.T) {
	b := startBus(t, t.TempDir(), func(o *server.Options) { o.JetStreamMaxStore = 1 << 20 })
	var told failures
	s := b.store(t, jslog.Options{Sync: true, Failed: told.add})
	l := open(t, s, "q")
	entries := make([][]byte, 40)
	for i := range entries {
		entries[i] = bytes.Repeat([]byte{byte(i)}, 50<<10)
	}
	results := appendAll(t, l, entries...)
	kept := slices.IndexFunc(results, func(r result) bool { return r.err != nil })
	if kept < 5 {
		t.Fatalf("%d entries of 50 KiB in 1 MiB", kept)
	}
	for _, r := range results[kept:] {
		if !errors.Is(r.err, jslog.ErrNoSpace) {
			t.Fatalf("append to a full store: %d, %v", r.seq, r.err)
		}
	}
	if err := s.Probe(t.Context()); err == nil {
		t.Fatal("a full store says it is writable")
	}
	eventually(t, "reported", func() bool { return told.has(jslog.ErrNoSpace) })
	l.Trim(uint64(kept), nil)
	eventually(t, "writable", func() bool { return s.Probe(t.Context()) == nil })
	mustAppend(t, l, uint64(kept)+1, entries[0], entries[1])
}

func TestAStreamWithALimitRefusesInOrder(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	l := open(t, b.store(t, jslog.Options{}), "q")
	js, err := jetstream.New(b.connect(t))
	if err != nil {
		t.Fatal(err)
	}
	for info := range js.ListStreams(t.Context()).Info() {
		info.Config.MaxBytes, info.Config.Discard = 100<<10, jetstream.DiscardNew
		if _, err := js.UpdateStream(t.Context(), info.Config); err != nil {
			t.Fatal(err)
		}
	}
	small, large := make([]byte, 10<<10), make([]byte, 200<<10)
	results := appendAll(t, l, small, large, small, small)
	if results[0].err != nil || !errors.Is(results[1].err, jslog.ErrNoSpace) {
		t.Fatalf("told %v", results)
	}
	// Those that were under way behind the refused one did not fit, and are not there.
	kept := uint64(1)
	for _, r := range results[2:] {
		if r.err == nil {
			kept++
		}
	}
	mustAppend(t, l, kept+1, small)
}

func TestTooLargeAndTooManyAreRefusedInTheirTurn(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	l := open(t, b.store(t, jslog.Options{MaxEntry: 100, Sync: true}), "q")
	results := appendAll(t, l, make([]byte, 100), make([]byte, 101), make([]byte, 99))
	if results[0].seq != 1 || !errors.Is(results[1].err, jslog.ErrTooLarge) || results[2].seq != 2 {
		t.Fatalf("told %v", results)
	}
	b.conn(0).mu.Lock() // no answers
	time.AfterFunc(300*time.Millisecond, b.conn(0).mu.Unlock)
	results = appendAll(t, l, numbered(1100)...)
	for i, r := range results {
		if i < 1024 && r.seq != uint64(i+3) || i >= 1024 && !errors.Is(r.err, jslog.ErrBusy) {
			t.Fatalf("append %d: %d, %v", i, r.seq, r.err)
		}
	}
}

func TestLateAnswersAreIgnoredAndTheLogGoesOn(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	var told failures
	l := open(t, b.store(t, jslog.Options{Sync: true, AckTimeout: 200 * time.Millisecond, Failed: told.add}), "q")
	mustAppend(t, l, 1, numbered(5)...)
	b.conn(0).mu.Lock()
	for _, r := range appendAll(t, l, numbered(5)...) {
		if !errors.Is(r.err, jslog.ErrUnavailable) {
			t.Fatalf("append without answer: %d, %v", r.seq, r.err)
		}
	}
	if r := appendAll(t, l, []byte("relearn times out"))[0]; !errors.Is(r.err, jslog.ErrUnavailable) {
		t.Fatalf("append without answer: %d, %v", r.seq, r.err)
	}
	b.conn(0).mu.Unlock()
	eventually(t, "reported", func() bool { return told.has(jslog.ErrUnavailable) })
	mustAppend(t, l, 11, numbered(5)...) // the five were written after all
	if got, _ := readAll(t, l, 1<<20); len(got) != 15 {
		t.Fatalf("%d entries", len(got))
	}
}

func TestABrokenConnectionFailsWhatIsUnderWay(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	l := open(t, b.store(t, jslog.Options{AckTimeout: 5 * time.Second}), "q")
	mustAppend(t, l, 1, numbered(5)...)
	g := b.conn(0)
	g.mu.Lock()
	results := make(chan result, 1)
	l.Append([]byte("lost?"), func(seq uint64, err error) { results <- result{0, seq, err} })
	g.Close()
	g.mu.Unlock()
	if r := <-results; !errors.Is(r.err, jslog.ErrUnavailable) && r.seq != 6 {
		t.Fatalf("append over a broken connection: %d, %v", r.seq, r.err)
	}
	eventually(t, "connected again", func() bool { return b.connCount() == 3 })
	eventually(t, "going on", func() bool { return appendAll(t, l, []byte("on"))[0].err == nil })
	got, _ := readAll(t, l, 1<<20)
	if last := string(got[len(got)-1].Data); last != "on" {
		t.Fatalf("the last entry is %q", last)
	}
}

func TestAnotherOwnerIsNoticedAfterAFailure(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	s := b.store(t, jslog.Options{AckTimeout: 200 * time.Millisecond})
	l := open(t, s, "q")
	mustAppend(t, l, 1, numbered(5)...)
	b.conn(0).mu.Lock()
	appendAll(t, l, []byte("unanswered"))
	other := open(t, b.store(t, jslog.Options{}), "q")
	mustAppend(t, other, 7, []byte("theirs"))
	b.conn(0).mu.Unlock()
	// The log would learn that it ends at 7, and go on behind it, did it not look whose that is.
	eventually(t, "fenced", func() bool { return errors.Is(appendAll(t, l, []byte("mine"))[0].err, queue.ErrFenced) })
	mustAppend(t, other, 8, []byte("theirs"))
}

func TestALogThatLostItsEndIsFenced(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	s := b.store(t, jslog.Options{AckTimeout: 200 * time.Millisecond})
	l := open(t, s, "q")
	mustAppend(t, l, 1, numbered(5)...)
	if err := s.Drop(t.Context(), "q"); err != nil {
		t.Fatal(err)
	}
	if r := appendAll(t, l, []byte("nowhere"))[0]; !errors.Is(r.err, jslog.ErrUnavailable) {
		t.Fatalf("append without a stream: %v", r.err)
	}
	open(t, s, "q")
	if r := appendAll(t, l, []byte("elsewhere"))[0]; !errors.Is(r.err, queue.ErrFenced) {
		t.Fatalf("append to a new stream: %d, %v", r.seq, r.err)
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	l := open(t, b.store(t, jslog.Options{}), "q")
	mustAppend(t, l, 1, numbered(5)...)
	b.conn(1).mu.Lock() // the connection for reads
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := l.Read(ctx, 1, 100); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("read without answer: %v", err)
	}
	b.conn(1).mu.Unlock()
	if got, _ := readAll(t, l, 1<<20); len(got) != 5 {
		t.Fatalf("%d entries", len(got))
	}
}

func TestABlockThatCannotBeReadIsNotTheEnd(t *testing.T) {
	dir := t.TempDir()
	b := startBus(t, dir, nil)
	l := open(t, b.store(t, jslog.Options{}), "q")
	for i := range uint64(20) {
		mustAppend(t, l, i+1, bytes.Repeat([]byte("x"), 1<<20))
	}
	first := filepath.Join(blocksOf(t, dir), "1.blk")
	for range 5 { // sometimes the server reads the blocks when it starts, and has them in memory
		b.stop()
		b = startBus(t, dir, nil)
		l = open(t, b.store(t, jslog.Options{}), "q")
		if err := errors.Join(os.Rename(first, first+".away"), os.Mkdir(first, 0o700)); err != nil {
			t.Fatal(err)
		}
		got, err := l.Read(t.Context(), 1, 1<<20)
		if err := errors.Join(os.Remove(first), os.Rename(first+".away", first)); err != nil {
			t.Fatal(err)
		}
		if err == nil && len(got) == 1 {
			continue
		}
		if !errors.Is(err, queue.ErrCorrupt) {
			t.Fatalf("read %v, %v", seqs(got), err)
		}
		if got, err := l.Read(t.Context(), 20, 1<<20); err != nil || len(got) != 1 {
			t.Fatalf("read %v, %v", seqs(got), err)
		}
		return
	}
	t.Fatal("the block is always in memory")
}

// blocksOf returns the directory of the only log's blocks, of which there are several.
func blocksOf(tb testing.TB, dir string) string {
	tb.Helper()
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "Q_*", "msgs", "*.blk"))
	if err != nil || len(blocks) < 2 {
		tb.Fatalf("blocks are %v, %v", blocks, err)
	}
	return filepath.Dir(blocks[0])
}

// crash returns what the disk would have if the process had been killed now: the files as the operating system knows them.
func crash(tb testing.TB, b *bus) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "crashed")
	if err := os.CopyFS(dir, os.DirFS(b.dir)); err != nil {
		tb.Fatal(err)
	}
	return dir
}

func TestWhatWasAnsweredSurvivesAKill(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	s := b.store(t, jslog.Options{Sync: true})
	full, trimmed, empty := open(t, s, "full"), open(t, s, "trimmed"), open(t, s, "empty")
	for _, l := range []queue.Log{full, trimmed, empty} {
		for i := range uint64(4) {
			mustAppend(t, l, i*100+1, numbered(100)...)
		}
	}
	trimmed.Trim(200, []uint64{300, 400})
	empty.Trim(401, nil)
	eventually(t, "trimmed", func() bool { got, _ := readAll(t, trimmed, 1<<20); return len(got) == 199 })
	eventually(t, "empty", func() bool { got, _ := readAll(t, empty, 1<<20); return len(got) == 0 })
	mustAppend(t, full, 401, []byte("last"))

	s = startBus(t, crash(t, b), nil).store(t, jslog.Options{Sync: true})
	for name, want := range map[string]struct {
		kept int
		next uint64
	}{"full": {401, 402}, "trimmed": {199, 401}, "empty": {0, 401}} {
		l := open(t, s, name)
		if got, _ := readAll(t, l, 1000); len(got) != want.kept {
			t.Errorf("%s: %d entries, want %d", name, len(got), want.kept)
		}
		mustAppend(t, l, want.next, []byte("next"))
	}
}

func TestSyncAndProbe(t *testing.T) {
	for name, sync := range map[string]bool{"synced": true, "written": false} {
		t.Run(name, func(t *testing.T) {
			b := startBus(t, t.TempDir(), nil)
			s := b.store(t, jslog.Options{Sync: sync})
			for range 3 {
				if err := errors.Join(s.Sync(t.Context()), s.Probe(t.Context())); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	if _, err := jslog.NewStore(startBus(t, t.TempDir(), nil).connect(t), jslog.Options{Sync: true, Dir: "/does/not/exist"}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a store in no directory: %v", err)
	}
}

// TestNothingAnsweredIsLostInTrouble appends to several logs while answers stall and connections break, and expects every done in order and once,
// and every entry that was answered where it was said to be.
func TestNothingAnsweredIsLostInTrouble(t *testing.T) {
	b := startBus(t, t.TempDir(), nil)
	s := b.store(t, jslog.Options{Sync: true, AckTimeout: 100 * time.Millisecond})
	const logs, each = 8, 2500
	kept := make([]map[uint64]string, logs)
	var wg sync.WaitGroup
	for i := range logs {
		kept[i] = map[uint64]string{}
		l := open(t, s, fmt.Sprint(i))
		wg.Go(func() { appendInTrouble(t, l, each, kept[i]) })
	}
	stop := make(chan struct{})
	troubled := make(chan struct{})
	go func() { defer close(troubled); b.trouble(stop) }()
	wg.Wait()
	close(stop)
	<-troubled
	s = b.store(t, jslog.Options{})
	for i := range logs {
		l := open(t, s, fmt.Sprint(i))
		got, _ := readAll(t, l, 1<<20)
		there := map[uint64]string{}
		for _, e := range got {
			there[e.Seq] = string(e.Data)
		}
		for seq, want := range kept[i] {
			if there[seq] != want {
				t.Fatalf("log %d has %q at %d, want %q", i, there[seq], seq, want)
			}
		}
		t.Logf("log %d: %d answered, %d there", i, len(kept[i]), len(there))
	}
}

// appendInTrouble makes each appends, 16 under way.
func appendInTrouble(t *testing.T, l queue.Log, each int, kept map[uint64]string) {
	window := make(chan struct{}, 16)
	told := 0
	for n := range each {
		window <- struct{}{}
		entry := fmt.Sprintf("%d", n)
		l.Append([]byte(entry), func(seq uint64, err error) {
			if told != n {
				t.Errorf("append %d was told in place %d", n, told)
			}
			told++
			if err == nil {
				kept[seq] = entry
			} else if errors.Is(err, queue.ErrFenced) {
				t.Errorf("append %d: %v", n, err)
			}
			<-window
		})
	}
	if err := l.Close(false); err != nil {
		t.Error(err)
	}
	if told != each {
		t.Errorf("%d were told of %d", told, each)
	}
}

// trouble stalls answers and breaks the newest connection, by chance, until told to stop.
func (b *bus) trouble(stop chan struct{}) {
	pause := func(d time.Duration) bool {
		select {
		case <-stop:
			return false
		case <-time.After(d):
			return true
		}
	}
	for pause(time.Duration(rand.IntN(20)) * time.Millisecond) {
		g := b.conn(b.connCount() - 1)
		if b.connCount() == 2 {
			g = b.conn(0)
		}
		switch rand.IntN(3) {
		case 0:
			g.Close()
		default:
			g.mu.Lock()
			pause(time.Duration(rand.IntN(250)) * time.Millisecond)
			g.mu.Unlock()
		}
	}
}
