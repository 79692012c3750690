// Package differential runs one script of AMQP operations against RabbitMQ and against the gateway, and compares what came of each.
//
// A script is a Go function that speaks through a client made of the codec alone, because outcomes include what client libraries hide: the order of
// returns and confirms, texts of errors, frames that no library sends. What servers make up (names, times) is normalised. Where the two are meant to
// differ the difference stands in known, with its reason.
package differential

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"portico/test/gateway"
)

// A script is a sequence of operations on objects whose names begin with the script's own.
type script func(*session)

func scripts() map[string]script {
	return map[string]script{
		"ttl": ttlScript, "expires": expiresScript, "dead": deadScript, "dead route": deadRouteScript,
		"length": lengthScript, "priority": priorityScript, "consumers": consumerScript, "single active": singleActiveScript,
		"quorum": quorumScript, "stream": streamScript, "queues": queueScript, "exchanges": exchangeScript, "routing": routingScript,
		"publish": publishScript, "copies": copiesScript, "confirms": confirmScript, "tx": txScript, "settle": settleScript, "qos": qosScript,
		"cancel": cancelScript, "channel errors": errorScript, "connection errors": frameScript, "handshake": handshakeScript, "reply-to": replyToScript,
	}
}

func TestSameAsRabbitMQ(t *testing.T) {
	if testing.Short() {
		t.Skip("starts RabbitMQ, and waits for messages to expire")
	}
	ours := strings.TrimPrefix(gateway.Start(t).Doors["AMQP"], "amqp://guest:guest@")
	rabbit := startRabbitMQ(t)
	all, changes := scripts(), changes()
	var mu sync.Mutex
	applied, ran := map[string]bool{}, 0
	t.Run("script", func(t *testing.T) {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := comparison{changes: changes, listed: known()[name], applied: map[string]bool{}}
				runBoth(t, &c, rabbit, ours, all[name])
				mu.Lock()
				defer mu.Unlock()
				maps.Copy(applied, c.applied)
				ran++
			})
		}
	})
	for _, change := range changes {
		if ran == len(all) && !applied[change.why] {
			t.Errorf("makes no difference any more: %s", change.why)
		}
	}
}

// runBoth runs a script against both servers at the same time, logs what came of it on RabbitMQ, and fails for every complaint.
func runBoth(t *testing.T, c *comparison, rabbit, ours string, s script) {
	t.Helper()
	theirs := make(chan []outcome, 1)
	go func() { theirs <- run(rabbit, s) }()
	got := run(ours, s)
	want := <-theirs
	for _, o := range want {
		t.Logf("%s\n\t=> %s", o.op, o.got)
	}
	c.of(want, got)
	for _, complaint := range c.complaints {
		t.Error(complaint)
	}
	t.Logf("%d operations", len(want))
}
