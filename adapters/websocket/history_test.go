package websocket_test

import (
	"fmt"
	"testing"

	"portico/adapters/websocket"
	"portico/core"
)

func TestHistory(t *testing.T) {
	d := open(t, websocket.Config{})
	d.stream(10)
	c := d.dial()
	for name, test := range map[string]struct {
		ask  frame
		want []int
		next int
		more bool
	}{
		"everything":        {frame{"stream": "S"}, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 11, false},
		"a page":            {frame{"stream": "S", "from": "all", "limit": 4}, []int{1, 2, 3, 4}, 5, true},
		"the next page":     {frame{"stream": "S", "from": frame{"seq": 5}, "limit": 4}, []int{5, 6, 7, 8}, 9, true},
		"by subject":        {frame{"subject": "s.a", "limit": 2}, []int{1, 3}, 4, true},
		"by pattern":        {frame{"subject": "s.*", "from": frame{"seq": 9}}, []int{9, 10}, 11, false},
		"stream, subject":   {frame{"stream": "S", "subject": "s.b"}, []int{2, 4, 6, 8, 10}, 11, false},
		"last":              {frame{"stream": "S", "last": 3}, []int{8, 9, 10}, 7, true},
		"last of a subject": {frame{"subject": "s.a", "last": 2}, []int{7, 9}, 6, true},
		"more than all":     {frame{"stream": "S", "last": 50}, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 0, false},
		"back":              {frame{"stream": "S", "reverse": true, "limit": 3}, []int{10, 9, 8}, 7, true},
		"back from":         {frame{"stream": "S", "reverse": true, "from": frame{"seq": 2}}, []int{2, 1}, 0, false},
		"back, by subject":  {frame{"subject": "s.b", "reverse": true, "from": frame{"seq": 7}, "limit": 2}, []int{6, 4}, 3, true},
		"nothing there":     {frame{"stream": "S", "from": frame{"seq": 11}}, nil, 11, false},
		"none that matches": {frame{"stream": "S", "subject": "s.c", "reverse": true}, nil, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			ask := frame{"op": "history"}
			for k, v := range test.ask {
				ask[k] = v
			}
			ok := c.do(ask)
			if ok.num("count") != len(test.want) || ok.num("next") != test.next || ok["more"] != test.more || ok.str("stream") != "S" || ok.str("epoch") == "" {
				t.Errorf("%v: want %d, next %d, more %v", ok, len(test.want), test.next, test.more)
			}
			c.numbers("ask", test.want...)
			if len(c.back) > 0 {
				t.Errorf("more than was asked for: %v", c.back)
				c.back = nil
			}
		})
	}
}

// TestHistoryThenLive: what history ends with is where a cursor goes on.
func TestHistoryThenLive(t *testing.T) {
	d := open(t, websocket.Config{})
	d.stream(5)
	c := d.dial()
	ok := c.do(frame{"op": "history", "stream": "S", "last": 2})
	c.numbers("ask", 4, 5)
	d.store(6, 7)
	resumed := c.do(frame{"op": "sub", "sid": "x", "stream": "S", "after": 5, "epoch": ok.str("epoch")})
	if resumed["recovered"] != true {
		t.Errorf("resumed %v", resumed)
	}
	c.numbers("x", 6, 7)
}

// TestHistoryIsCut: an answer has about 4 MiB; the pages together have everything, in both directions.
func TestHistoryIsCut(t *testing.T) {
	d := open(t, websocket.Config{}, func(c *core.Config) { c.Durability = "os" })
	d.stream(0)
	const messages = 24
	for i := range messages {
		if _, err := d.gateway.System().Publish(t.Context(), &core.Message{Subject: "s.a", Data: fmt.Appendf(nil, "%0*d", 1<<19, i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	c := d.dial()
	for _, reverse := range []bool{false, true} {
		expect, step := 1, 1
		if reverse {
			expect, step = messages, -1
		}
		ask := frame{"op": "history", "stream": "S", "reverse": reverse, "limit": 1000}
		for pages := 1; ; pages++ {
			ok := c.do(ask)
			for range ok.num("count") {
				if m := c.next("msg"); m.num("seq") != expect { // of half a MiB: not shown
					t.Fatalf("number %d, want %d", m.num("seq"), expect)
				}
				expect += step
			}
			if ok["more"] != true {
				if pages < 3 {
					t.Errorf("only %d pages", pages)
				}
				break
			}
			ask["from"] = frame{"seq": ok["next"]}
		}
		if expect != 0 && expect != messages+1 {
			t.Errorf("reverse %v ended at %d", reverse, expect)
		}
	}
}

func TestHistoryRefuses(t *testing.T) {
	d := open(t, websocket.Config{})
	d.stream(1)
	c := d.dial()
	for name, test := range map[string]struct {
		ask  frame
		code core.Code
	}{
		"nothing named":      {frame{}, core.CodeInvalid},
		"no such stream":     {frame{"stream": "NONE"}, core.CodeNotFound},
		"no stream keeps it": {frame{"subject": "x.y"}, core.CodeNotFound},
		"too many":           {frame{"stream": "S", "limit": 1001}, core.CodeInvalid},
		"last and limit":     {frame{"stream": "S", "last": 1, "limit": 1}, core.CodeInvalid},
		"last and from":      {frame{"stream": "S", "last": 1, "from": "all"}, core.CodeInvalid},
		"from now on":        {frame{"stream": "S", "from": "new"}, core.CodeInvalid},
		"back from all":      {frame{"stream": "S", "from": "all", "reverse": true}, core.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			ask := frame{"op": "history"}
			for k, v := range test.ask {
				ask[k] = v
			}
			c.refused(ask, test.code)
		})
	}
	c.t = t
	c.send(`{"op":"history","stream":"S"}`)
	if e := c.next("err"); e.str("code") != core.CodeInvalid.String() {
		t.Errorf("without an id: %v", e)
	}
}

func TestPublishOnce(t *testing.T) {
	d := open(t, websocket.Config{})
	d.stream(0)
	c := d.dial()
	pub := frame{"op": "pub", "subject": "s.a", "data": "1", "msg_id": "m-1"}
	if ok := c.do(pub); ok.str("stream") != "S" || ok.num("seq") != 1 || ok["duplicate"] != nil {
		t.Errorf("first: %v", ok)
	}
	if ok := c.do(pub); ok.str("stream") != "S" || ok.num("seq") != 1 || ok["duplicate"] != true {
		t.Errorf("again: %v", ok)
	}
	c.do(frame{"op": "declare", "queue": "q"})
	add := frame{"op": "append", "queue": "q", "data": "1", "msg_id": "m-1"}
	if ok := c.do(add); ok["duplicate"] != nil {
		t.Errorf("first: %v", ok)
	}
	if ok := c.do(add); ok["duplicate"] != true {
		t.Errorf("again: %v", ok)
	}
	c.send(`{"op":"pub","id":"silent","subject":"s.b","data":"2","ack":false}`)
	c.send(`{"op":"pub","id":"loud","subject":"s..b","ack":false}`)
	if e := c.next("err"); e.str("id") != "loud" {
		t.Errorf("%v", e)
	}
	c.do(frame{"op": "history", "stream": "S", "last": 1})
	c.numbers("ask", 2)
	c.quiet()
}
