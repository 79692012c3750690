package e2e

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"portico/core"
	"portico/core/queue"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// scene is a queue with a rule: one door declares it, others use it.
type scene struct {
	*testing.T
	*house
	queue, dead                            string // names of the queue and of the one for its dead letters
	declarer, publisher, consumer, mourner *door  // the mourner takes the dead letters
}

// scenes are sixteen, so that in every two roles each door meets each door once: rows, columns and two Latin squares that are orthogonal.
func (h *house) scenes(t *testing.T, play func(*scene)) {
	t.Helper()
	var doors []*door
	for _, d := range h.doors {
		if declares(d) && consumes(d) {
			doors = append(doors, d)
		}
	}
	if len(doors) != 4 {
		t.Fatalf("%d doors have queues: the squares are made for 4", len(doors))
	}
	twice := [...]int{0, 2, 3, 1} // in the field of four elements, where ^ is addition
	for i := range 4 {
		for j := range 4 {
			declarer, consumer, publisher, mourner := doors[i], doors[j], doors[i^j], doors[i^twice[j]]
			name := fmt.Sprintf("%s declares, %s publishes, %s consumes, %s mourns", declarer.name, publisher.name, consumer.name, mourner.name)
			t.Run(name, func(t *testing.T) {
				queue := fmt.Sprintf("%s.%d%d", subjectOf(t), i, j)
				play(&scene{t, h, queue, queue + ".dead", declarer, publisher, consumer, mourner})
			})
		}
	}
}

func TestRulesHoldAtEveryDoor(t *testing.T) {
	h := open(t)
	for name, play := range map[string]func(*scene){
		"TTL of the queue":                    (*scene).queueTTL,
		"TTL of the message":                  (*scene).messageTTL,
		"dead letters to a queue":             (*scene).deadToQueue,
		"dead letters to a subject":           (*scene).deadToSubject,
		"dead letters to an exchange":         (*scene).deadToExchange,
		"dead letters keep their routing key": (*scene).deadKeepsKey,
		"length, drop-head":                   func(s *scene) { s.dropHead(core.QueueRules{MaxLength: queue.AtMost(2)}) },
		"bytes, drop-head":                    func(s *scene) { s.dropHead(core.QueueRules{MaxBytes: queue.AtMost(2)}) },
		"length, reject-publish":              (*scene).rejectPublish,
		"length, reject-publish-dlx":          (*scene).rejectPublishDLX,
		"priorities":                          (*scene).priorities,
		"single active consumer":              (*scene).singleActive,
		"delivery limit":                      (*scene).deliveryLimit,
	} {
		t.Run(name, func(t *testing.T) { h.scenes(t, play) })
	}
}

// declare declares the scene's queue, and before it the one for its dead letters.
func (s *scene) declare(q core.QueueConfig) {
	s.Helper()
	must(s.T, s.mourner.declare(s.T, core.QueueConfig{Name: s.dead}))
	q.Name = s.queue
	must(s.T, s.declarer.declare(s.T, q))
}

// buried adds to rules that the dead go to the scene's queue for them.
func (s *scene) buried(r core.QueueRules) core.QueueConfig {
	r.DeadLetter.Queue = s.dead
	return core.QueueConfig{QueueRules: r}
}

func (s *scene) append(n string, header ...string) {
	s.Helper()
	m := numbered(n)
	for i := 0; i < len(header); i += 2 {
		m.header[header[i]] = header[i+1]
	}
	must(s.T, s.publisher.append(s.T, s.queue, m))
}

func (s *scene) consume() consumer { s.Helper(); return s.consumer.consume(s.T, s.queue, 0) }

// takes acks what must come, in this order, delivered for the first time.
func (s *scene) takes(c consumer, all ...string) {
	s.Helper()
	for _, n := range all {
		c.ack(c.next().is(s.T, n, false))
	}
}

// mourn wants the dead letters, in this order, and nothing left in the queue.
func (s *scene) mourn(reason string, all ...string) {
	s.Helper()
	c := s.mourner.consume(s.T, s.dead, 0)
	for _, n := range all {
		d := c.next().is(s.T, n, false)
		s.isDead(d.message, reason)
		c.ack(d)
	}
	s.empty(s.queue)
}

// isDead checks what a dead letter says of its death: in the gateway's headers, or in RabbitMQ's if it came by AMQP or over an exchange.
func (s *scene) isDead(m message, reason string) {
	s.Helper()
	why, where := m.header[core.HeaderDeathReason], m.header[core.HeaderDeathQueue]
	if why == "" {
		why, where = m.header["x-first-death-reason"], m.header["x-first-death-queue"]
	}
	if why != reason || where != s.queue || m.header[core.HeaderExpiration] != "" {
		s.Errorf("dead with %v, want %s of %s", m.header, reason, s.queue)
	}
}

