package websocket_test

import (
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"portico/core"

	"portico/adapters/websocket"
)

func TestPublishAndSubscribe(t *testing.T) {
	d := open(t, websocket.Config{})
	c, other := d.dial(), d.dial()
	c.do(frame{"op": "sub", "sid": "s", "subject": "a.>"})
	ok := other.do(frame{"op": "pub", "subject": "a.b", "reply": "r", "data": "é\"\n\u2028", "headers": frame{"one": "1", "many": []string{"1", "2"}, "Nats-Rollup": "all"}})
	if ok["live"] != true || ok.num("queues") != 0 {
		t.Errorf("ok %v", ok)
	}
	m := c.next("msg")
	if m.str("sid") != "s" || m.str("subject") != "a.b" || m.str("reply") != "r" || m.str("data") != "é\"\n\u2028" ||
		fmt.Sprint(m["headers"]) != "map[many:[1 2] one:1]" {
		t.Errorf("message %v", m)
	}
	binary := "\x00\xff\x01"
	other.do(frame{"op": "pub", "subject": "a.b", "data_base64": base64.StdEncoding.EncodeToString([]byte(binary))})
	if m = c.next("msg"); m.str("data_base64") != "AP8B" || m["data"] != nil || m["headers"] != nil {
		t.Errorf("binary message %v", m)
	}
	other.do(frame{"op": "pub", "subject": "a.b"})
	if m = c.next("msg"); m["data"] != "" {
		t.Errorf("empty message %v", m)
	}
	c.do(frame{"op": "unsub", "sid": "s"})
	other.do(frame{"op": "pub", "subject": "a.b"})
	c.quiet()
	eventually(t, "the server has heard of the unsub", func() bool { return other.do(frame{"op": "pub", "subject": "a.b"})["live"] == false })
}

func TestOrderAndSilence(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	c.do(frame{"op": "sub", "sid": "s", "subject": "n"})
	for i := range 500 {
		c.send(fmt.Sprintf(`{"op":"pub","subject":"n","data":"%d"}`, i))
	}
	for i := range 500 {
		if m := c.next("msg"); m.str("data") != fmt.Sprint(i) {
			t.Fatalf("message %d is %v", i, m)
		}
	}
	c.quiet()
}

func TestGroups(t *testing.T) {
	d := open(t, websocket.Config{})
	one, two, pub := d.dial(), d.dial(), d.dial()
	one.do(frame{"op": "sub", "sid": "s", "subject": "g", "group": "x"})
	two.do(frame{"op": "sub", "sid": "s", "subject": "g", "group": "x"})
	for range 50 {
		pub.do(frame{"op": "pub", "subject": "g"})
	}
	eventually(t, "each message came once", func() bool {
		one.do(frame{"op": "ping"})
		two.do(frame{"op": "ping"})
		return len(one.back)+len(two.back) == 50
	})
}

func TestRequestAndServe(t *testing.T) {
	d := open(t, websocket.Config{})
	server, second, c := d.dial(), d.dial(), d.dial()
	server.do(frame{"op": "serve", "sid": "v", "subject": "math.*"})
	second.do(frame{"op": "serve", "sid": "v", "subject": "math.*"})
	c.do(frame{"op": "pub", "subject": "math.x", "data": "asks for nothing"})
	c.send(`{"op":"req","id":"r","subject":"math.double","data":"21","headers":{"k":"v"}}`)
	// Whichever of the two gets it answers.
	answer := func(v *client) bool {
		v.do(frame{"op": "ping"})
		for _, m := range v.back {
			if m.str("data") != "21" || m.str("reply") == "" || fmt.Sprint(m["headers"]) != "map[k:v]" {
				t.Errorf("request %v", m)
			}
			v.do(frame{"op": "reply", "reply": m.str("reply"), "data": "42", "headers": frame{"Content-Type": "text/plain"}})
		}
		return len(v.back) > 0
	}
	eventually(t, "one of the services is asked", func() bool { return answer(server) || answer(second) })
	res := c.answer("r")
	if res.str("op") != "res" || res.str("data") != "42" || fmt.Sprint(res["headers"]) != "map[Content-Type:text/plain]" || res["subject"] != nil {
		t.Errorf("answer %v", res)
	}
	if len(server.back)+len(second.back) != 1 {
		t.Errorf("asked twice: %v %v", server.back, second.back)
	}
}

