package broker

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"portico/adapters/amqp/wire"
)

// Why a message leaves a queue as a dead letter, as header x-death says it [RMQ].
const (
	DeadRejected      = "rejected"       // basic.reject or basic.nack without requeue
	DeadExpired       = "expired"        // by its own or the queue's TTL
	DeadMaxLength     = "maxlen"         // the queue was full
	DeadDeliveryLimit = "delivery_limit" // a quorum queue took it back too often
)

const (
	deathHeader = "x-death"
	blindHeader = "BCC"
)

// Death is one message's leaving a queue as a dead letter.
type Death struct {
	Queue  string
	Reason string // one of DeadRejected and so on
	// Exchange is where the message was published to, or, as a dead letter already,
	// the last dead letter exchange.
	Exchange string
	// Keys are the message's routing keys: the one it was published with, CC, then BCC.
	// Of a dead letter they are those of [DeadLetterKeys].
	Keys []string
	// Blind are the BCC keys it was published with; receivers do not learn of them.
	Blind []string
	// At is now.
	At time.Time
}

// DeadLetter returns the properties of the dead letter of a message with properties p
// [RMQ 3.13.7]; nothing of p is written, but the result shares parts of its headers.
//
//   - x-death has an entry for each queue and reason, the latest death first. A second
//     death of the same kind moves its entry to the front and adds 1 to the count;
//     time, exchange, routing-keys and original-expiration stay those of the first.
//   - x-first-death-queue, -reason and -exchange are set on a message without
//     x-death, x-last-death-queue, -reason and -exchange always.
//   - expiration is removed, so that the message does not expire again.
//   - CC is kept even when a dead letter routing key takes its place, BCC is not.
//
// Entries of x-death that a client has made up are kept in the form above if they have
// all of its fields, else dropped; an x-death that is no array counts as none.
func DeadLetter(p wire.Properties, d Death) wire.Properties {
	headers := maps.Clone(p.Headers)
	if headers == nil {
		headers = wire.Table{}
	}
	earlier, given := recordsOf(headers)
	headers[deathHeader] = tables(d.record(&p), earlier)
	if !given {
		d.mark(headers, "x-first-death-")
	}
	d.mark(headers, "x-last-death-")
	delete(headers, blindHeader)
	p.Headers, p.Expiration = headers, ""
	p.Flags &^= wire.FlagExpiration
	return p
}

// DeadLetterKeys are the routing keys of a dead letter: the queue's dead letter
// routing key if it has one, else those of the message, CC and BCC too. The slice may
// be keys itself.
func DeadLetterKeys(deadLetterKey *string, keys []string) []string {
	if deadLetterKey != nil {
		return []string{*deadLetterKey}
	}
	return keys
}

// Cycle says whether queue is not to get a dead letter with these headers, made by
// [DeadLetter] for reason: it died there before, and nothing has been rejected since
// [RMQ]. A message that is rejected now goes anywhere.
func Cycle(headers wire.Table, queue, reason string) bool {
	if reason == DeadRejected {
		return false
	}
	records, _ := recordsOf(headers)
	for _, r := range records {
		if r.reason == DeadRejected {
			return false
		}
		if r.queue == queue {
			return true
		}
	}
	return false
}

// mark sets the three headers of a death that begin with prefix.
func (d Death) mark(headers wire.Table, prefix string) {
	headers[prefix+"queue"], headers[prefix+"reason"], headers[prefix+"exchange"] = d.Queue, d.Reason, d.Exchange
}

// record is the entry of d as the first of its kind, for a message with properties p.
func (d Death) record(p *wire.Properties) deathRecord {
	r := deathRecord{queue: d.Queue, reason: d.Reason, exchange: d.Exchange, count: 1, time: d.At.UTC().Truncate(time.Second)}
	if p.Has(wire.FlagExpiration) {
		r.expiration = expirationOf(p.Expiration)
	}
	r.keys = []any{}
	for _, key := range without(d.Keys, d.Blind) {
		r.keys = append(r.keys, key)
	}
	return r
}

// without is keys without the first occurrence of each of blind.
func without(keys, blind []string) []string {
	kept := slices.Clone(keys)
	for _, key := range blind {
		if i := slices.Index(kept, key); i >= 0 {
			kept = slices.Delete(kept, i, i+1)
		}
	}
	return kept
}

// deathRecord is an entry of x-death.
type deathRecord struct {
	queue, reason, exchange string
	keys                    []any // of string
	count                   int64
	time                    time.Time // of the first death of this kind
	expiration              string    // the first one's, "" for none
}

func (r deathRecord) sameKind(o deathRecord) bool { return r.queue == o.queue && r.reason == o.reason }

// tables is x-death with latest in front, or in its place the one of earlier that is
// of the same kind. It writes earlier.
func tables(latest deathRecord, earlier []deathRecord) []any {
	if i := slices.IndexFunc(earlier, latest.sameKind); i >= 0 {
		latest = earlier[i]
		latest.count = min(latest.count, math.MaxInt64-1) + 1
		earlier = slices.Delete(earlier, i, i+1)
	}
	all := append(make([]any, 0, 1+len(earlier)), latest.table())
	for _, r := range earlier {
		all = append(all, r.table())
	}
	return all
}

func (r deathRecord) table() wire.Table {
	t := wire.Table{
		"queue": r.queue, "reason": r.reason, "exchange": r.exchange,
		"routing-keys": r.keys, "count": r.count, "time": r.time,
	}
	if r.expiration != "" {
		t["original-expiration"] = r.expiration
	}
	return t
}

// recordsOf reads x-death, latest first; given says whether there is one.
func recordsOf(headers wire.Table) (records []deathRecord, given bool) {
	entries, given := headers[deathHeader].([]any)
	for _, e := range entries {
		if r, ok := recordOf(e); ok {
			records = append(records, r)
		}
	}
	return records, given
}

// recordOf reads an entry of x-death. Clients send what they like, so it may be none.
func recordOf(entry any) (r deathRecord, ok bool) {
	t, isTable := entry.(wire.Table)
	if m, isMap := entry.(map[string]any); isMap {
		t, isTable = m, true
	}
	keys, hasKeys := t["routing-keys"].([]any)
	count, hasCount := Integer(t["count"])
	at, hasTime := timeOf(t["time"])
	ok = isTable && hasKeys && hasCount && hasTime && isString(t["queue"]) && isString(t["reason"]) && isString(t["exchange"])
	if !ok {
		return deathRecord{}, false
	}
	return deathRecord{
		queue: bytesOrString(t["queue"]), reason: bytesOrString(t["reason"]), exchange: bytesOrString(t["exchange"]),
		keys: stringsOf(keys), count: count, time: at, expiration: expirationOf(bytesOrString(t["original-expiration"])),
	}, true
}

// stringsOf is list without what is no string.
func stringsOf(list []any) []any {
	kept := make([]any, 0, len(list))
	for _, v := range list {
		if isString(v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// timeOf is a timestamp, or an integer as seconds.
func timeOf(v any) (time.Time, bool) {
	if at, ok := v.(time.Time); ok {
		return at, true
	}
	n, ok := Integer(v)
	return time.Unix(n, 0).UTC(), ok
}

// expirationOf is the number in s in its shortest form, "" if it is none.
func expirationOf(s string) string {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
