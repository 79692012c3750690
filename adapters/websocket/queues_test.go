package websocket_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"portico/core"
	"portico/core/queue"

	"portico/adapters/websocket"
)

func (c *client) declare(q string, more ...frame) {
	c.t.Helper()
	f := frame{"op": "declare", "queue": q, "durable": false}
	for _, m := range more {
		for k, v := range m {
			f[k] = v
		}
	}
	c.do(f)
}

func (c *client) fill(q string, messages ...string) {
	c.t.Helper()
	for _, m := range messages {
		c.do(frame{"op": "append", "queue": q, "data": m})
	}
}

func (d *doorway) stats(q string) (ready, unacked, consumers int) {
	d.t.Helper()
	found, err := d.gateway.System().Queue(q)
	if err != nil {
		d.t.Fatal(err)
	}
	s, err := found.Stats()
	if err != nil {
		d.t.Fatal(err)
	}
	return s.Ready, s.Unacked, s.Consumers
}

func TestQueueLife(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	if ok := c.do(frame{"op": "declare", "queue": "q"}); ok["created"] != true {
		t.Errorf("declare %v", ok)
	}
	if ok := c.do(frame{"op": "declare", "queue": "q", "durable": true}); ok["created"] != false {
		t.Errorf("again %v", ok)
	}
	c.do(frame{"op": "bind", "queue": "q", "subject": "orders.*"})
	if ok := c.do(frame{"op": "pub", "subject": "orders.x", "data": "1"}); ok.num("queues") != 1 {
		t.Errorf("pub %v", ok)
	}
	c.do(frame{"op": "unbind", "queue": "q", "subject": "orders.*"})
	if ok := c.do(frame{"op": "pub", "subject": "orders.x"}); ok.num("queues") != 0 {
		t.Errorf("pub %v", ok)
	}
	c.fill("q", "2")
	if ok := c.do(frame{"op": "purge", "queue": "q"}); ok.num("ready") != 2 {
		t.Errorf("purge %v", ok)
	}
	c.fill("q", "3")
	c.do(frame{"op": "consume", "sid": "c", "queue": "q"})
	c.next("delivery")
	if ok := c.do(frame{"op": "delete", "queue": "q"}); ok["ready"] == nil || ok.num("ready") != 0 {
		t.Errorf("delete %v", ok)
	}
	if gone := c.next("gone"); gone.str("sid") != "c" || gone.str("code") != "not-found" {
		t.Errorf("gone %v", gone)
	}
	c.refused(frame{"op": "ack", "tag": 1}, core.CodePreconditionFailed)
	c.refused(frame{"op": "cancel", "sid": "c"}, core.CodeNotFound)
	c.declare("q")
	c.do(frame{"op": "consume", "sid": "c", "queue": "q"})
}

func TestConsume(t *testing.T) {
	for name, durable := range map[string]bool{"memory": false, "durable": true} {
		t.Run(name, func(t *testing.T) {
			d := open(t, websocket.Config{})
			c := d.dial()
			c.declare("dead")
			c.declare("q", frame{"durable": durable, "dead_letter": frame{"queue": "dead"}})
			c.do(frame{"op": "append", "queue": "q", "data": "a", "headers": frame{"k": "v", "Portico-Origin": "x", "nats-rollup": "all", "Portico-User-Id": "root"}})
			c.do(frame{"op": "append", "queue": "q", "data_base64": "/w=="})
			c.do(frame{"op": "append", "queue": "q", "data": "c"})
			c.do(frame{"op": "append", "queue": "q", "data": "d"})
			c.send(`{"op":"consume","id":"k","sid":"c","queue":"q"}`)
			if f, err := c.read(); err != nil || f.str("id") != "k" || f.str("op") != "ok" {
				t.Fatalf("first comes %v %v", f, err)
			}
			var m [5]frame
			for i := 1; i <= 4; i++ {
				m[i] = c.next("delivery")
				if m[i].num("tag") != i || m[i].num("attempt") != 1 || m[i]["redelivered"] != false || m[i].str("sid") != "c" {
					t.Errorf("delivery %d: %v", i, m[i])
				}
			}
			if m[1].str("data") != "a" || fmt.Sprint(m[1]["headers"]) != "map[k:v]" || m[1]["subject"] != nil || m[2].str("data_base64") != "/w==" {
				t.Errorf("deliveries %v", m)
			}
			c.do(frame{"op": "ack", "tag": 1})
			c.do(frame{"op": "nack", "tag": 2, "requeue": false})
			c.do(frame{"op": "nack", "tags": []int{4, 3}})
			again := []frame{c.next("delivery"), c.next("delivery")}
			got := again[0].str("data") + again[1].str("data")
			if got != "cd" && got != "dc" || again[0].num("attempt") != 2 || again[0]["redelivered"] != true || again[0].num("tag") != 5 {
				t.Errorf("again %v", again)
			}
			c.refused(frame{"op": "ack", "tags": []int{1, 5}}, core.CodePreconditionFailed)
			c.do(frame{"op": "ack", "tags": []int{6}})
			eventually(t, "nothing is left", func() bool {
				ready, unacked, _ := d.stats("q")
				dead, _, _ := d.stats("dead")
				return ready == 0 && unacked == 0 && dead == 1
			})
		})
	}
}

