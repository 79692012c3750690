package queue_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// rig is a queue on a disk, in synthetic time.
type rig struct {
	*testing.T
	cfg  queue.Config
	disk *queuetest.Disk
	log  *queuetest.Log
	q    *queue.Queue
}

// synthetic runs test with a queue in synthetic time.
func synthetic(t *testing.T, cfg queue.Config, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, cfg: cfg, disk: &queuetest.Disk{}}
		r.open()
		test(r)
	})
}

// everywhere runs test in synthetic time with a queue in memory and with one on a disk.
func everywhere(t *testing.T, cfg func() queue.Config, test func(r *rig)) {
	t.Helper()
	t.Run("log", func(t *testing.T) { synthetic(t, cfg(), test) })
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q, err := queue.Open(cfg(), nil)
			r := &rig{T: t, q: q}
			r.noError("open", err)
			t.Cleanup(func() { _ = q.Close() })
			test(r)
		})
	})
}

func (r *rig) open() {
	r.Helper()
	log := r.disk.Open()
	q, err := queue.Open(r.cfg, log)
	if err != nil {
		r.Fatalf("open: %v", err)
	}
	r.q, r.log = q, log
	r.Cleanup(func() {
		log.Abandon()
		_ = q.Close()
	})
}

// crash ends the process that has the queue, and starts another.
func (r *rig) crash() {
	r.Helper()
	r.log.Tear()
	torn, log := r.q, r.log
	r.open()
	log.Abandon()
	_ = torn.Close()
}

// reopen closes the queue in good order and opens it again.
func (r *rig) reopen() {
	r.Helper()
	r.noError("close", r.q.Close())
	r.open()
}

func (r *rig) noError(what string, err error) {
	r.Helper()
	if err != nil {
		r.Fatalf("%s: %v", what, err)
	}
}

func (r *rig) wants(what string, err, want error) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Fatalf("%s: %v, want %v", what, err, want)
	}
}

// told is what somebody was told, who has to be told once.
type told struct {
	r    *rig
	what string
	errs chan error
}

func (r *rig) told(what string) *told { return &told{r, what, make(chan error, 8)} }

func (x *told) done(err error) { x.errs <- err }

// not makes sure that nobody has been told.
func (x *told) not() {
	x.r.Helper()
	synctest.Wait()
	if len(x.errs) > 0 {
		x.r.Fatalf("%s: told %v", x.what, <-x.errs)
	}
}

// once returns what was told.
func (x *told) once() error {
	x.r.Helper()
	synctest.Wait()
	if len(x.errs) != 1 {
		x.r.Fatalf("%s: told %d times", x.what, len(x.errs))
	}
	return <-x.errs
}

func (r *rig) append(record string) *told { return r.put(queue.Record{Data: []byte(record)}) }

func (r *rig) put(record queue.Record) *told {
	x := r.told(fmt.Sprintf("append %.40q", record.Data))
	r.q.AppendFunc(record, x.done)
	return x
}

// kept appends a record and makes sure that it is kept.
func (r *rig) kept(record queue.Record) {
	r.Helper()
	r.noError("append", r.put(record).once())
}

// chunk appends records that share a chunk, and waits until it is kept.
func (r *rig) chunk(records ...string) {
	r.Helper()
	kept := r.pending(records...)
	r.log.Hold(false)
	for _, k := range kept {
		r.noError(k.what, k.once())
	}
}

// pending appends records that share a chunk, and leaves it unanswered.
func (r *rig) pending(records ...string) (kept []*told) {
	r.Helper()
	r.log.Hold(true)
	synctest.Wait()
	resume := r.q.Stall()
	synctest.Wait()
	for _, rec := range records {
		kept = append(kept, r.append(rec))
	}
	resume()
	synctest.Wait()
	return kept
}

func (r *rig) settle(o queue.Outcome, hs ...queue.Handle) *told {
	x := r.told("settle")
	r.q.Settle(o, hs, x.done)
	return x
}

func (r *rig) stats(ready, unacked int) queue.Stats {
	r.Helper()
	synctest.Wait()
	s, err := r.q.Stats()
	if err != nil || s.Ready != ready || s.Unacked+s.Dying != unacked {
		r.Fatalf("%d ready, %d unacked, %v; want %d and %d", s.Ready, s.Unacked+s.Dying, err, ready, unacked)
	}
	return s
}

// sink keeps what it gets.
type sink struct {
	*queue.Consumer
	r    *rig
	mu   sync.Mutex // synctest.Wait orders what the queue did before what the test does, not the other way round
	got  []queue.Delivery
	gone []error
}

func (r *rig) consume(cfg queue.ConsumerConfig) *sink {
	r.Helper()
	s := &sink{r: r}
	cfg.Deliver = func(ds []queue.Delivery) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, ds...)
	}
	cfg.Gone = func(err error) { s.gone = append(s.gone, err) }
	c, err := r.q.Consume(cfg)
	r.noError("consume", err)
	s.Consumer = c
	return s
}

// all makes a consumer take everything there is.
func (r *rig) all() *sink {
	r.Helper()
	return r.consume(queue.ConsumerConfig{Credit: queue.Unlimited})
}

// wants checks what has come since the last time: records, with a * if redelivered.
func (s *sink) wants(records ...string) []queue.Handle {
	s.r.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []string
	var hs []queue.Handle
	for _, d := range s.got {
		text := string(d.Record)
		if d.Redelivered {
			text += "*"
		}
		got = append(got, text)
		hs = append(hs, d.Handle)
	}
	s.got = nil
	if fmt.Sprint(got) != fmt.Sprint(records) {
		s.r.Fatalf("delivered %.300s, want %.300s", fmt.Sprintf("%q", got), fmt.Sprintf("%q", records))
	}
	return hs
}

// morgue takes dead letters and notes when they came.
type morgue struct {
	refuse atomic.Bool

	mu  sync.Mutex
	got []string
}

func (m *morgue) bury(d queue.Dead, done func(error)) {
	if m.refuse.Load() {
		done(queuetest.ErrRefused)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, fmt.Sprintf("%.10s %v %v", d.Record, d.Reason, time.Since(epoch)))
	done(nil)
}

// epoch is when synthetic time begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// wants checks what has died since the last time: record, reason and the time since the beginning.
func (m *morgue) wants(r *rig, want ...string) {
	r.Helper()
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if fmt.Sprint(m.got) != fmt.Sprint(want) {
		r.Fatalf("died %.400s, want %.400s", fmt.Sprintf("%q", m.got), fmt.Sprintf("%q", want))
	}
	m.got = nil
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
