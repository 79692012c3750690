package websocket_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"portico/core"

	"portico/adapters/websocket"
)

// TestEveryFieldOfADescription: what was declared is what core has, can be declared again, and is not the same as the default.
func TestEveryFieldOfADescription(t *testing.T) {
	for name, test := range map[string]struct {
		field string // as core names it when it differs
		value string
	}{
		"quorum":                           {"type", `"quorum"`},
		"max priority":                     {"max_priority", `255`},
		"single active":                    {"single_active_consumer", `true`},
		"max deliveries":                   {"max_deliveries", `4294967295`},
		"dead letters to queue":            {"dead_letter", `{"queue":"dead"}`},
		"dead letters to subject":          {"dead_letter", `{"subject":"dead.q"}`},
		"dead letters to exchange":         {"dead_letter", `{"exchange":"x"}`},
		"dead letters to default exchange": {"dead_letter", `{"exchange":"","routing_key":"dead"}`},
		"dead letters with an empty key":   {"dead_letter", `{"exchange":"x","routing_key":""}`},
		"message ttl":                      {"message_ttl", `60000`},
		"no message ttl at all":            {"message_ttl", `0`},
		"expires":                          {"expires", `3600000`},
		"max length":                       {"max_length", `10`},
		"no length":                        {"max_length", `0`},
		"max bytes":                        {"max_length_bytes", `1048576`},
		"reject publish":                   {"overflow", `"reject-publish"`},
		"reject publish dlx":               {"overflow", `"reject-publish-dlx"`},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, websocket.Config{})
			c := d.dial()
			wanted := frame{"op": "declare", "queue": "q", test.field: json.RawMessage(test.value)}
			for _, created := range []bool{true, false} {
				if ok := c.do(wanted); ok["created"] != created {
					t.Errorf("declared %v: %v", wanted, ok)
				}
			}
			q, err := d.gateway.System().Queue("q")
			if err != nil {
				t.Fatal(err)
			}
			shown, err := json.Marshal(q.Config())
			if err != nil {
				t.Fatal(err)
			}
			if member := fmt.Sprintf("%q:%s", test.field, test.value); !strings.Contains(string(shown), member) {
				t.Errorf("declared %s, it is %s", member, shown)
			}
			refused := c.refused(frame{"op": "declare", "queue": "q"}, core.CodePreconditionFailed)
			if !strings.Contains(refused.str("detail"), "another "+test.field) {
				t.Errorf("what differs is not told: %v", refused)
			}
		})
	}
}

func TestDefaultsCanBeNamed(t *testing.T) {
	c := open(t, websocket.Config{}).dial()
	c.do(frame{"op": "declare", "queue": "q"})
	ok := c.do(frame{
		"op": "declare", "queue": "q", "type": "classic", "durable": true, "auto_delete": false, "max_priority": 0, "single_active_consumer": false, "max_deliveries": 0,
		"dead_letter": frame{}, "message_ttl": nil, "expires": nil, "max_length": nil, "max_length_bytes": nil, "overflow": "drop-head",
	})
	if ok["created"] != false {
		t.Errorf("declared %v", ok)
	}
}

