package amqp_test

import (
	"testing"

	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// leveled is a message of a priority; below 0 it has none.
type leveled struct {
	text     string
	priority int
}

func putLeveled(t testing.TB, ch *client.Channel, queue string, all ...leveled) {
	t.Helper()
	for _, m := range all {
		put(t, ch, "", queue, client.Publishing{DeliveryMode: client.Persistent, Priority: uint8(max(m.priority, 0)), Body: []byte(m.text)})
	}
}

// §1.6, §2: the highest first, within a level in order; above the queue's highest counts as that; none is 0. Nothing is redelivered at first.
func TestPriorityQueue(t *testing.T) {
	ch := open(t).confirming(t)
	transient(t, ch, "q", client.Table{"x-max-priority": int32(5)})
	putLeveled(t, ch, "q", []leveled{
		{"none", -1}, {"one", 1}, {"five", 5}, {"zero", 0}, {"nine", 9}, {"three", 3}, {"five again", 5}, {"all", 255},
	}...)
	for _, d := range drained(t, ch, "q", "five", "nine", "five again", "all", "three", "one", "none", "zero") {
		if d.Redelivered {
			t.Errorf("%q is redelivered", d.Body)
		}
		if string(d.Body) == "all" && d.Priority != 255 {
			t.Errorf("priority 255 came as %d", d.Priority)
		}
	}
}

// §1.6: what is returned goes back to its level, in front of what came later.
func TestPriorityOfTheReturned(t *testing.T) {
	ch := open(t).confirming(t)
	transient(t, ch, "q", client.Table{"x-max-priority": int32(5)})
	putLeveled(t, ch, "q", leveled{"a1", 1}, leveled{"b1", 1}, leveled{"c4", 4}, leveled{"d4", 4})
	for range 3 {
		hold(t, ch, "q")
	}
	putLeveled(t, ch, "q", leveled{"e2", 2})
	must(t, ch.Nack(0, true, true))
	drained(t, ch, "q", "c4", "d4", "e2", "a1", "b1")
}

// §1.6: a full priority queue drops its first, not its least.
func TestPriorityAndLength(t *testing.T) {
	ch := open(t).confirming(t)
	transient(t, ch, "q", client.Table{"x-max-priority": int32(5), "x-max-length": int32(2)})
	putLeveled(t, ch, "q", leveled{"high", 5}, leveled{"low", 1}, leveled{"middle", 3}, leveled{"low again", 1})
	drained(t, ch, "q", "low", "low again")
}

// §1.6: with a prefetch of one a consumer gets what is highest each time.
func TestPriorityWithAConsumer(t *testing.T) {
	d := open(t)
	ch, other := d.confirming(t), d.channel(t)
	transient(t, ch, "q", client.Table{"x-max-priority": int32(5)})
	must(t, other.Qos(1, 0, false))
	ds := value(other.Consume("q", "", false, false, false, false, nil))(t)
	putLeveled(t, ch, "q", leveled{"first come", 1})
	first := wantTexts(t, ds, "first come")[0]
	putLeveled(t, ch, "q", leveled{"one", 1}, leveled{"five", 5})
	must(t, first.Ack(false))
	for _, text := range []string{"five", "one"} {
		must(t, wantTexts(t, ds, text)[0].Ack(false))
	}
}

// §1.6: levels are there again after a restart.
func TestPriorityOverARestart(t *testing.T) {
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	ch := d.confirming(t)
	durable(t, ch, "q", client.Table{"x-max-priority": int32(9)})
	putLeveled(t, ch, "q", leveled{"a1", 1}, leveled{"b9", 9}, leveled{"c0", 0}, leveled{"d9", 9})
	drained(t, d.restart(t, dir).channel(t), "q", "b9", "d9", "a1", "c0")
}

// §1.6: a queue without x-max-priority does not look at priorities.
func TestPriorityNeedsTheArgument(t *testing.T) {
	ch := open(t).confirming(t)
	transient(t, ch, "q", nil)
	putLeveled(t, ch, "q", leveled{"low", 1}, leveled{"high", 9})
	for i, d := range drained(t, ch, "q", "low", "high") {
		if want := []uint8{1, 9}[i]; d.Priority != want {
			t.Errorf("%q has priority %d, want %d", d.Body, d.Priority, want)
		}
	}
}

// §1.7: the highest consumer that has room gets it, lower ones only what it cannot take; any integer is a priority, none is 0.
func TestConsumerPriority(t *testing.T) {
	d := open(t)
	ch, other := d.confirming(t), d.channel(t)
	transient(t, ch, "q", nil)
	must(t, other.Qos(2, 0, false))
	consume := func(tag string, args client.Table) <-chan client.Delivery {
		return value(other.Consume("q", tag, false, false, false, false, args))(t)
	}
	low, none, high := consume("low", client.Table{"x-priority": int8(-5)}), consume("none", nil), consume("high", client.Table{"x-priority": int64(1) << 40})
	confirmed(t, ch, "", "q", "1", "2", "3", "4", "5", "6", "7")
	highs := wantTexts(t, high, "1", "2")
	nones := wantTexts(t, none, "3", "4")
	wantTexts(t, low, "5", "6")
	must(t, highs[0].Ack(false))
	wantTexts(t, high, "7")
	must(t, other.Cancel("high", false))
	must(t, nones[0].Ack(false))
	ready(t, other, "q") // in order with the ack
	confirmed(t, ch, "", "q", "8")
	wantTexts(t, none, "8")
	for _, ds := range []<-chan client.Delivery{low, none, high} {
		select {
		case got, more := <-ds:
			if more {
				t.Errorf("unexpected %q", got.Body)
			}
		default:
		}
	}
}

// §1.5, §1.7: values of priorities.
func TestPriorityValues(t *testing.T) {
	p := open(t).peer(t, login{})
	for name, c := range map[string]struct {
		value any
		why   string
	}{
		"negative":  {int32(-1), "{value_negative,-1}"},
		"too large": {int32(256), "{max_value_exceeded,256}"},
		"text":      {"5", `"expected integer, got longstr"`},
		"bool":      {true, `"expected integer, got bool"`},
		"float":     {5.0, `"expected integer, got double"`},
	} {
		t.Run(name, func(t *testing.T) {
			p.wantRefused(2, declaration("q", "x-max-priority", c.value), 406,
				"PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'q' in vhost '/': "+c.why)
		})
	}
	p.open(1)
	p.declared(declareExclusive("consumed"))
	for name, c := range map[string]struct {
		value any
		kind  string
	}{"text": {"5", "longstr"}, "bool": {true, "bool"}, "float": {1.5, "double"}, "void": {nil, "void"}} {
		t.Run("consumer, "+name, func(t *testing.T) {
			p.wantRefused(2, consumption("consumed", "x-priority", c.value), 406,
				"PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'consumed' in vhost '/': \"expected integer, got "+c.kind+"\"")
		})
	}
}