func TestRequestWithoutAnswer(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	c.refused(frame{"op": "req", "subject": "nobody"}, core.CodeNoResponders)
	c.do(frame{"op": "serve", "sid": "v", "subject": "silent"})
	c.refused(frame{"op": "req", "subject": "silent", "timeout": "50ms"}, core.CodeTimeout)
	c.send(`{"op":"req","subject":"silent"}`)
	if e := c.next("err"); e.str("code") != "invalid-argument" || e["id"] != nil {
		t.Errorf("without id: %v", e)
	}
}

func TestRefusals(t *testing.T) {
	d := open(t, websocket.Config{}, func(c *core.Config) { c.MaxMessage = 1000 })
	if _, _, err := d.gateway.System().DeclareQueue(t.Context(), core.QueueConfig{Name: "owned", Owner: "somebody"}); err != nil {
		t.Fatal(err)
	}
	c := d.dial()
	c.do(frame{"op": "declare", "queue": "q", "durable": false})
	c.do(frame{"op": "sub", "sid": "taken", "subject": "x"})
	big := strings.Repeat("x", 1001)
	for name, x := range map[string]struct {
		frame frame
		code  core.Code
	}{
		"no op":                  {frame{}, core.CodeInvalid},
		"unknown op":             {frame{"op": "publish"}, core.CodeInvalid},
		"op of a server":         {frame{"op": "welcome"}, core.CodeInvalid},
		"unknown field":          {frame{"op": "pub", "topic": "x"}, core.CodeInvalid},
		"wrong type":             {frame{"op": "pub", "subject": 1}, core.CodeInvalid},
		"data of two kinds":      {frame{"op": "pub", "subject": "x", "data": "a", "data_base64": "YQ=="}, core.CodeInvalid},
		"not base64":             {frame{"op": "pub", "subject": "x", "data_base64": "?"}, core.CodeInvalid},
		"header of a number":     {frame{"op": "pub", "subject": "x", "headers": frame{"a": 1}}, core.CodeInvalid},
		"header of two lines":    {frame{"op": "pub", "subject": "x", "headers": frame{"a": "b\r\nc"}}, core.CodeInvalid},
		"wildcard in a subject":  {frame{"op": "pub", "subject": "x.*"}, core.CodeInvalid},
		"no subject":             {frame{"op": "pub"}, core.CodeInvalid},
		"subject of the bus":     {frame{"op": "pub", "subject": "$SYS.x"}, core.CodePermissionDenied},
		"message too large":      {frame{"op": "pub", "subject": "x", "data": big}, core.CodeTooLarge},
		"append too large":       {frame{"op": "append", "queue": "q", "data": big}, core.CodeTooLarge},
		"append of two lines":    {frame{"op": "append", "queue": "q", "headers": frame{"a": "b\nc"}}, core.CodeInvalid},
		"append of a bad name":   {frame{"op": "append", "queue": "q", "headers": frame{"a b": "c"}}, core.CodeInvalid},
		"append to no queue":     {frame{"op": "append", "queue": "none"}, core.CodeNotFound},
		"append to somebody's":   {frame{"op": "append", "queue": "owned"}, core.CodeLocked},
		"sub without sid":        {frame{"op": "sub", "subject": "x"}, core.CodeInvalid},
		"sid taken":              {frame{"op": "sub", "sid": "taken", "subject": "x"}, core.CodePreconditionFailed},
		"sid taken for consume":  {frame{"op": "consume", "sid": "taken", "queue": "q"}, core.CodePreconditionFailed},
		"sid too long":           {frame{"op": "sub", "sid": strings.Repeat("s", 65), "subject": "x"}, core.CodeInvalid},
		"bad pattern":            {frame{"op": "sub", "sid": "s", "subject": "a..b"}, core.CodeInvalid},
		"unsub of nothing":       {frame{"op": "unsub", "sid": "none"}, core.CodeNotFound},
		"cancel of a sub":        {frame{"op": "cancel", "sid": "taken"}, core.CodeNotFound},
		"credit of nothing":      {frame{"op": "credit", "sid": "none", "n": 1}, core.CodeNotFound},
		"credit of zero":         {frame{"op": "credit", "sid": "none"}, core.CodeInvalid},
		"reply to nothing":       {frame{"op": "reply"}, core.CodeInvalid},
		"timeout in words":       {frame{"op": "req", "subject": "x", "timeout": "soon"}, core.CodeInvalid},
		"timeout as a number":    {frame{"op": "req", "subject": "x", "timeout": 2}, core.CodeInvalid},
		"declare without a name": {frame{"op": "declare"}, core.CodeInvalid},
		"declare differently":    {frame{"op": "declare", "queue": "q"}, core.CodePreconditionFailed},
		"consume nothing":        {frame{"op": "consume", "sid": "s", "queue": "none"}, core.CodeNotFound},
		"consume without credit": {frame{"op": "consume", "sid": "s", "queue": "q", "credit": 0}, core.CodeInvalid},
		"bind nothing":           {frame{"op": "bind", "queue": "none", "subject": "x"}, core.CodeNotFound},
		"bind a bad pattern":     {frame{"op": "bind", "queue": "q", "subject": ""}, core.CodeInvalid},
		"purge nothing":          {frame{"op": "purge", "queue": "none"}, core.CodeNotFound},
		"delete nothing":         {frame{"op": "delete", "queue": "none"}, core.CodeNotFound},
		"ack of nothing":         {frame{"op": "ack"}, core.CodeInvalid},
		"ack of an unknown tag":  {frame{"op": "ack", "tag": 7}, core.CodePreconditionFailed},
		"too many tags":          {frame{"op": "ack", "tags": make([]int, 5000)}, core.CodeInvalid},
		"extend without lease":   {frame{"op": "extend", "tag": 7}, core.CodeInvalid},
		"extend an unknown tag":  {frame{"op": "extend", "tag": 7, "lease": "1s"}, core.CodePreconditionFailed},
	} {
		t.Run(name, func(t *testing.T) { c.refused(x.frame, x.code) })
	}
	for _, text := range []string{"", "x", "[]", "1", "null x", `{"op":"ping"} {}`, `{"op":"ping"`, "\x00"} {
		c.send(text)
		if e := c.next("err"); e.str("code") != "invalid-argument" || e.str("detail") == "" {
			t.Errorf("%q: %v", text, e)
		}
	}
	c.quiet()
}

