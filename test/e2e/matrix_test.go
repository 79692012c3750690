package e2e

import (
	"errors"
	"strings"
	"testing"
	"time"

	"portico/core"
)

// pairs runs f for every ordered pair of doors that have the verbs.
func (h *house) pairs(t *testing.T, from, to func(*door) bool, f func(t *testing.T, from, to *door)) {
	t.Helper()
	ran := 0
	for _, a := range h.doors {
		for _, b := range h.doors {
			if from(a) && to(b) {
				ran++
				t.Run(a.name+" to "+b.name, func(t *testing.T) { f(t, a, b) })
			}
		}
	}
	if ran == 0 {
		t.Error("no pair of doors has these verbs")
	}
}

func publishes(d *door) bool  { return d.publish != nil }
func subscribes(d *door) bool { return d.subscribe != nil }
func requests(d *door) bool   { return d.request != nil }
func serves(d *door) bool     { return d.serve != nil }
func appends(d *door) bool    { return d.append != nil }
func consumes(d *door) bool   { return d.consume != nil }

// subjectOf makes a subject of a test's own.
func subjectOf(t *testing.T) string {
	return "e2e." + strings.ToLower(strings.NewReplacer("/", ".", "_", "-").Replace(t.Name()))
}

func TestPublishReachesEveryDoorFromEveryDoor(t *testing.T) {
	h := open(t)
	h.pairs(t, publishes, subscribes, func(t *testing.T, from, to *door) {
		sent := sample(subjectOf(t))
		arrived := to.subscribe(t, sent.subject)
		must(t, from.publish(t, sent))
		got := receive(t, arrived, "message")
		intact(t, got, sent, from.headers && to.headers)
		if got.subject != sent.subject {
			t.Errorf("subject %q arrived as %q", sent.subject, got.subject)
		}
	})
}

func TestOneMessageReachesAllDoorsAndAQueue(t *testing.T) {
	h := open(t)
	for _, from := range h.doors {
		t.Run("from "+from.name, func(t *testing.T) {
			sent := sample(subjectOf(t))
			h.declare(t, "all "+from.name)
			must(t, h.bus.Bind(within(t), core.Binding{Pattern: sent.subject[:strings.LastIndex(sent.subject, ".")] + ".>", Queue: "all " + from.name}))
			arrived := make(map[*door]<-chan message)
			for _, to := range h.doors {
				arrived[to] = to.subscribe(t, sent.subject)
			}
			must(t, from.publish(t, sent))
			for to, c := range arrived {
				t.Run("to "+to.name, func(t *testing.T) {
					intact(t, receive(t, c, "message"), sent, from.headers && to.headers)
				})
			}
			for _, to := range h.doors {
				if to.consume != nil {
					c := to.consume(t, "all "+from.name, 0)
					d := c.next()
					intact(t, d.message, sent, from.headers)
					c.nack(d)
					c.vanish()
				}
			}
		})
	}
}

func TestRequestsAreAnsweredFromEveryDoorAtEveryDoor(t *testing.T) {
	h := open(t)
	h.pairs(t, requests, serves, func(t *testing.T, from, to *door) {
		question := sample(subjectOf(t))
		asked := make(chan message, 1)
		answer := sample("")
		answer.data, answer.header["color"] = []byte("the answer\x00\xff"), "green"
		stop := to.serve(t, question.subject, func(m message) message {
			asked <- m
			return answer
		})
		got, err := from.request(t, question)
		must(t, err)
		intact(t, receive(t, asked, "request"), question, true)
		intact(t, got, answer, true)
		stop()
		h.nobody(t, from, question)
	})
}

// nobody waits until the responder is really gone (some protocols go without an answer), and wants to be told at once then.
func (h *house) nobody(t *testing.T, from *door, question message) {
	t.Helper()
	until(t, "the responder is gone", func() bool { return !h.bus.Interest(question.subject) })
	begun := time.Now()
	if m, err := from.request(t, question); !errors.Is(err, errNobody) {
		t.Errorf("without a responder: %v, %v", m, err)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("told after %v", took)
	}
}

func (h *house) declare(t *testing.T, queue string) *core.Queue {
	t.Helper()
	q, _, err := h.bus.DeclareQueue(within(t), core.QueueConfig{Name: queue, Durable: true})
	must(t, err)
	return q
}

// empty waits until the queue holds nothing, not even for somebody.
func empty(t *testing.T, q *core.Queue) {
	t.Helper()
	until(t, "the queue is empty", func() bool {
		stats, err := q.Stats()
		must(t, err)
		return stats.Ready+stats.Unacked+stats.Dying == 0
	})
}

func (d delivery) is(t *testing.T, n string, redelivered bool) delivery {
	t.Helper()
	if string(d.data) != n || d.header["n"] != n || d.redelivered != redelivered {
		t.Errorf("got %q (header %v, redelivered %v), want %q (redelivered %v)", d.data, d.header, d.redelivered, n, redelivered)
	}
	return d
}

// queues runs f for every ordered pair of doors with a queue that one has filled and the other consumes; it must be empty afterwards.
func (h *house) queues(t *testing.T, fill []message, f func(t *testing.T, consume func() consumer)) {
	t.Helper()
	h.pairs(t, appends, consumes, func(t *testing.T, from, to *door) {
		q := h.declare(t, subjectOf(t))
		for _, m := range fill {
			must(t, from.append(t, q.Name(), m))
		}
		f(t, func() consumer { return to.consume(t, q.Name(), 0) })
		empty(t, q)
	})
}

func TestQueueAppendConsumeAck(t *testing.T) {
	sent := sample("")
	open(t).queues(t, []message{sent, numbered("second")}, func(t *testing.T, consume func() consumer) {
		c := consume()
		first := c.next()
		intact(t, first.message, sent, true)
		if first.redelivered {
			t.Error("the first delivery says redelivered")
		}
		c.ack(first)
		c.ack(c.next().is(t, "second", false))
	})
}

// three messages.
func three() []message { return []message{numbered("1"), numbered("2"), numbered("3")} }

func TestQueueNackReturnsToItsPosition(t *testing.T) {
	open(t).queues(t, three(), func(t *testing.T, consume func() consumer) {
		c := consume()
		one := c.next().is(t, "1", false)
		two := c.next().is(t, "2", false)
		c.nack(one)
		again := c.next().is(t, "1", true)
		c.ack(two)
		c.ack(again)
		c.ack(c.next().is(t, "3", false))
	})
}

func TestQueueConsumerGoneMeansRedeliveredAtOnce(t *testing.T) {
	open(t).queues(t, three(), func(t *testing.T, consume func() consumer) {
		first := consume()
		first.next().is(t, "1", false)
		first.next().is(t, "2", false)
		second := consume()
		third := second.next().is(t, "3", false)
		first.vanish()
		second.ack(third)
		second.ack(second.next().is(t, "1", true))
		second.ack(second.next().is(t, "2", true))
	})
}
