package amqp

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"sync"

	"portico/adapters/amqp/wire"
	"portico/core"
)

// Direct reply-to [RMQ]: a channel consumes the pseudo-queue amq.rabbitmq.reply-to, publishes with that reply_to, and whoever answers publishes to the default exchange
// with the key it finds in reply_to instead: amq.rabbitmq.reply-to.TOKEN.
//
// TOKEN is a bus subject, sealed: an inbox. A request that came by another door has a token for its reply subject; a request from here carries, as its Reply on
// the bus, an inbox of this node, so that every door can answer it:
//
//	_INBOX.amqpNODE.CHANNEL.CORRELATION   to a channel that consumes replies
//	_INBOX.amqp-queue.QUEUE.CORRELATION   to a queue named in reply_to
//
// CORRELATION is the request's correlation_id, for answers that do not carry it ("_" for none); QUEUE is sealed.
const (
	directReplyTo = "amq.rabbitmq.reply-to"
	replyPrefix   = directReplyTo + "."

	queueInbox = "_INBOX.amqp-queue"
	replyGroup = "amqp"

	noCorrelation = "_"
)

// sealKey is the entry of topologyTable with the key of the seals, one for all nodes.
const sealKey = "seal"

// sealBytes is how much of the HMAC is in a seal.
const sealBytes = 9

// replies is direct reply-to for all channels.
type replies struct {
	// immutable
	vhost *vhost
	key   []byte
	inbox string // "_INBOX.amqpNODE"
	subs  []*core.Subscription

	// guarded by mu
	mu       sync.RWMutex
	byToken  map[string]*replyConsumer
	byNumber map[string]*replyConsumer // by the third word of the inbox
}

// replyConsumer is a channel that consumes replies. It is immutable.
type replyConsumer struct {
	channel *channel
	tag     string
	number  string
	token   string
	inbox   string // without the correlation
}

func openReplies(ctx context.Context, v *vhost) (*replies, error) {
	key, err := sealingKey(ctx, v.table)
	if err != nil {
		return nil, err
	}
	r := &replies{
		vhost: v, key: key, inbox: "_INBOX.amqp" + rand.Text(),
		byToken: map[string]*replyConsumer{}, byNumber: map[string]*replyConsumer{},
	}
	direct, err := v.bus.Subscribe(r.inbox+".>", "", r.toChannel)
	if err != nil {
		return nil, err
	}
	queues, err := v.bus.Subscribe(queueInbox+".>", replyGroup, r.toQueue)
	if err != nil {
		direct.Unsubscribe()
		return nil, err
	}
	r.subs = []*core.Subscription{direct, queues}
	return r, nil
}

// sealingKey reads the key, or makes it.
func sealingKey(ctx context.Context, t *core.Table) ([]byte, error) {
	for {
		e, err := t.Get(ctx, sealKey)
		if err == nil {
			return e.Value, nil
		}
		if core.AsError(err).Code != core.CodeNotFound {
			return nil, err
		}
		key := make([]byte, sha256.Size)
		rand.Read(key)
		if _, err := t.Update(ctx, sealKey, key, 0); err == nil {
			return key, nil
		} else if core.AsError(err).Code != core.CodePreconditionFailed {
			return nil, err
		}
	}
}

func (r *replies) close() {
	for _, s := range r.subs {
		s.Unsubscribe()
	}
}

// seal returns text as a token that only a gateway can make.
func (r *replies) seal(text string) string {
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(append(mac.Sum(nil)[:sealBytes], text...))
}

// unseal undoes seal.
func (r *replies) unseal(token string) (text string, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < sealBytes {
		return "", false
	}
	mac := hmac.New(sha256.New, r.key)
	mac.Write(b[sealBytes:])
	return string(b[sealBytes:]), hmac.Equal(mac.Sum(nil)[:sealBytes], b[:sealBytes])
}