func (s *scene) empty(name string) {
	s.Helper()
	q, err := s.bus.Queue(name)
	must(s.T, err)
	empty(s.T, q)
}

func (s *scene) queueTTL() {
	s.declare(s.buried(core.QueueRules{TTL: queue.AtMost(5)}))
	s.append("1")
	s.append("2")
	s.mourn("expired", "1", "2")
}

func (s *scene) messageTTL() {
	s.declare(s.buried(core.QueueRules{}))
	s.append("mayfly", core.HeaderExpiration, "5")
	s.append("tortoise")
	c := s.mourner.consume(s.T, s.dead, 0)
	d := c.next().is(s.T, "mayfly", false)
	s.isDead(d.message, "expired")
	c.ack(d)
	s.takes(s.consume(), "tortoise")
	s.empty(s.queue)
}

// reject lets one message die by the hand of a consumer.
func (s *scene) reject(n string) {
	s.Helper()
	s.append(n)
	c := s.consume()
	c.reject(c.next().is(s.T, n, false))
}

func (s *scene) deadToQueue() {
	s.declare(s.buried(core.QueueRules{}))
	s.reject("1")
	s.mourn("rejected", "1")
}

func (s *scene) deadToSubject() {
	subject := s.queue + ".rejected"
	heard := s.listen(subject, func(*door) bool { return true })
	s.declare(core.QueueConfig{QueueRules: core.QueueRules{DeadLetter: core.DeadLetter{Subject: subject}}})
	s.reject("1")
	s.empty(s.queue)
	s.heardOnce(heard, subject)
}

// listen subscribes at doors.
func (s *scene) listen(subject string, at func(*door) bool) map[*door]<-chan message {
	s.Helper()
	heard := map[*door]<-chan message{}
	for _, d := range s.doors {
		if at(d) {
			heard[d] = d.subscribe(s.T, subject)
		}
	}
	return heard
}

// heardOnce wants dead letter 1 to have been heard, and nothing more.
func (s *scene) heardOnce(heard map[*door]<-chan message, subject string) {
	s.Helper()
	must(s.T, s.publisher.publish(s.T, message{subject: subject, data: []byte("the next one")}))
	for d, arrived := range heard {
		m := receive(s.T, arrived, "dead letter at "+d.name)
		if string(m.data) != "1" || m.subject != subject {
			s.Errorf("%s heard %q on %q", d.name, m.data, m.subject)
		}
		if d.headers {
			s.isDead(m, "rejected")
		}
		if m := receive(s.T, arrived, "message"); string(m.data) != "the next one" {
			s.Errorf("%s heard it twice: %q", d.name, m.data)
		}
	}
}

// exchange makes an exchange of which key leads to the queue for the dead.
func (s *scene) exchange(key string) (name string) {
	s.Helper()
	name = strings.ReplaceAll(s.queue, ".", "-")
	ch := dialRabbit(s.T, s.amqp).channel(s.T)
	must(s.T, ch.ExchangeDeclare(name, "direct", false, false, false, false, nil))
	must(s.T, ch.QueueBind(s.dead, key, name, false, nil))
	return name
}

func (s *scene) deadToExchange() {
	must(s.T, s.mourner.declare(s.T, core.QueueConfig{Name: s.dead}))
	name := s.exchange("gone")
	// An exchange is heard on the bus, too, though not by AMQP queues of another one.
	heard := s.listen(name+".gone", func(d *door) bool { return d.name != "AMQP" })
	must(s.T, s.declarer.declare(s.T, core.QueueConfig{Name: s.queue, QueueRules: core.QueueRules{
		DeadLetter: core.DeadLetter{Exchange: core.Some(name), RoutingKey: core.Some("gone")},
	}}))
	s.reject("1")
	c := s.mourner.consume(s.T, s.dead, 0)
	d := c.next().is(s.T, "1", false)
	s.isDead(d.message, "rejected")
	if first := d.header["x-first-death-queue"]; first != s.queue {
		s.Errorf("x-first-death-queue is %q", first)
	}
	if raw, ok := d.id.(amqp091.Delivery); ok {
		s.hasDied(raw)
		if raw.Exchange != name || raw.RoutingKey != "gone" {
			s.Errorf("it came over %q with %q", raw.Exchange, raw.RoutingKey)
		}
	}
	c.ack(d)
	s.heardOnce(heard, name+".gone")
	s.empty(s.queue)
}