func TestNackReturnsToItsPlace(t *testing.T) {
	d := open(t, websocket.Config{})
	c, other := d.dial(), d.dial()
	c.declare("q")
	c.fill("q", "1", "2", "3")
	c.do(frame{"op": "consume", "sid": "c", "queue": "q", "credit": 1})
	c.next("delivery")
	c.do(frame{"op": "cancel", "sid": "c"})
	c.do(frame{"op": "nack", "tag": 1})
	other.do(frame{"op": "consume", "sid": "c", "queue": "q"})
	for _, want := range []string{"1", "2", "3"} {
		if m := other.next("delivery"); m.str("data") != want {
			t.Errorf("%v, want %s", m, want)
		}
	}
}

func TestCredit(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	c.declare("q")
	c.fill("q", "1", "2", "3", "4", "5", "6", "7")
	c.do(frame{"op": "consume", "sid": "c", "queue": "q", "credit": 2})
	c.next("delivery")
	c.next("delivery")
	c.quiet()
	c.do(frame{"op": "credit", "sid": "c", "n": 1})
	c.next("delivery")
	c.quiet()
	c.do(frame{"op": "ack", "tags": []int{1, 2}})
	c.next("delivery")
	c.next("delivery")
	c.quiet()
	c.send(`{"op":"ack","tag":3}`)
	c.next("delivery")
	c.quiet()
}

func TestAutoAck(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	c.declare("q")
	var all []string
	for i := range 200 {
		all = append(all, fmt.Sprint(i))
	}
	c.fill("q", all...)
	c.do(frame{"op": "consume", "sid": "c", "queue": "q", "auto_ack": true})
	for i := range 200 {
		if m := c.next("delivery"); m.str("data") != all[i] {
			t.Fatalf("delivery %d: %v", i, m)
		}
	}
	if ready, unacked, _ := d.stats("q"); ready != 0 || unacked != 0 {
		t.Errorf("%d ready, %d unacked", ready, unacked)
	}
	c.refused(frame{"op": "ack", "tag": 1}, core.CodePreconditionFailed)
	c.do(frame{"op": "cancel", "sid": "c"})
}

func TestExclusive(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	c.declare("q")
	c.do(frame{"op": "consume", "sid": "one", "queue": "q", "exclusive": true})
	c.refused(frame{"op": "consume", "sid": "two", "queue": "q"}, core.CodeLocked)
	c.do(frame{"op": "cancel", "sid": "one"})
	c.do(frame{"op": "consume", "sid": "two", "queue": "q"})
}

func TestLease(t *testing.T) {
	d := open(t, websocket.Config{PingInterval: time.Second})
	c := d.dial()
	c.declare("q")
	c.fill("q", "a", "b")
	c.do(frame{"op": "consume", "sid": "c", "queue": "q", "lease": "2s"})
	c.next("delivery")
	c.next("delivery")
	c.do(frame{"op": "extend", "tag": 2, "lease": "1m"})
	m := c.next("delivery")
	if m.str("data") != "a" || m.num("attempt") != 2 || m.num("tag") != 3 {
		t.Errorf("after the lease: %v", m)
	}
	c.refused(frame{"op": "ack", "tag": 1}, core.CodePreconditionFailed)
	c.refused(frame{"op": "extend", "tag": 1, "lease": "1m"}, core.CodePreconditionFailed)
	c.do(frame{"op": "ack", "tag": 2})
}