// open registers ch for replies.
func (r *replies) open(ch *channel, tag string) *replyConsumer {
	c := &replyConsumer{channel: ch, tag: tag, number: rand.Text()}
	c.inbox = r.inbox + "." + c.number
	c.token = r.seal(c.inbox + "." + noCorrelation)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byToken[c.token], r.byNumber[c.number] = c, c
	return c
}

func (r *replies) drop(c *replyConsumer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byToken, c.token)
	delete(r.byNumber, c.number)
}

func (r *replies) local(token string) *replyConsumer {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byToken[token]
}

// answer delivers what was published with the key of token: to a channel of this node, or to the inbox on the bus. reached false: nobody is there.
func (r *replies) answer(token string, record []byte) (reached bool, err error) {
	e, err := core.OpenEnvelope(record)
	if err != nil {
		return false, err
	}
	if c := r.local(token); c != nil {
		_, _, raw, _ := splitProps(e.Props)
		return c.deliver(raw, e.Data), nil
	}
	subject, ok := r.unseal(token)
	if !ok || strings.HasPrefix(subject, r.inbox+".") || !r.vhost.bus.Interest(subject) {
		return false, nil
	}
	m, err := liveMessage(subject, record)
	if err != nil {
		return false, err
	}
	return true, r.vhost.bus.PublishLive(m)
}

// alive tells whether a token leads anywhere.
func (r *replies) alive(token string) bool {
	if r.local(token) != nil {
		return true
	}
	subject, ok := r.unseal(token)
	return ok && !strings.HasPrefix(subject, r.inbox+".") && r.vhost.bus.Interest(subject)
}

// toChannel takes answers from other doors. It is a subscription's callback.
func (r *replies) toChannel(m *core.Message) {
	number, correlation, _ := strings.Cut(strings.TrimPrefix(m.Subject, r.inbox+"."), ".")
	r.mu.RLock()
	c := r.byNumber[number]
	r.mu.RUnlock()
	if c == nil {
		return
	}
	c.deliver(r.vhost.textProperties(correlated(m.Header, correlation), m.Reply), m.Data)
}

// toQueue takes answers from other doors to a queue that a request named in reply_to.
func (r *replies) toQueue(m *core.Message) {
	token, correlation, _ := strings.Cut(strings.TrimPrefix(m.Subject, queueInbox+"."), ".")
	name, ok := r.unseal(token)
	if !ok {
		return
	}
	if q := r.vhost.bus.Lookup(name); q != nil {
		q.AppendFunc(core.SealRecord(&core.Message{Reply: m.Reply, Header: correlated(m.Header, correlation), Data: m.Data}), nil)
	}
}

// correlated returns h with the correlation id that the inbox remembers, unless h has one.
func correlated(h core.Header, correlation string) core.Header {
	if h.Get(core.HeaderCorrelationID) != "" || correlation == "" || correlation == noCorrelation {
		return h
	}
	id, err := base64.RawURLEncoding.DecodeString(correlation)
	if err != nil || !readable(string(id)) {
		return h
	}
	with := core.Header{core.HeaderCorrelationID: {string(id)}}
	for name, values := range h {
		with[name] = values
	}
	return with
}

// maxReplyWait is how much may wait for a client before answers to it are dropped: a reply consumer has no credit that could hold them back.
const maxReplyWait = 2 * outMax

// deliver sends one answer to the client. Any goroutine may call it.
func (c *replyConsumer) deliver(raw, body []byte) bool {
	ch := c.channel
	if ch.conn.out.pending.Load() > maxReplyWait {
		ch.conn.log.Debug("reply dropped: the client does not read", "channel", ch.id)
		return false
	}
	if len(raw)+headerOverhead > int(ch.conn.frameMax) {
		raw = withoutHeaders(raw)
	}
	p := parcel{key: []byte(replyPrefix + c.token), properties: raw, body: body}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.ended {
		return false
	}
	ch.tag++
	out := ch.conn.out
	out.end(ch.appendDelivery(out.begin(), c.tag, false, p))
	ch.conn.adapter.metrics.Out.Inc()
	ch.conn.adapter.metrics.BytesOut.Add(float64(len(body)))
	return true
}

