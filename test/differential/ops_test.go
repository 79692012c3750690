package differential

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"portico/adapters/amqp/wire"
)

// has tells whether a word is among the flags of an operation.
func has(flags, word string) bool { return slices.Contains(strings.Fields(flags), word) }

// first is the one table of optional arguments, or none.
func first(args []wire.Table) wire.Table {
	if len(args) == 0 {
		return nil
	}
	return args[0]
}

// label joins what an operation is called in the report.
func label(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), " ")
}

func argsLabel(args wire.Table) string {
	if args == nil {
		return ""
	}
	return table(args)
}

// do is every operation: it gets the channel ready, runs and notes the outcome. An error that came in between is noted before.
func (ch *channel) do(op string, run func() string) string {
	name := fmt.Sprintf("%s%d ", ch.conn.name, ch.id)
	if ch.closed != "" && !ch.told {
		ch.conn.s.note(name+"unasked", ch.closed)
	}
	ch.ready()
	got := ch.over()
	if got == "" {
		got = run()
	}
	ch.told = strings.Contains(got, ch.closed)
	ch.conn.s.note(name+op, got)
	return got
}

// call sends a method and notes the answer.
func (ch *channel) call(op string, m wire.Method) (e event) {
	ch.do(op, func() (got string) {
		e, got = ch.roundTrip(m)
		if got != "" {
			return got
		}
		return answer(e)
	})
	return e
}

// tell sends a method that has no answer, and notes whether it was an error.
func (ch *channel) tell(op string, m wire.Method) {
	ch.do(op, func() string {
		ch.conn.send(ch.id, m)
		if why := ch.barrier(); why != "" {
			return why
		}
		return "ok"
	})
}

// queue declares. Flags: passive, durable, exclusive, autodelete. It returns the queue's name.
func (ch *channel) queue(name, flags string, args ...wire.Table) string {
	a := first(args)
	e := ch.call(label("queue.declare", quote(name), flags, argsLabel(a)), &wire.QueueDeclare{
		Queue: name, Passive: has(flags, "passive"), Durable: has(flags, "durable"), Exclusive: has(flags, "exclusive"),
		AutoDelete: has(flags, "autodelete"), Arguments: a,
	})
	if ok, is := e.method.(*wire.QueueDeclareOk); is {
		name = ok.Queue
		ch.conn.s.queues[name] = true
	}
	return name
}

// exchange declares. Flags: passive, durable, autodelete, internal.
func (ch *channel) exchange(name, kind, flags string, args ...wire.Table) {
	a := first(args)
	ch.conn.s.exchanges[name] = true
	ch.call(label("exchange.declare", quote(name), kind, flags, argsLabel(a)), &wire.ExchangeDeclare{
		Exchange: name, Type: kind, Passive: has(flags, "passive"), Durable: has(flags, "durable"), AutoDelete: has(flags, "autodelete"),
		Internal: has(flags, "internal"), Arguments: a,
	})
}

func (ch *channel) bind(queue, exchange, key string, args ...wire.Table) {
	a := first(args)
	ch.call(label("queue.bind", quote(queue), quote(exchange), quote(key), argsLabel(a)),
		&wire.QueueBind{Queue: queue, Exchange: exchange, RoutingKey: key, Arguments: a})
}

func (ch *channel) unbind(queue, exchange, key string, args ...wire.Table) {
	a := first(args)
	ch.call(label("queue.unbind", quote(queue), quote(exchange), quote(key), argsLabel(a)),
		&wire.QueueUnbind{Queue: queue, Exchange: exchange, RoutingKey: key, Arguments: a})
}

func (ch *channel) bindExchange(to, from, key string, args ...wire.Table) {
	a := first(args)
	ch.call(label("exchange.bind", quote(to), quote(from), quote(key), argsLabel(a)),
		&wire.ExchangeBind{Destination: to, Source: from, RoutingKey: key, Arguments: a})
}

func (ch *channel) unbindExchange(to, from, key string) {
	ch.call(label("exchange.unbind", quote(to), quote(from), quote(key)), &wire.ExchangeUnbind{Destination: to, Source: from, RoutingKey: key})
}