func TestWhatAConnectionHoldsReturnsWhenItEnds(t *testing.T) {
	d := open(t, websocket.Config{})
	watcher := d.dial()
	watcher.declare("q")
	watcher.fill("q", "1", "2", "3")
	for name, end := range map[string]func(c *client){
		"cut":       func(c *client) { c.ws.NetConn().Close() },
		"cancelled": func(c *client) { c.do(frame{"op": "cancel", "sid": "c"}); c.ws.NetConn().Close() },
		"breach":    func(c *client) { c.send("\xff") },
	} {
		t.Run(name, func(t *testing.T) {
			c := d.dial()
			c.do(frame{"op": "consume", "sid": "c", "queue": "q"})
			for range 3 {
				c.next("delivery")
			}
			if ready, unacked, _ := d.stats("q"); ready != 0 || unacked != 3 {
				t.Fatalf("%d ready, %d unacked", ready, unacked)
			}
			end(c)
			eventually(t, "all is back", func() bool {
				ready, unacked, consumers := d.stats("q")
				return ready == 3 && unacked == 0 && consumers == 0
			})
		})
	}
	watcher.do(frame{"op": "consume", "sid": "c", "queue": "q"})
	for _, want := range []string{"1", "2", "3"} {
		if m := watcher.next("delivery"); m.str("data") != want || m["redelivered"] != true {
			t.Errorf("%v, want %s", m, want)
		}
	}
}

func TestConsumerOfAClientThatDoesNotReadPauses(t *testing.T) {
	d := open(t, websocket.Config{})
	slow, fast := d.dial(), d.dial()
	fast.declare("q")
	slow.do(frame{"op": "consume", "sid": "c", "queue": "q", "credit": 1000})
	q, err := d.gateway.System().Queue("q")
	if err != nil {
		t.Fatal(err)
	}
	record := core.SealRecord(&core.Message{Data: bytes.Repeat([]byte("x"), 256<<10)})
	const n = 200 // 50 MiB: more than the slow one's queue and sockets take
	kept := make(chan error, n)
	for range n { // not by frames, which take so long under load that the slow one is silent for too long
		q.AppendFunc(record, func(err error) { kept <- err })
	}
	for range n {
		if err := <-kept; err != nil {
			t.Fatal(err)
		}
	}
	if ready, _, _ := d.stats("q"); ready < n/4 {
		t.Errorf("only %d are left for others", ready)
	}
	fast.do(frame{"op": "consume", "sid": "c", "queue": "q", "credit": 1})
	if m := fast.next("delivery"); m["redelivered"] != false {
		t.Errorf("the fast one got %v", m["redelivered"])
	}
	// The slow one was not cut, and gets the rest when it reads.
	fast.do(frame{"op": "cancel", "sid": "c"})
	for range n - 1 {
		slow.next("delivery")
	}
	slow.quiet()
}

func TestUnackedIsBounded(t *testing.T) {
	d := open(t, websocket.Config{PingInterval: time.Second})
	c := d.dial()
	c.declare("q")
	c.declare("r")
	const limit = 16384
	q, err := d.gateway.System().Queue("q")
	if err != nil {
		t.Fatal(err)
	}
	record := core.SealRecord(&core.Message{})
	for range limit + 1000 {
		q.AppendFunc(record, nil)
	}
	c.do(frame{"op": "consume", "sid": "one", "queue": "q", "credit": limit})
	c.do(frame{"op": "consume", "sid": "two", "queue": "q", "credit": limit})
	tags := make([]int, 0, limit)
	for range limit {
		tags = append(tags, c.next("delivery").num("tag"))
	}
	_, unacked, _ := d.stats("q")
	if unacked < limit || unacked > limit+2*64 { // each consumer may overshoot by one batch
		t.Errorf("%d are held", unacked)
	}
	c.do(frame{"op": "ack", "tags": tags[:2000]})
	for range 1000 {
		c.next("delivery")
	}
}

func TestUnreadableRecordIsRejected(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	c.declare("q")
	q, err := d.gateway.System().Queue("q")
	if err != nil {
		t.Fatal(err)
	}
	q.AppendFunc(queue.Record{Data: []byte{99}}, nil)
	c.fill("q", "good")
	c.do(frame{"op": "consume", "sid": "c", "queue": "q"})
	if m := c.next("delivery"); m.str("data") != "good" {
		t.Errorf("delivery %v", m)
	}
	eventually(t, "the bad one is gone", func() bool { _, unacked, _ := d.stats("q"); return unacked == 1 })
}

func TestDiskAlarm(t *testing.T) {
	d := open(t, websocket.Config{}, func(c *core.Config) { c.DiskFree = 1 << 62 })
	c := d.dial()
	c.declare("q")
	c.do(frame{"op": "bind", "queue": "q", "subject": "x"})
	eventually(t, "the disk alarm", func() bool { return d.gateway.Ready() != nil })
	c.refused(frame{"op": "append", "queue": "q"}, core.CodeResourceExhausted)
	c.refused(frame{"op": "pub", "subject": "x"}, core.CodeResourceExhausted)
	c.do(frame{"op": "pub", "subject": "live.only"})
}
