package soak

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestLedger: the ledger tells what must not be, and nothing else.
func TestLedger(t *testing.T) {
	const one, two = 0, 1
	for name, c := range map[string]struct {
		do   func(l *ledger, a, b *holder, dead *holder)
		want string // in the only fault; "": none
	}{
		"all is well": {func(l *ledger, a, b, _ *holder) {
			l.take(a, one, false)
			l.ack(a, one)
			l.read(a)
			l.take(b, two, false)
			l.release(b, two)
			l.take(a, two, true)
			l.ack(a, two)
		}, ""},
		"two have it": {func(l *ledger, a, b, _ *holder) {
			l.take(a, one, false)
			l.take(b, one, true)
		}, "came to b while a had it"},
		"one has it twice": {func(l *ledger, a, _, _ *holder) {
			l.take(a, one, false)
			l.take(a, one, true)
		}, "came to a while it had it"},
		"the second takes it after the end of the first": {func(l *ledger, a, b, _ *holder) {
			l.take(a, one, false)
			l.end(a)
			l.take(b, one, true)
			l.take(a, two, false) // too late, and nobody's
			l.take(b, two, false)
		}, ""},
		"without the mark": {func(l *ledger, a, b, _ *holder) {
			l.take(a, one, false)
			l.end(a)
			l.take(b, one, false)
		}, "without the redelivered mark"},
		"after a kill without the mark": {func(l *ledger, a, b, _ *holder) {
			l.take(a, one, false)
			l.begin(2)
			l.take(a, one, false) // of the past
			b.life = 2
			l.take(b, one, false)
		}, ""},
		"settled, and back": {func(l *ledger, a, b, _ *holder) {
			l.take(a, one, false)
			l.ack(a, one)
			l.read(a)
			l.take(b, one, true)
		}, "after its acknowledgement was read"},
		"acknowledged, who knows whether it was read, and back": {func(l *ledger, a, b, _ *holder) {
			l.take(a, one, false)
			l.ack(a, one)
			l.end(a)
			l.take(b, one, true)
		}, ""},
		"never sent":      {func(l *ledger, a, _, _ *holder) { l.take(a, 77, false) }, "was never sent"},
		"somebody else's": {func(l *ledger, _, _, dead *holder) { l.take(dead, one, false) }, "not meant for it"},
		"dead letters twice in one life": {func(l *ledger, _, _, dead *holder) {
			id := l.send(toLetters)
			l.take(dead, id, false)
			l.take(dead, id, false)
		}, "while it had it"},
		"dead letters twice after a kill": {func(l *ledger, _, _, dead *holder) {
			id := l.send(toLetters)
			l.begin(2)
			dead.life = 2
			l.take(dead, id, false)
			l.take(dead, id, false)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var faults []string
			l := newLedger(func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) })
			l.begin(1)
			l.send(toA)
			l.send(toA)
			queues := workQueues()
			c.do(l, l.holder("a", queues[0], 1), l.holder("b", queues[0], 1), l.holder("dead", queues[len(queues)-1], 1))
			switch {
			case c.want == "" && len(faults) > 0, c.want != "" && (len(faults) != 1 || !strings.Contains(faults[0], c.want)):
				t.Errorf("faults %q, want %q", faults, c.want)
			}
		})
	}
}

// TestLost: a confirmed message is lost until it is acknowledged wherever it was published to.
func TestLost(t *testing.T) {
	l := newLedger(t.Errorf)
	queues := workQueues()
	a, b := l.holder("a", queues[0], 0), l.holder("b", queues[1], 0)
	both, unconfirmed := l.send(toA|toB), l.send(toA)
	for i, step := range []struct {
		do   func()
		lost int
	}{
		{func() {}, 0},
		{func() { l.take(a, unconfirmed, false); l.release(a, unconfirmed) }, 0},
		{func() { l.confirm(both) }, 1},
		{func() { l.take(a, both, false); l.ack(a, both) }, 1},
		{func() { l.take(b, both, false) }, 1},
		{func() { l.ack(b, both) }, 0},
	} {
		step.do()
		if lost := l.lost(); len(lost) != step.lost || l.backlog() != step.lost {
			t.Errorf("step %d: backlog %d, lost %q, want %d", i, l.backlog(), lost, step.lost)
		}
	}
}

// TestFit: the slope is found under noise, the steady part is the last life, and noise alone does not count as growth.
func TestFit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var s series
	for i := range 60 {
		x := sample{at: time.Duration(i) * time.Minute, goroutines: 100 + rnd.NormFloat64()*10, rss: 200 << 20}
		if i >= 20 {
			x.life = 1
			x.rss += int64(i) << 20 // 60 MiB/h
		}
		s.add(x)
	}
	steady := s.steady()
	if len(steady) != 30 || steady[0].at != 30*time.Minute {
		t.Fatalf("%d steady samples from %v on, want 30 from 30m", len(steady), steady[0].at)
	}
	memory := fit(steady, func(x sample) float64 { return float64(x.rss) / (1 << 20) })
	if math.Abs(memory.slope-60) > .001 || memory.deviation > .001 || memory.growth(29*time.Minute, 2) < maxGrowth {
		t.Errorf("memory: %+v", memory)
	}
	if noise := fit(steady, func(x sample) float64 { return x.goroutines }); noise.growth(29*time.Minute, 2) > maxGrowth || noise.deviation == 0 {
		t.Errorf("goroutines: %+v", noise)
	}
}

// TestBody: a body tells when it is not whole.
func TestBody(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	b := body(300, rnd)
	if id, whole := numberOf(b); id != 300 || !whole {
		t.Errorf("number %d, whole %v", id, whole)
	}
	if _, whole := numberOf(b[:len(b)-1]); whole {
		t.Error("a short body is whole")
	}
	b = append(b[:len(b)-1], b[len(b)-1]+1)
	if _, whole := numberOf(b); whole && len(b) > headSize {
		t.Error("a changed body is whole")
	}
}