// deleteQueue has the flags if-unused and if-empty.
func (ch *channel) deleteQueue(name, flags string) {
	ch.call(label("queue.delete", quote(name), flags), &wire.QueueDelete{Queue: name, IfUnused: has(flags, "if-unused"), IfEmpty: has(flags, "if-empty")})
}

// deleteExchange has the flag if-unused.
func (ch *channel) deleteExchange(name, flags string) {
	ch.call(label("exchange.delete", quote(name), flags), &wire.ExchangeDelete{Exchange: name, IfUnused: has(flags, "if-unused")})
}

func (ch *channel) purge(name string) {
	ch.call(label("queue.purge", quote(name)), &wire.QueuePurge{Queue: name})
}

// count is a passive declaration: what is ready, and who consumes.
func (ch *channel) count(name string) { ch.queue(name, "passive") }

// get has the flag noack. The outcome has the delivery tag only where it is of use.
func (ch *channel) get(name, flags string) {
	ch.do(label("basic.get", quote(name), flags), func() string {
		e, why := ch.roundTrip(&wire.BasicGet{Queue: name, NoAck: has(flags, "noack")})
		if why != "" {
			return why
		}
		got := answer(e)
		if has(flags, "noack") {
			_, untagged, ok := strings.Cut(got, " ")
			if ok {
				return untagged
			}
		}
		return got
	})
}

// consume has the flags noack, exclusive and nolocal.
func (ch *channel) consume(queue, tag, flags string, args ...wire.Table) {
	a := first(args)
	ch.call(label("basic.consume", quote(queue), quote(tag), flags, argsLabel(a)), &wire.BasicConsume{
		Queue: queue, ConsumerTag: tag, NoAck: has(flags, "noack"), Exclusive: has(flags, "exclusive"), NoLocal: has(flags, "nolocal"), Arguments: a,
	})
}

func (ch *channel) cancel(tag string) {
	ch.call(label("basic.cancel", quote(tag)), &wire.BasicCancel{ConsumerTag: tag})
}

// qos has the flag global.
func (ch *channel) qos(count uint16, flags string) {
	ch.call(label("basic.qos", fmt.Sprint(count), flags), &wire.BasicQos{PrefetchCount: count, Global: has(flags, "global")})
}

// ack has the flag multiple.
func (ch *channel) ack(tag uint64, flags string) {
	ch.tell(label("basic.ack", fmt.Sprint(tag), flags), &wire.BasicAck{DeliveryTag: tag, Multiple: has(flags, "multiple")})
}

// nack has the flags multiple and requeue.
func (ch *channel) nack(tag uint64, flags string) {
	ch.tell(label("basic.nack", fmt.Sprint(tag), flags), &wire.BasicNack{DeliveryTag: tag, Multiple: has(flags, "multiple"), Requeue: has(flags, "requeue")})
}

// reject has the flag requeue.
func (ch *channel) reject(tag uint64, flags string) {
	ch.tell(label("basic.reject", fmt.Sprint(tag), flags), &wire.BasicReject{DeliveryTag: tag, Requeue: has(flags, "requeue")})
}

func (ch *channel) recover(requeue bool) {
	ch.call(fmt.Sprintf("basic.recover requeue=%t", requeue), &wire.BasicRecover{Requeue: requeue})
}

// confirm puts the channel into confirm mode: publish waits for its confirm from then on.
func (ch *channel) confirm() {
	ch.call("confirm.select", &wire.ConfirmSelect{})
	ch.confirming = ch.open
}

func (ch *channel) tx(verb string) {
	ch.call("tx."+verb, map[string]wire.Method{"select": &wire.TxSelect{}, "commit": &wire.TxCommit{}, "rollback": &wire.TxRollback{}}[verb])
}

// close ends the channel, which stays ended until the next operation on it.
func (ch *channel) close() {
	ch.call("channel.close", &wire.ChannelClose{ReplyCode: wire.ReplySuccess, ReplyText: "bye"})
	ch.open, ch.confirming = false, false
}