func TestDescriptionsThatNoQueueCanHave(t *testing.T) {
	d := open(t, websocket.Config{})
	if _, _, err := d.gateway.System().DeclareQueue(t.Context(), core.QueueConfig{Name: "owned", Owner: "somebody"}); err != nil {
		t.Fatal(err)
	}
	c := d.dial()
	for name, test := range map[string]struct{ field, value, says string }{
		"unknown type":          {"type", `"heap"`, `"heap"`},
		"type of a number":      {"type", `1`, `field "type" cannot be a number`},
		"unknown overflow":      {"overflow", `"spill"`, `"spill": want drop-head`},
		"overflow of a number":  {"overflow", `1`, `field "overflow" cannot be a number`},
		"priority too high":     {"max_priority", `256`, `field "max_priority" cannot be a number 256`},
		"ttl below zero":        {"message_ttl", `-1`, `message_ttl -1`},
		"ttl beyond ten years":  {"message_ttl", `315360000001`, `message_ttl 315360000001`},
		"ttl of a string":       {"message_ttl", `"1s"`, `message_ttl`},
		"ttl of a fraction":     {"message_ttl", `1.5`, `1.5`},
		"expires at once":       {"expires", `0`, `expires 0`},
		"length below zero":     {"max_length", `-1`, `max_length -1`},
		"bytes beyond bounds":   {"max_length_bytes", `4611686018427387905`, `max_length_bytes 4611686018427387905`},
		"single of a string":    {"single_active_consumer", `"yes"`, `field "single_active_consumer" cannot be a string`},
		"dead letter of string": {"dead_letter", `"dead"`, `field "dead_letter" cannot be a string`},
		"unknown dead letter":   {"dead_letter", `{"topic":"x"}`, `unknown field "topic"`},
		"exchange of a number":  {"dead_letter", `{"exchange":1}`, `field "dead_letter.exchange" cannot be a number`},
		"exchange and queue":    {"dead_letter", `{"exchange":"","queue":"a"}`, `not to several`},
		"key without exchange":  {"dead_letter", `{"queue":"a","routing_key":"k"}`, `needs an exchange`},
		"unknown field":         {"ttl", `1`, `unknown field "ttl"`},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.refused(frame{"op": "declare", "queue": "n", test.field: json.RawMessage(test.value)}, core.CodeInvalid)
			if !strings.Contains(f.str("detail"), test.says) {
				t.Errorf("%s %s: %v", test.field, test.value, f)
			}
		})
	}
	c.refused(frame{"op": "declare", "queue": "owned", "durable": false}, core.CodeLocked)
}

func TestPublisherOfAFullQueueIsTold(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	c.declare("q", frame{"max_length": 1, "overflow": "reject-publish"})
	c.do(frame{"op": "bind", "queue": "q", "subject": "orders.*"})
	c.fill("q", "fits")
	c.refused(frame{"op": "append", "queue": "q", "data": "too much"}, core.CodeResourceExhausted)
	c.refused(frame{"op": "pub", "subject": "orders.new", "data": "too much"}, core.CodeResourceExhausted)
	if ready, _, _ := d.stats("q"); ready != 1 {
		t.Errorf("%d ready", ready)
	}
}

func TestExpirationAndPriorityAreHeaders(t *testing.T) {
	c := open(t, websocket.Config{}).dial()
	c.declare("dead")
	c.declare("q", frame{"max_priority": 5, "dead_letter": frame{"queue": "dead"}})
	c.fill("q", "plain")
	c.do(frame{"op": "append", "queue": "q", "data": "urgent", "headers": frame{"Portico-Priority": "4"}})
	c.do(frame{"op": "append", "queue": "q", "data": "short-lived", "headers": frame{"portico-expiration": "1", "Portico-Priority": "5"}})
	c.do(frame{"op": "consume", "sid": "dead", "queue": "dead"})
	dead := c.next("delivery")
	if headers, _ := dead["headers"].(map[string]any); dead.str("data") != "short-lived" || headers["Portico-Death-Reason"] != "expired" {
		t.Errorf("dead: %v", dead)
	}
	c.do(frame{"op": "consume", "sid": "c", "queue": "q"})
	for _, wanted := range []string{"urgent", "plain"} {
		if m := c.next("delivery"); m.str("data") != wanted {
			t.Errorf("got %v, want %s", m, wanted)
		}
	}
	for name, value := range map[string]string{"Portico-Expiration": "soon", "Portico-Priority": "256"} {
		f := c.refused(frame{"op": "append", "queue": "q", "headers": frame{name: value}}, core.CodeInvalid)
		if !strings.Contains(f.str("detail"), name) {
			t.Errorf("%s: %v", name, f)
		}
	}
}