func TestLimits(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	for i := range 1024 {
		c.send(fmt.Sprintf(`{"op":"sub","sid":"s%d","subject":"limits.%d"}`, i, i))
	}
	c.refused(frame{"op": "sub", "sid": "one", "subject": "x"}, core.CodeResourceExhausted)
	c.do(frame{"op": "unsub", "sid": "s0"})
	c.do(frame{"op": "serve", "sid": "one", "subject": "x"})
	for i := range 256 {
		c.send(fmt.Sprintf(`{"op":"req","id":"r%d","subject":"x"}`, i))
	}
	c.refused(frame{"op": "req", "subject": "x"}, core.CodeResourceExhausted)
	c.do(frame{"op": "declare", "queue": "q", "durable": false})
	for i := range 256 {
		c.do(frame{"op": "consume", "sid": fmt.Sprint("c", i), "queue": "q"})
	}
	c.refused(frame{"op": "consume", "sid": "more", "queue": "q"}, core.CodeResourceExhausted)
}

func TestSlowSubscriberIsClosed(t *testing.T) {
	d := open(t, websocket.Config{})
	c, queue := d.dial(), d.dial()
	c.do(frame{"op": "sub", "sid": "s", "subject": "flood"})
	c.do(frame{"op": "declare", "queue": "q", "durable": false})
	c.do(frame{"op": "append", "queue": "q", "data": "m"})
	c.do(frame{"op": "consume", "sid": "c", "queue": "q"})
	c.next("delivery")
	data := make([]byte, 1<<20)
	for range 32 {
		if _, err := d.gateway.System().Publish(t.Context(), &core.Message{Subject: "flood", Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	if e := c.closed(4408); e.Text != "slow-consumer" {
		t.Errorf("reason %q", e.Text)
	}
	queue.do(frame{"op": "consume", "sid": "c", "queue": "q"})
	if m := queue.next("delivery"); m["redelivered"] != true {
		t.Errorf("what it held: %v", m)
	}
}

// A client that neither reads nor is closed for it: it only asks, and is not heard until it reads.
func TestClientThatDoesNotReadItsAnswersIsNotRead(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	if err := c.ws.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	id := strings.Repeat("i", 64)
	const most = 1_000_000 // many times what buffers hold
	sent := 0
	for ; sent < most; sent++ {
		if err := c.ws.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := c.ws.WriteMessage(1, []byte(`{"op":"ping","id":"`+id+`"}`)); err != nil {
			break
		}
	}
	if sent == most {
		t.Fatal("everything was taken in")
	}
}