// expectCancels notes n cancellations by the server, in any order.
func (ch *channel) expectCancels(n int) {
	ch.do(fmt.Sprintf("expect %d cancellations", n), func() string {
		all := ch.deliveries(n)
		slices.Sort(all)
		return strings.Join(all, " | ")
	})
}

// A msg is what to publish. The zero value is an empty body without properties.
type msg struct {
	body  string
	props wire.Properties
	flags string // mandatory, immediate
}

func (m msg) label() string {
	p := m.props
	return label(body([]byte(m.body)), m.flags, properties(p))
}

func (ch *channel) sendMessage(exchange, key string, m msg) {
	b := wire.AppendMethod(nil, ch.id, &wire.BasicPublish{
		Exchange: exchange, RoutingKey: key, Mandatory: has(m.flags, "mandatory"), Immediate: has(m.flags, "immediate"),
	})
	b = wire.AppendHeader(b, ch.id, wire.ClassBasic, uint64(len(m.body)), m.props.Append(nil))
	ch.conn.write(wire.AppendBody(b, ch.id, []byte(m.body), frameMax))
	ch.published++
}

// publish notes what came back of one message: its confirm, if the channel is in that mode, and whether it was returned.
func (ch *channel) publish(exchange, key string, m msg) string {
	return ch.do(label("basic.publish", quote(exchange), quote(key), m.label()), func() string {
		ch.sendMessage(exchange, key, m)
		if ch.confirming {
			return strings.Join(ch.confirmed(ch.published), ", ")
		}
		return ch.unconfirmed()
	})
}

// unconfirmed is what comes back of a publish on a channel without confirms: nothing, a return or an error.
func (ch *channel) unconfirmed() string {
	if why := ch.barrier(); why != "" {
		return why
	}
	if e, ok := ch.arrived(isReturn); ok {
		return returned(e)
	}
	return "ok"
}

// fill publishes plain messages to a queue, one for each word of bodies.
func (ch *channel) fill(queue, bodies string) {
	ch.do(label("fill", quote(queue), "with", bodies), func() string {
		words := strings.Fields(bodies)
		for _, word := range words {
			ch.sendMessage("", queue, msg{body: word})
		}
		if ch.confirming {
			return strings.Join(ch.confirmed(ch.published), ", ")
		}
		return ch.unconfirmed()
	})
}

// expect notes the next n deliveries (or cancellations) on the channel, and any that came too much.
func (ch *channel) expect(n int) {
	ch.do(fmt.Sprintf("expect %d", n), func() string { return strings.Join(ch.deliveries(n), " | ") })
}

// expectBodies is expect without who got what, and when: for what nobody promises.
func (ch *channel) expectBodies(n int) {
	ch.do(fmt.Sprintf("expect %d to anybody", n), func() string {
		all := ch.deliveries(n)
		for i := range all {
			if words := strings.SplitN(all[i], " ", 4); len(words) == 4 {
				all[i] = words[3]
			}
		}
		slices.Sort(all)
		return strings.Join(all, " | ")
	})
}

// expectShares notes how many of n deliveries each consumer got.
func (ch *channel) expectShares(n int) {
	ch.do(fmt.Sprintf("expect shares of %d", n), func() string {
		shares := map[string]int{}
		for _, d := range ch.deliveries(n) {
			words := strings.Fields(d)
			shares[words[min(2, len(words)-1)]]++
		}
		return fmt.Sprint(shares)
	})
}

func (ch *channel) deliveries(n int) (all []string) {
	limit := time.Now().Add(patience)
	for len(all) < n {
		e, why := ch.await(limit, isDelivery)
		if why != "" {
			return append(all, why)
		}
		all = append(all, delivered(e))
	}
	for {
		e, why := ch.await(time.Now().Add(quiet), isDelivery)
		if why != "" {
			break
		}
		all = append(all, "too much: "+delivered(e))
	}
	if len(all) == 0 {
		return []string{"none"}
	}
	return all
}

