package websocket_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"portico/core"

	"portico/adapters/websocket"

	gorilla "github.com/gorilla/websocket"
)

// TestSlowPolicies: a client that does not read for a while is told what it has missed, or cut, as each of its subscriptions asked for; what it gets is in order, and nothing is
// missing unsaid.
func TestSlowPolicies(t *testing.T) {
	const published, size = 300, 64 << 10
	for name, test := range map[string]struct {
		extra frame
		last  bool // whether the last message must come
		cut   bool
	}{
		"close":            {frame{}, false, true},
		"close, by buffer": {frame{"slow": "close", "buffer": 10}, false, true},
		"drop-oldest":      {frame{"slow": "drop-oldest", "buffer": 10}, true, false},
		"drop-newest":      {frame{"slow": "drop-newest", "buffer": 10}, false, false},
		"by bytes":         {frame{"slow": "drop-oldest"}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t, websocket.Config{MaxOutbound: 2 << 20})
			c := d.dial()
			if err := c.ws.NetConn().(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
				t.Fatal(err)
			}
			test.extra["op"], test.extra["sid"], test.extra["subject"] = "sub", "s", "news"
			c.do(test.extra)
			body := strings.Repeat("x", size)
			for i := range published {
				if _, err := d.gateway.System().Publish(t.Context(), &core.Message{Subject: "news", Header: core.Header{"n": {strconv.Itoa(i)}}, Data: []byte(body)}); err != nil {
					t.Fatal(err)
				}
			}
			if test.cut {
				if e := c.closed(4408); e.Text != "slow-consumer" {
					t.Errorf("closed with %q", e.Text)
				}
				return
			}
			seen, dropped, next := 0, 0, 0
			for seen+dropped < published {
				f, err := c.read()
				if err != nil {
					t.Fatalf("%d seen and %d dropped of %d: %v", seen, dropped, published, err)
				}
				switch f.str("op") {
				case "dropped":
					if f.str("sid") != "s" || f.num("count") < 1 {
						t.Fatalf("dropped %v", f)
					}
					dropped += f.num("count")
					next += f.num("count")
				case "msg":
					headers, _ := f["headers"].(map[string]any)
					if headers["n"] != strconv.Itoa(next) {
						t.Fatalf("message %v, want %d: %d seen, %d dropped", headers["n"], next, seen, dropped)
					}
					seen++
					next++
				}
			}
			if dropped == 0 {
				t.Error("nothing was dropped: the test shows nothing")
			}
			c.do(frame{"op": "ping"}) // the connection lives
		})
	}
}

func TestSlowIsChecked(t *testing.T) {
	c := open(t, websocket.Config{}).dial()
	for name, f := range map[string]frame{
		"unknown policy": {"slow": "wait"}, "no buffer": {"slow": "drop-oldest", "buffer": 0}, "a large buffer": {"buffer": 8193}, "a buffer below zero": {"buffer": -1},
	} {
		t.Run(name, func(*testing.T) {
			f["op"], f["sid"], f["subject"] = "sub", "s", "a"
			c.refused(f, core.CodeInvalid)
		})
	}
	c.do(frame{"op": "sub", "sid": "s", "subject": "a"}) // the sid is free
}

// TestLimitsOfAConnection: each limit of the configuration is told, and holds.
func TestLimitsOfAConnection(t *testing.T) {
	d := open(t, websocket.Config{MaxSubscriptions: 2, MaxMessage: 1000, MaxPerAddress: 1})
	c, _, err := d.tryDial([]string{websocket.Protocol})
	if err != nil {
		t.Fatal(err)
	}
	limits, _ := c.next("welcome")["limits"].(map[string]any)
	if fmt.Sprint(limits["subscriptions"], limits["message"], limits["frame"]) != "2 1000 67536" {
		t.Errorf("told %v", limits)
	}
	c.do(frame{"op": "sub", "sid": "1", "subject": "a"})
	c.do(frame{"op": "serve", "sid": "2", "subject": "b"})
	c.refused(frame{"op": "sub", "sid": "3", "subject": "c"}, core.CodeResourceExhausted)
	c.do(frame{"op": "pub", "subject": "x", "data": strings.Repeat("x", 1000)})
	c.refused(frame{"op": "pub", "subject": "x", "data": strings.Repeat("x", 1001)}, core.CodeTooLarge)
	c.refused(frame{"op": "pub", "subject": "x", "headers": frame{"a": strings.Repeat("x", 1001)}}, core.CodeTooLarge)
	if _, res, err := d.tryDial([]string{websocket.Protocol}); err == nil || res == nil || res.StatusCode != 429 {
		t.Errorf("a second connection of the address: %v %v", err, res)
	}
	c.ws.Close()
	eventually(t, "the place is free again", func() bool {
		again, _, err := d.tryDial([]string{websocket.Protocol})
		if err == nil {
			again.ws.Close()
		}
		return err == nil
	})
}

// TestRate: a client that sends faster than it may is read later. Nothing is refused or lost.
func TestRate(t *testing.T) {
	d := open(t, websocket.Config{Rate: 50})
	c := d.dial()
	began := time.Now()
	for i := range 75 {
		c.send(fmt.Sprintf(`{"op":"ping","id":"%d"}`, i))
	}
	for i := range 75 {
		c.answer(strconv.Itoa(i))
	}
	if took := time.Since(began); took < 450*time.Millisecond {
		t.Errorf("75 frames at 50 a second, 50 of them at once, took %v", took)
	}
	if err := c.ws.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(1000, "")); err != nil {
		t.Fatal(err)
	}
	c.closed(1000)
}
