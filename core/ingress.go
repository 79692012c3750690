package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// ingress is how publishes of native NATS and MQTT clients come to the queues: queue-group subscriptions on every pattern that a core binding or the router
// needs. One group name for all patterns of all nodes: the server gives a message to one member of a group, even if several
// patterns of the group match, so each message comes in once and patterns may overlap. (docs/adr/0002-native-publishes.md)
type ingress struct {
	// immutable
	link   *link
	handle func(linkMessage)

	// guarded by mu
	mu     sync.Mutex
	refs   map[string]int // how many bindings need a pattern, and the router
	router map[string]struct{}
	subs   map[string]*linkSub
}

const ingressGroup = "portico-ingress"

func newIngress(l *link, handle func(linkMessage)) *ingress {
	return &ingress{link: l, handle: handle, refs: map[string]int{}, router: map[string]struct{}{}, subs: map[string]*linkSub{}}
}

// change makes patterns needed once more, or once less. It returns when the server knows.
func (g *ingress) change(ctx context.Context, add, remove []string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.apply(ctx, add, remove)
}

// setRouter replaces the patterns that the router needs.
func (g *ingress) setRouter(ctx context.Context, patterns []string) error {
	wanted := make(map[string]struct{}, len(patterns))
	for _, p := range patterns {
		if err := checkPattern(p); err != nil {
			return err
		}
		wanted[p] = struct{}{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var add, remove []string
	for p := range wanted {
		if _, there := g.router[p]; !there {
			add = append(add, p)
		}
	}
	for p := range g.router {
		if _, there := wanted[p]; !there {
			remove = append(remove, p)
		}
	}
	g.router = wanted
	return g.apply(ctx, add, remove)
}

// apply is change. The caller holds mu.
func (g *ingress) apply(ctx context.Context, add, remove []string) error {
	changed := false
	for _, p := range add {
		if g.refs[p]++; g.refs[p] > 1 {
			continue
		}
		sub, err := g.link.subscribe(p, ingressGroup, g.handle)
		if err != nil {
			return unavailable(err)
		}
		g.subs[p], changed = sub, true
	}
	for _, p := range remove {
		if g.refs[p] > 1 {
			g.refs[p]--
			continue
		}
		if g.subs[p] == nil {
			continue // nobody had asked for it
		}
		g.link.unsubscribe(g.subs[p])
		delete(g.refs, p)
		delete(g.subs, p)
		changed = true
	}
	if !changed {
		return nil
	}
	if err := g.link.flush(ctx); err != nil {
		return unavailable(err)
	}
	return nil
}

// SetIngress tells the subject patterns on which native clients' publishes matter to the router; it replaces the former set and
// returns when they are in force. Its cost grows with the patterns; see ChangeIngress.
func (b *Bus) SetIngress(patterns []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), subscribeTimeout)
	defer cancel()
	return b.tenant.ingress.setRouter(ctx, patterns)
}

// ChangeIngress adds patterns and removes others that were added with it; each is counted. Its cost does not depend on how many there are already. It is
// independent of what SetIngress sets.
func (b *Bus) ChangeIngress(add, remove []string) error {
	for _, p := range add {
		if err := checkPattern(p); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), subscribeTimeout)
	defer cancel()
	return b.tenant.ingress.change(ctx, add, remove)
}

// Bounds on what came in from native clients and is not kept yet. Above them it is dropped, with an error to whoever asked for a reply: a NATS or
// MQTT publish that asks for none promises nothing, and the goroutine that reads must not wait.
const (
	maxIngestMessages = 1 << 16
	maxIngestBytes    = 64 << 20
)

// ingest routes what a native client published. It runs on the link's reading goroutine.
func (t *tenant) ingest(lm linkMessage) {
	if reserved(lm.subject) {
		return
	}
	header, status := parseBusHeader(lm.header)
	if status != "" {
		return
	}
	m := &Message{Subject: lm.subject, Reply: lm.reply, Header: cleaned(header, ""), Data: lm.data}
	queues, byRouter := t.route(m, nil)
	if len(queues) == 0 {
		t.refuseRequest(m)
		return
	}
	answer := func(bool, error) {}
	if m.Reply != "" && (byRouter < len(queues) || expectsPubAck(header)) {
		reply := m.Reply
		m.Reply = "" // the publisher wants to know that it is kept, not what a consumer thinks of it
		if err := expectation(header); err != nil {
			t.answerPublish(reply, false, err)
			return
		}
		answer = func(duplicate bool, err error) { t.answerPublish(reply, duplicate, err) }
	}
	size := int64(len(lm.data) + len(lm.header))
	if err := t.admitIngest(len(queues), size); err != nil {
		t.gateway.metrics.ingestDropped.Inc()
		answer(false, err)
		return
	}
	t.keep(m, messageID(ofNatives, "", m.Header), queues, func(duplicate bool, err error) {
		t.ingesting.messages.Add(-1)
		t.ingesting.bytes.Add(-size)
		if err != nil {
			t.gateway.metrics.ingestDropped.Inc()
			t.gateway.log.Debug("native publish not kept", "err", err)
		}
		answer(duplicate, err)
	})
}