// until polls a queue's counts until so many messages are ready.
func (ch *channel) until(queue string, ready uint32) {
	ch.poll(fmt.Sprintf("until %q has %d", queue, ready), queue, func(ok *wire.QueueDeclareOk) (string, bool) {
		return fmt.Sprintf("ready=%d", ok.MessageCount), ok.MessageCount == ready
	})
}

// poll asks for a queue's counts until they are good, and notes what look made of those it saw last.
func (ch *channel) poll(op, queue string, look func(*wire.QueueDeclareOk) (text string, good bool)) {
	ch.do(op, func() string {
		for limit := time.Now().Add(patience); ; {
			e, why := ch.roundTrip(&wire.QueueDeclare{Queue: queue, Passive: true})
			if why != "" {
				return why
			}
			ok, is := e.method.(*wire.QueueDeclareOk)
			if !is {
				return answer(e)
			}
			if text, good := look(ok); good || time.Now().After(limit) {
				return text
			}
			ch.conn.pump(10 * time.Millisecond)
		}
	})
}

// untilMissing polls until there is no such queue, or one that is somebody else's is no more.
func (ch *channel) untilMissing(queue string) {
	ch.do(fmt.Sprintf("until there is no %q", queue), func() string {
		for limit := time.Now().Add(patience); ; ch.conn.pump(10 * time.Millisecond) {
			ch.ready()
			_, why := ch.roundTrip(&wire.QueueDeclare{Queue: queue, Passive: true})
			if strings.HasPrefix(why, "channel 404") || time.Now().After(limit) {
				return why
			}
		}
	})
}

// untilGone polls the default exchange until it returns a message for the queue. Unlike a declaration that does not count as use.
// The channel must not be in confirm mode.
func (ch *channel) untilGone(queue string) {
	ch.do(fmt.Sprintf("until %q is gone", queue), func() string {
		for limit := time.Now().Add(patience); time.Now().Before(limit); ch.conn.pump(10 * time.Millisecond) {
			ch.sendMessage("", queue, msg{body: "anybody?", flags: "mandatory"})
			if got := ch.unconfirmed(); strings.HasPrefix(got, "return") {
				return "gone"
			}
		}
		return "still there"
	})
}

func quote(s string) string { return fmt.Sprintf("%q", s) }

// wait lets time pass: for what has to expire, or must not.
func (ch *channel) wait(d time.Duration) {
	ch.do("wait "+d.String(), func() string {
		ch.conn.pump(d)
		return "ok"
	})
}

// expectNone notes deliveries that should not be.
func (ch *channel) expectNone() {
	ch.do("expect none", func() string { return strings.Join(ch.deliveries(0), " | ") })
}

// whatever notes the deliveries of the next moments, however many.
func (ch *channel) whatever() {
	ch.do("deliveries", func() string {
		ch.conn.pump(2 * quiet)
		return strings.ReplaceAll(strings.Join(ch.deliveries(0), " | "), "too much: ", "")
	})
}

// untilConsumers polls a queue's counts until it has so many consumers.
func (ch *channel) untilConsumers(queue string, n uint32) {
	ch.poll(fmt.Sprintf("until %q has %d consumers", queue, n), queue, func(ok *wire.QueueDeclareOk) (string, bool) {
		return fmt.Sprintf("consumers=%d", ok.ConsumerCount), ok.ConsumerCount == n
	})
}

// returns notes what has come back since.
func (ch *channel) returns() {
	ch.do("returns", func() string {
		if why := ch.barrier(); why != "" {
			return why
		}
		if e, ok := ch.arrived(isReturn); ok {
			return returned(e)
		}
		return "none"
	})
}

// takeReplyTo gets a message and gives its reply-to.
func (ch *channel) takeReplyTo(queue string) (to string) {
	e := ch.call(label("basic.get", quote(queue), "noack"), &wire.BasicGet{Queue: queue, NoAck: true})
	if e.props.ReplyTo == "" {
		return "no.reply-to"
	}
	return e.props.ReplyTo
}
