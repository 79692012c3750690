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
	rabbit := startRabbitMQ(t)
	ours := strings.TrimPrefix(gateway.Start(t).Doors["AMQP"], "amqp://guest:guest@")
	all := scripts()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			theirs := make(chan []outcome, 1)
			go func() { theirs <- run(rabbit, all[name]) }()
			got := run(strings.TrimSuffix(ours, "/"), all[name])
			report(t, <-theirs, got, known()[name])
		})
	}
}

// report logs every operation's outcome and fails for those that differ and are not known to, and for known ones that do not differ as listed.
func report(t *testing.T, theirs, ours []outcome, listed differences) {
	t.Helper()
	for _, o := range theirs {
		t.Logf("%s\n\t=> %s", o.op, o.got)
	}
	for _, complaint := range compare(theirs, ours, listed) {
		t.Error(complaint)
	}
}
