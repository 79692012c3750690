package core

import (
	"strconv"
	"strings"
	"time"
)

const ackPrefix = "$JS.ACK."

// ticket is what the reply subject of a delivery says:
//
//	$JS.ACK.stream.consumer.attempt.sequence.delivery.time.pending
type ticket struct {
	stream, consumer string
	attempt          uint64 // from 1
	sequence         uint64 // of the message in its stream
	delivery         uint64 // of the consumer
	time             time.Time
	pending          uint64 // messages behind it
}

// parseTicket reads a ticket. It may come from a client: what it names need not exist.
func parseTicket(subject string) (t ticket, ok bool) {
	tail, ok := strings.CutPrefix(subject, ackPrefix)
	words := strings.Split(tail, ".")
	if !ok || len(words) != 7 || len(subject) > maxSubject {
		return t, false
	}
	t.stream, t.consumer = words[0], words[1]
	var nanos uint64
	for i, number := range []*uint64{&t.attempt, &t.sequence, &t.delivery, &nanos, &t.pending} {
		n, err := strconv.ParseUint(words[i+2], 10, 63)
		if err != nil || words[i+2] != strconv.FormatUint(n, 10) {
			return t, false
		}
		*number = n
	}
	t.time = time.Unix(0, int64(nanos)).UTC()
	return t, t.attempt > 0 && t.sequence > 0 && t.delivery > 0 && checkName("stream", t.stream) == nil && checkName("consumer", t.consumer) == nil
}
