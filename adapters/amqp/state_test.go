package amqp

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/queue"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"
)

// unacked against a plain list.
func TestUnackedModel(t *testing.T) {
	k := &consumer{}
	rapid.Check(t, func(t *rapid.T) {
		var u unacked
		var model []uint64
		tag := uint64(0)
		take := func(t *rapid.T) {
			want, multiple := rapid.Uint64Range(0, tag+2).Draw(t, "tag"), rapid.Bool().Draw(t, "multiple")
			var got []uint64
			ok := u.take(want, multiple, func(d delivered) { got = append(got, d.tag) })
			i, found := slices.BinarySearch(model, want)
			var expected []uint64
			switch {
			case want == 0 && multiple:
				found, expected, model = true, model, nil
			case found && multiple:
				expected, model = model[:i+1], model[i+1:]
			case found:
				expected = []uint64{want}
				model = slices.Delete(slices.Clone(model), i, i+1)
			}
			if ok != found || !slices.Equal(got, expected) {
				t.Fatalf("take(%d, %t) = %t %v, want %t %v", want, multiple, ok, got, found, expected)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(t, "n") {
					tag += rapid.Uint64Range(1, 2).Draw(t, "step")
					u.push(delivered{tag: tag, to: k})
					model = append(model, tag)
				}
			},
			"take": take,
			"take many": func(t *rapid.T) {
				for range 50 {
					take(t)
				}
			},
			"take and restore": func(t *rapid.T) {
				var taken []delivered
				u.take(rapid.Uint64Range(0, tag+1).Draw(t, "tag"), true, func(d delivered) { taken = append(taken, d) })
				u.restore(taken)
			},
			"": func(t *rapid.T) {
				if u.len() != len(model) {
					t.Fatalf("len %d, want %d", u.len(), len(model))
				}
			},
		})
	})
}

// Confirms: whatever the queues answer, in whatever order, every publish is acked or nacked, once, a multiple ack never covers what is still open, and
// the window is empty at the end.
func TestLedgerModel(t *testing.T) {
	metrics := &core.DoorMetrics{PublishSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{})}
	rapid.Check(t, func(t *rapid.T) {
		c := &conn{
			adapter: &Adapter{metrics: metrics}, out: newOutbox(newBufferPool()), window: newWindow(), log: slog.New(slog.DiscardHandler),
		}
		var l ledger
		l.init(c, 1)
		for range rapid.IntRange(0, 20).Draw(t, "before") {
			l.Appended([]uint64{l.open(1, 10)}, nil)
		}
		l.startConfirming()
		var due []uint64 // one for each answer that a queue owes
		published := uint64(0)
		failed, told := map[uint64]bool{}, map[uint64]string{}
		check := func() {
			readConfirms(t, c.out, func(tag uint64, multiple bool, verdict string) {
				tags := []uint64{tag}
				for p := tag - 1; multiple && p > 0; p-- {
					if told[p] == "" {
						tags = append(tags, p)
					}
				}
				for _, tag := range tags {
					if told[tag] != "" {
						t.Fatalf("%d is told %s after %s", tag, verdict, told[tag])
					}
					if slices.Contains(due, tag+l.before) || failed[tag] != (verdict == "nack") {
						t.Fatalf("%d is told %s, open %t, failed %t", tag, verdict, slices.Contains(due, tag+l.before), failed[tag])
					}
					told[tag] = verdict
				}
			})
		}
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				n := rapid.IntRange(1, 3).Draw(t, "queues")
				published++
				seq := l.open(n, 10)
				for range n {
					due = append(due, seq)
				}
			},
			"unroutable": func(*rapid.T) { published++; l.skip() },
			"answer": func(t *rapid.T) {
				if len(due) == 0 {
					t.Skip("nothing is due")
				}
				from := rapid.IntRange(0, len(due)-1).Draw(t, "from")
				to := rapid.IntRange(from+1, len(due)).Draw(t, "to")
				err := rapid.SampledFrom([]error{nil, nil, nil, queue.ErrDeleted, errors.New("disk")}).Draw(t, "err")
				tags := slices.Clone(due[from:to])
				due = slices.Delete(due, from, to)
				if err != nil && err != queue.ErrDeleted {
					for _, seq := range tags {
						failed[seq-l.before] = true
					}
				}
				l.Appended(tags, err)
				check()
			},
		})
		for _, seq := range slices.Clone(due) {
			due = due[1:]
			l.Appended([]uint64{seq}, nil)
			check()
		}
		check()
		if uint64(len(told)) != published || c.window.count.Load() != 0 || c.window.bytes.Load() != 0 {
			t.Fatalf("%d published, %d told, window %d/%d", published, len(told), c.window.count.Load(), c.window.bytes.Load())
		}
	})
}

// readConfirms empties out and passes on what it says.
func readConfirms(t *rapid.T, out *outbox, tell func(tag uint64, multiple bool, verdict string)) {
	b, _ := out.take()
	if b == nil {
		return
	}
	r := wire.NewReader(bytes.NewReader(b.b), 4096)
	for {
		f, err := r.ReadFrame()
		if err != nil {
			break
		}
		if tag, multiple, err := wire.DecodeAck(f.Payload); err == nil {
			tell(tag, multiple, "ack")
		} else if tag, multiple, _, err := wire.DecodeNack(f.Payload); err == nil {
			tell(tag, multiple, "nack")
		} else {
			t.Fatalf("frame %s", wire.Trace(f))
		}
	}
	out.written(b)
}