// consumeReplies is basic.consume on amq.rabbitmq.reply-to.
func (ch *channel) consumeReplies(m *wire.BasicConsume) error {
	if !m.NoAck {
		return wire.ChanErrorf(wire.PreconditionFailed, "reply consumer cannot acknowledge")
	}
	if ch.reply != nil {
		return wire.ChanErrorf(wire.PreconditionFailed, "reply consumer already set")
	}
	k := &consumer{tag: m.ConsumerTag}
	if err := ch.claimTag(k); err != nil {
		return err
	}
	ch.releaseTag(k) // from here on ch.reply has it
	ch.reply = ch.vhost().replies.open(ch, k.tag)
	ch.answer(m.NoWait, &wire.BasicConsumeOk{ConsumerTag: k.tag})
	return nil
}

func (ch *channel) endReply() {
	if ch.reply != nil {
		ch.vhost().replies.drop(ch.reply)
		ch.reply = nil
	}
}

// declareReply is queue.declare on a name of direct reply-to: a question whether somebody is there.
func (ch *channel) declareReply(m *wire.QueueDeclare, name string) error {
	if token, ok := strings.CutPrefix(name, replyPrefix); ok && !ch.vhost().replies.alive(token) {
		return noQueue(name, ch.vhost().name)
	} else if !ok && name != directReplyTo {
		return noQueue(name, ch.vhost().name)
	}
	ch.answer(m.NoWait, &wire.QueueDeclareOk{Queue: name, ConsumerCount: 1})
	return nil
}

// replyTo acts on a message's reply_to: direct reply-to's name becomes the channel's own address, and whatever it names gets a subject for the other doors.
func (ch *channel) replyTo(raw []byte) (kept []byte, reply string, err error) {
	name := wire.PeekReplyTo(raw)
	r, correlation := ch.vhost().replies, wire.PeekCorrelationID(raw)
	switch {
	case len(name) == 0:
		return raw, "", nil
	case string(name) == directReplyTo:
		if ch.reply == nil {
			return nil, "", wire.ChanErrorf(wire.PreconditionFailed, "fast reply consumer does not exist")
		}
		return withReplyTo(raw, replyPrefix+ch.reply.token), ch.reply.inbox + "." + correlationWord(correlation), nil
	case strings.HasPrefix(string(name), replyPrefix):
		subject, ok := r.unseal(string(name[len(replyPrefix):]))
		if !ok {
			return raw, "", nil
		}
		return raw, subject, nil
	}
	if string(name) != ch.answersTo.queue {
		ch.answersTo.queue = string(name)
		ch.answersTo.inbox = queueInbox + "." + r.seal(ch.answersTo.queue)
	}
	return raw, ch.answersTo.inbox + "." + correlationWord(correlation), nil
}

// correlationWord is a correlation id as the last word of an inbox.
func correlationWord(id []byte) string {
	if len(id) == 0 {
		return noCorrelation
	}
	return base64.RawURLEncoding.EncodeToString(id)
}

// withReplyTo replaces the reply_to of a valid property list that has one.
func withReplyTo(raw []byte, name string) []byte {
	at, old := replyToAt(raw)
	out := make([]byte, 0, len(raw)-old+len(name))
	out = append(append(out, raw[:at]...), byte(len(name)))
	out = append(out, name...)
	return append(out, raw[at+1+old:]...)
}

// replyToAt is where the length octet of reply_to is, and how long the value is. Before it come at most five properties.
func replyToAt(raw []byte) (at, length int) {
	flags := binary.BigEndian.Uint16(raw)
	at = 2
	for flag := wire.FlagContentType; flag > wire.FlagReplyTo; flag >>= 1 {
		switch {
		case flags&flag == 0:
		case flag == wire.FlagHeaders:
			at += 4 + int(binary.BigEndian.Uint32(raw[at:]))
		case flag == wire.FlagDeliveryMode || flag == wire.FlagPriority:
			at++
		default:
			at += 1 + int(raw[at])
		}
	}
	return at, int(raw[at])
}
