package crash

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// settleTime is how long after its acknowledgement a message that was acknowledged over AMQP is surely in the journal (100 ms
// gathering, and a write): AMQP's ack has no answer that would tell.
const settleTime = 600 * time.Millisecond

// ledger is what the clients of one queue know: what was sent, confirmed, acknowledged, and acknowledged for good.
type ledger struct {
	mu        sync.Mutex
	sent      map[string]bool
	confirmed map[string]bool
	acked     map[string]time.Time
	forGood   map[string]string // must never come back, for this reason
}

func newLedger() *ledger {
	return &ledger{sent: map[string]bool{}, confirmed: map[string]bool{}, acked: map[string]time.Time{}, forGood: map[string]string{}}
}

func (l *ledger) send(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[id] = true
}

func (l *ledger) confirm(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.confirmed[id] = true
}

// got is called with every delivery. It tells on those that must not be.
func (l *ledger) got(t *testing.T, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.sent[id] {
		t.Errorf("message %q was never sent", id)
	}
	if why := l.forGood[id]; why != "" {
		t.Errorf("message %q came back after its acknowledgement was synced: %s", id, why)
	}
	delete(l.acked, id) // the kill was faster than the acknowledgement: it counts as delivered only
}

func (l *ledger) ack(id string, synced bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[id] = time.Now()
	if synced {
		l.forGood[id] = "it was answered"
	}
}

// killed notes the moment of a kill: what had been acknowledged long enough before is settled for good.
func (l *ledger) killed(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, when := range l.acked {
		if before := at.Sub(when); before > settleTime && l.forGood[id] == "" {
			l.forGood[id] = fmt.Sprintf("acknowledged %v before a kill", before)
		}
	}
}

// settle compares the ledger with everything that is left in the queue.
func (l *ledger) settle(t *testing.T, left []string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	there := map[string]bool{}
	for _, id := range left {
		if there[id] {
			t.Errorf("message %q is there twice", id)
		}
		there[id] = true
	}
	lost := 0
	for id := range l.confirmed {
		if _, acked := l.acked[id]; !there[id] && !acked {
			lost++
			t.Errorf("message %q was confirmed and is lost", id)
		}
	}
	t.Logf("sent %d, confirmed %d, acknowledged %d (%d for good), left %d, lost %d",
		len(l.sent), len(l.confirmed), len(l.acked), len(l.forGood), len(left), lost)
	if len(l.confirmed) == 0 || len(l.acked) == 0 {
		t.Error("nothing was confirmed or acknowledged: the test proves nothing")
	}
}