// hasDied wants RabbitMQ's history of one death.
func (s *scene) hasDied(d amqp091.Delivery) {
	s.Helper()
	deaths, _ := d.Headers["x-death"].([]any)
	if len(deaths) != 1 {
		s.Fatalf("x-death is %v", d.Headers["x-death"])
	}
	if death, _ := deaths[0].(amqp091.Table); death["queue"] != s.queue || death["count"] != int64(1) || death["reason"] != "rejected" {
		s.Errorf("x-death is %v", death)
	}
}

// deadKeepsKey: what was appended to a queue has that queue's name as its routing key.
func (s *scene) deadKeepsKey() {
	must(s.T, s.mourner.declare(s.T, core.QueueConfig{Name: s.dead}))
	name := s.exchange(s.queue)
	must(s.T, s.declarer.declare(s.T, core.QueueConfig{Name: s.queue, QueueRules: core.QueueRules{DeadLetter: core.DeadLetter{Exchange: core.Some(name)}}}))
	s.reject("1")
	s.mourn("rejected", "1")
}

func (s *scene) dropHead(r core.QueueRules) {
	s.declare(s.buried(r))
	for n := range 4 {
		s.append(strconv.Itoa(n)) // a byte each
	}
	s.takes(s.consume(), "2", "3")
	s.mourn("maxlen", "0", "1")
}

// refused wants the publisher to be told that the queue is full, whichever way it tries.
func (s *scene) refused(n string) {
	s.Helper()
	subject := s.queue + ".new"
	must(s.T, s.bus.Bind(within(s.T), core.Binding{Pattern: subject, Queue: s.queue}))
	m := numbered(n)
	m.subject = subject
	for way, err := range map[string]error{"append": s.publisher.append(s.T, s.queue, numbered(n)), "publish": s.publisher.publish(s.T, m)} {
		if !errors.Is(err, errFull) {
			s.Errorf("%s to a full queue: %v", way, err)
		}
	}
}

func (s *scene) rejectPublish() {
	s.declare(s.buried(core.QueueRules{MaxLength: queue.AtMost(1), Overflow: queue.RejectPublish}))
	s.append("1")
	s.refused("2")
	c := s.consume()
	first := c.next().is(s.T, "1", false)
	s.append("3") // what is held does not count
	c.ack(first)
	s.takes(c, "3")
	s.mourn("maxlen") // nobody
	s.empty(s.dead)
}

func (s *scene) rejectPublishDLX() {
	s.declare(s.buried(core.QueueRules{MaxLength: queue.AtMost(1), Overflow: queue.RejectPublishDLX}))
	s.append("1")
	s.refused("2")
	s.takes(s.consume(), "1")
	s.mourn("maxlen", "2", "2") // both ways
}

func (s *scene) priorities() {
	s.declare(core.QueueConfig{MaxPriority: 5})
	s.append("none")
	s.append("low", core.HeaderPriority, "1")
	s.append("highest", core.HeaderPriority, "5")
	s.append("above", core.HeaderPriority, "200") // as good as the highest
	s.takes(s.consume(), "highest", "above", "low", "none")
	s.empty(s.queue)
}

func (s *scene) singleActive() {
	first, second := s.consumer, s.mourner
	if !first.lasting {
		first, second = second, first
	}
	if !first.lasting {
		s.Skipf("between its fetches %s is no consumer", first.name)
	}
	s.declare(core.QueueConfig{SingleActive: true})
	active := first.consume(s.T, s.queue, 0)
	next := second.consume(s.T, s.queue, 0)
	for _, n := range []string{"1", "2", "3"} {
		s.append(n)
	}
	active.next().is(s.T, "1", false)
	active.next().is(s.T, "2", false)
	active.vanish()
	for _, n := range []string{"1", "2"} {
		next.ack(next.next().is(s.T, n, true))
	}
	s.takes(next, "3")
	s.empty(s.queue)
}

func (s *scene) deliveryLimit() {
	q := s.buried(core.QueueRules{MaxDeliveries: 3})
	q.Type, q.Durable = core.QuorumQueue, true
	s.declare(q)
	s.append("1")
	c := s.consume()
	for n := range 3 {
		d := c.next().is(s.T, "1", n > 0)
		if n > 0 && d.attempt != n+1 {
			s.Errorf("delivery %d says it is number %d", n+1, d.attempt)
		}
		c.nack(d)
	}
	s.mourn("delivery_limit", "1")
}