func TestConsumersOfHigherPriorityComeFirst(t *testing.T) {
	c := open(t, websocket.Config{}).dial()
	c.declare("q")
	c.do(frame{"op": "consume", "sid": "low", "queue": "q", "priority": -1})
	c.do(frame{"op": "consume", "sid": "high", "queue": "q", "priority": 1, "credit": 2})
	c.fill("q", "1", "2", "3")
	for _, wanted := range []string{"1 high", "2 high", "3 low"} {
		if m := c.next("delivery"); m.str("data")+" "+m.str("sid") != wanted {
			t.Errorf("got %v, want %s", m, wanted)
		}
	}
	c.refused(frame{"op": "consume", "sid": "x", "queue": "q", "priority": 1 << 31}, core.CodeInvalid)
}

func TestAutoDeleteQueueIsGoneWhenItsConsumerIsTold(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	for range 20 { // it would go by itself, a moment later
		c.declare("q", frame{"auto_delete": true, "durable": true})
		c.do(frame{"op": "consume", "sid": "c", "queue": "q"})
		c.do(frame{"op": "cancel", "sid": "c"})
		if d.gateway.System().Lookup("q") != nil {
			t.Fatal("the queue is still there")
		}
	}
}

// TestDeadLetterByHand: a delivery that is given up goes to the dead letters, and says why.
func TestDeadLetterByHand(t *testing.T) {
	c := open(t, websocket.Config{}).dial()
	c.do(frame{"op": "declare", "queue": "dead"})
	c.do(frame{"op": "declare", "queue": "q", "dead_letter": frame{"queue": "dead"}})
	c.do(frame{"op": "consume", "sid": "d", "queue": "dead"})
	c.do(frame{"op": "consume", "sid": "c", "queue": "q"})
	for name, nack := range map[string]frame{"dead_letter": {"dead_letter": true}, "no requeue": {"requeue": false}} {
		c.do(frame{"op": "append", "queue": "q", "data": name})
		d := c.await("the delivery", func(f frame) bool { return f.str("op") == "delivery" && f.str("sid") == "c" })
		nack["op"], nack["tag"] = "nack", d["tag"]
		c.refused(frame{"op": "nack", "tag": d["tag"], "dead_letter": true, "requeue": true}, core.CodeInvalid)
		c.do(nack)
		dead := c.await("the dead letter", func(f frame) bool { return f.str("op") == "delivery" && f.str("sid") == "d" })
		headers, _ := dead["headers"].(map[string]any)
		if dead.str("data") != name || headers["Portico-Death-Reason"] != "rejected" || headers["Portico-Death-Queue"] != "q" || headers["Portico-Death-Count"] != "1" {
			t.Errorf("%s: %v", name, dead)
		}
	}
}

// TestRequestCarriesHeaders: both ways; nobody there is told at once.
func TestRequestCarriesHeaders(t *testing.T) {
	d := open(t, websocket.Config{})
	asker, service := d.dial(), d.dial()
	service.do(frame{"op": "serve", "sid": "v", "subject": "echo"})
	asker.send(`{"op":"req","id":"r","subject":"echo","headers":{"a":"1","b":["2","3"]},"data":"x","timeout":"20s"}`)
	m := service.next("msg")
	service.do(frame{"op": "reply", "reply": m["reply"], "headers": m["headers"], "data": "y"})
	res := asker.answer("r")
	headers, _ := res["headers"].(map[string]any)
	if list, _ := headers["b"].([]any); res.str("op") != "res" || res.str("data") != "y" || headers["a"] != "1" || len(list) != 2 {
		t.Errorf("%v", res)
	}
	service.do(frame{"op": "unsub", "sid": "v"})
	asker.refused(frame{"op": "req", "subject": "echo", "timeout": "20s"}, core.CodeNoResponders)
}