// admitIngest counts a message in, or says why it cannot be.
func (t *tenant) admitIngest(queues int, size int64) error {
	if err := t.checkSize(int(size)); err != nil {
		return err
	}
	if err := t.accepts(queues); err != nil {
		return err
	}
	if t.ingesting.messages.Add(1) > maxIngestMessages || t.ingesting.bytes.Add(size) > maxIngestBytes {
		t.ingesting.messages.Add(-1)
		t.ingesting.bytes.Add(-size)
		return Errorf(CodeResourceExhausted, "too much is waiting to be kept")
	}
	return nil
}

// refuseRequest tells a native requester at once that nobody takes its request, if only our own subscription matched it: without that
// subscription the server would have said so.
func (t *tenant) refuseRequest(m *Message) {
	if m.Reply != "" && !t.interest(m.Subject) && checkSubject(m.Reply) == nil {
		t.sendAnswer(m.Reply, []byte(noResponders), nil)
	}
}

// expectsPubAck tells a JetStream publish that says so from a request.
func expectsPubAck(h Header) bool {
	for name := range h {
		if strings.EqualFold(name, headerMsgID) || hasPrefixFold(name, expectPrefix) {
			return true
		}
	}
	return false
}

// expectPrefix begins the headers that say what a publisher thinks is the state of a stream.
const expectPrefix = "Nats-Expected-"

// expectation returns an error for what a queue cannot promise: it has no sequence that a publisher could expect.
func expectation(h Header) error {
	for name, values := range h {
		switch {
		case !hasPrefixFold(name, expectPrefix):
		case !strings.EqualFold(name, "Nats-Expected-Stream"):
			return &pubAckError{400, 10071, "wrong last sequence: a queue has none"}
		case len(values) > 0 && values[0] != pubAckStream:
			return &pubAckError{400, 10060, "expected stream does not match"}
		}
	}
	return nil
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// pubAckStream is the name our publish acknowledgements give in place of a stream's.
const pubAckStream = "portico"

// pubAckError is an error as JetStream writes it.
type pubAckError struct {
	Status      int    `json:"code"`
	Number      int    `json:"err_code"`
	Description string `json:"description"`
}

// Error implements error.
func (e *pubAckError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.Number) }

// answerPublish answers like a JetStream stream: an acknowledgement when err is nil; duplicate: it had been kept before. The sequence number is 0, for a message may be in several queues.
func (t *tenant) answerPublish(reply string, duplicate bool, err error) {
	switch {
	case err == nil && duplicate:
		t.sendAnswer(reply, nil, []byte(`{"stream":"`+pubAckStream+`","seq":0,"duplicate":true}`))
		return
	case err == nil:
		t.sendAnswer(reply, nil, []byte(`{"stream":"`+pubAckStream+`","seq":0}`))
		return
	}
	told, ok := errors.AsType[*pubAckError](err)
	if !ok {
		e := AsError(err)
		told = &pubAckError{Status: 503, Number: 10077, Description: e.Code.String() + ": " + e.Detail}
	}
	body, err := json.Marshal(map[string]any{"error": told, "stream": pubAckStream, "seq": 0})
	if err != nil {
		t.gateway.log.LogAttrs(context.Background(), slog.LevelError, "encode publish error", slog.Any("err", err))
		return
	}
	t.sendAnswer(reply, nil, body)
}

// sendAnswer publishes where nothing may wait.
func (t *tenant) sendAnswer(reply string, header, data []byte) {
	if err := t.live.publish(reply, "", header, data, false); err != nil {
		t.gateway.log.Debug("answer to a native client dropped", "err", err)
	}
}
