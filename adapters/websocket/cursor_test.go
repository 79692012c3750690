package websocket_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"portico/adapters/websocket"
	"portico/core"
)

// stream creates the stream S for s.> and publishes n messages on s.a, s.b, s.a, …: "1", "2", …
func (d *doorway) stream(n int, options ...func(*core.StreamConfig)) {
	d.t.Helper()
	cfg := core.StreamConfig{Name: "S", Subjects: []string{"s.>"}}
	for _, o := range options {
		o(&cfg)
	}
	if _, _, err := d.gateway.System().CreateStream(d.t.Context(), cfg); err != nil {
		d.t.Fatal(err)
	}
	d.store(1, n)
}

// store publishes the messages from first to last.
func (d *doorway) store(first, last int) {
	d.t.Helper()
	for i := first; i <= last; i++ {
		m := &core.Message{Subject: "s." + string("ba"[i%2]), Header: core.Header{"odd": {fmt.Sprint(i%2 == 1)}}, Data: fmt.Append(nil, i)}
		if _, err := d.gateway.System().Publish(d.t.Context(), m); err != nil {
			d.t.Fatal(err)
		}
	}
}

// numbers checks that the next messages of a subscription, or of a request, have these numbers.
func (c *client) numbers(of string, want ...int) {
	c.t.Helper()
	for _, n := range want {
		m := c.await(fmt.Sprintf("message %d of %s", n, of), func(f frame) bool { return f.str("op") == "msg" && (f.str("sid") == of || f.str("id") == of) })
		if m.num("seq") != n || m.str("data") != fmt.Sprint(n) || m.str("stream") != "S" || m.str("subject") != "s."+string("ba"[n%2]) {
			c.t.Fatalf("%v, want number %d", m, n)
		}
		if _, err := time.Parse(time.RFC3339Nano, m.str("time")); err != nil {
			c.t.Errorf("time: %v", err)
		}
	}
}

func (c *client) gap(sid string, from, to int) {
	c.t.Helper()
	if g := c.next("gap"); g.str("sid") != sid || g.num("from") != from || g.num("to") != to {
		c.t.Fatalf("%v, want %d to %d for %s", g, from, to, sid)
	}
}

func TestCursorBegins(t *testing.T) {
	d := open(t, websocket.Config{})
	d.stream(4)
	<-time.After(2 * time.Millisecond)
	noon := time.Now().UTC()
	d.store(5, 6)
	for name, test := range map[string]struct {
		sub   frame
		after int
		want  []int
	}{
		"new":               {frame{}, 6, nil},
		"all":               {frame{"from": "all"}, 0, []int{1, 2, 3, 4, 5, 6}},
		"last":              {frame{"from": "last"}, 5, []int{6}},
		"last of a subject": {frame{"from": "last", "subject": "s.a"}, 4, []int{5}},
		"last of none":      {frame{"from": "last", "subject": "s.x"}, 6, nil},
		"number":            {frame{"from": frame{"seq": 3}}, 2, []int{3, 4, 5, 6}},
		"time":              {frame{"from": frame{"time": noon.Format(time.RFC3339Nano)}}, 4, []int{5, 6}},
		"subject":           {frame{"from": "all", "subject": "s.b"}, 0, []int{2, 4, 6}},
		"filter":            {frame{"from": "all", "filter": frame{"all": []frame{{"header": "ODD", "equal": "true"}}}}, 0, []int{1, 3, 5}},
		"after":             {frame{"after": 4}, 4, []int{5, 6}},
		"after everything":  {frame{"after": 6}, 6, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := d.dial()
			sub := frame{"op": "sub", "sid": "x", "stream": "S"}
			for k, v := range test.sub {
				sub[k] = v
			}
			ok := c.do(sub)
			if ok.num("after") != test.after || ok.str("epoch") == "" {
				t.Errorf("%v, want after %d", ok, test.after)
			}
			if recovered, told := ok["recovered"]; told != (test.sub["after"] != nil) || told && recovered != true {
				t.Errorf("recovered: %v", ok)
			}
			c.numbers("x", test.want...)
			c.do(frame{"op": "unsub", "sid": "x"})
			c.quiet()
		})
	}
	c := d.dial()
	c.do(frame{"op": "sub", "sid": "x", "stream": "S"})
	d.store(7, 8)
	c.numbers("x", 7, 8)
}

func TestCursorRefuses(t *testing.T) {
	d := open(t, websocket.Config{})
	d.stream(1)
	c := d.dial()
	for name, test := range map[string]struct {
		with frame
		code core.Code
	}{
		"no such stream":       {frame{"stream": "NONE"}, core.CodeNotFound},
		"a group":              {frame{"group": "g"}, core.CodeInvalid},
		"cursor without":       {frame{"stream": "", "cursor": "c"}, core.CodeInvalid},
		"unknown word":         {frame{"from": "middle"}, core.CodeInvalid},
		"number 0":             {frame{"from": frame{"seq": 0}}, core.CodeInvalid},
		"number and time":      {frame{"from": frame{"seq": 1, "time": "2026-01-01T00:00:00Z"}}, core.CodeInvalid},
		"no time":              {frame{"from": frame{"time": "noon"}}, core.CodeInvalid},
		"neither":              {frame{"from": frame{}}, core.CodeInvalid},
		"from and after":       {frame{"from": "all", "after": 1}, core.CodeInvalid},
		"after a word":         {frame{"after": "x"}, core.CodeInvalid},
		"a pattern that isn't": {frame{"subject": "s..a"}, core.CodeInvalid},
		"a cursor's name":      {frame{"cursor": "a b"}, core.CodeInvalid},
		"serve":                {frame{"op": "serve"}, core.CodeInvalid},
		"no sid":               {frame{"sid": ""}, core.CodeInvalid},
		"filter without":       {frame{"filter": frame{}}, core.CodeInvalid},
		"condition of two":     {frame{"filter": frame{"any": []frame{{"header": "a", "equal": "1", "prefix": "2"}}}}, core.CodeInvalid},
		"condition of none":    {frame{"filter": frame{"any": []frame{{"header": "a"}}}}, core.CodeInvalid},
		"large condition":      {frame{"filter": frame{"any": []frame{{"header": "a", "equal": strings.Repeat("x", 600)}}}}, core.CodeInvalid},
		"info alone":           {frame{"info": frame{}}, core.CodeInvalid},
	} {
		sub := frame{"op": "sub", "sid": "x", "stream": "S"}
		for k, v := range test.with {
			sub[k] = v
		}
		t.Run(name, func(t *testing.T) { c.t = t; c.refused(sub, test.code) })
	}
	c.t = t
	c.do(frame{"op": "sub", "sid": "x", "stream": "S"}) // the sid is free after all that
	c.refused(frame{"op": "sub", "sid": "x", "stream": "S"}, core.CodePreconditionFailed)
	c.refused(frame{"op": "commit", "sid": "x", "seq": 1}, core.CodeNotFound)
}

func TestGapsAreNamed(t *testing.T) {
	d := open(t, websocket.Config{})
	d.stream(10)
	c := d.dial()
	epoch := c.do(frame{"op": "sub", "sid": "x", "stream": "S", "from": "all"}).str("epoch")
	c.numbers("x", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	if _, err := d.gateway.System().PurgeStream(t.Context(), "S", core.PurgeOptions{Before: 6}); err != nil {
		t.Fatal(err)
	}
	if err := d.gateway.System().DeleteStreamMessage(t.Context(), "S", 8); err != nil {
		t.Fatal(err)
	}

	later := d.dial()
	ok := later.do(frame{"op": "sub", "sid": "y", "stream": "S", "after": 2, "epoch": epoch})
	if g, _ := ok["gap"].(map[string]any); ok["recovered"] != false || g["from"] != 3.0 || g["to"] != 5.0 || ok.num("after") != 5 {
		t.Errorf("answered %v", ok)
	}
	later.numbers("y", 6, 7)
	later.gap("y", 8, 8)
	later.numbers("y", 9, 10)

	early := d.dial()
	early.do(frame{"op": "sub", "sid": "z", "stream": "S", "from": frame{"seq": 4}})
	early.gap("z", 4, 5)
	early.numbers("z", 6, 7)
	early.gap("z", 8, 8)

	part := d.dial()
	part.do(frame{"op": "sub", "sid": "p", "stream": "S", "subject": "s.a", "from": frame{"seq": 1}})
	part.gap("p", 1, 5)
	part.numbers("p", 7, 9)
}

func TestStreamMadeAnew(t *testing.T) {
	d := open(t, websocket.Config{})
	d.stream(3)
	c := d.dial()
	epoch := c.do(frame{"op": "sub", "sid": "x", "stream": "S", "from": "all", "cursor": "mine"}).str("epoch")
	c.numbers("x", 1, 2, 3)
	c.do(frame{"op": "commit", "sid": "x", "seq": 3})
	if err := d.gateway.System().DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	if gone := c.next("gone"); gone.str("sid") != "x" || gone.str("code") != "not-found" {
		t.Errorf("gone: %v", gone)
	}
	d.stream(4)
	for name, sub := range map[string]frame{
		"epoch":  {"after": 3, "epoch": epoch},
		"number": {"after": 5},
		"cursor": {"cursor": "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			c := d.dial()
			sub["op"], sub["sid"], sub["stream"] = "sub", "x", "S"
			ok := c.do(sub)
			if ok["recovered"] != false || ok["reset"] != true || ok.str("epoch") == epoch || ok.num("after") != 0 {
				t.Errorf("answered %v", ok)
			}
			c.numbers("x", 1, 2, 3, 4)
		})
	}
}

func TestNamedCursor(t *testing.T) {
	d := open(t, websocket.Config{}, annAndBob)
	d.stream(5)
	c := d.dial(as("ann", "secret"))
	sub := frame{"op": "sub", "sid": "x", "stream": "S", "cursor": "billing", "from": "all"}
	if ok := c.do(sub); ok["recovered"] != nil || ok.num("after") != 0 {
		t.Errorf("first: %v", ok)
	}
	c.numbers("x", 1, 2, 3, 4, 5)
	if ok := c.do(frame{"op": "commit", "sid": "x", "seq": 3}); ok.num("after") != 3 {
		t.Errorf("commit: %v", ok)
	}
	if ok := c.do(frame{"op": "commit", "sid": "x", "seq": 2}); ok.num("after") != 3 {
		t.Errorf("a commit of what is committed: %v", ok)
	}
	c.refused(frame{"op": "commit", "sid": "x"}, core.CodeInvalid)
	c.ws.Close()

	again := d.dial(as("ann", "secret"))
	if ok := again.do(sub); ok["recovered"] != true || ok.num("after") != 3 {
		t.Errorf("again: %v", ok)
	}
	again.numbers("x", 4, 5)

	other := d.dial(as("bob", "secret"))
	if ok := other.do(sub); ok["recovered"] != nil {
		t.Errorf("somebody else's cursor: %v", ok)
	}
	again.do(frame{"op": "forget", "stream": "S", "cursor": "billing"})
	if ok := d.dial(as("ann", "secret")).do(sub); ok["recovered"] != nil {
		t.Errorf("forgotten: %v", ok)
	}
}

// annAndBob may do everything.
func annAndBob(c *core.Config) {
	c.Users = []core.User{{Name: "ann", Password: "secret"}, {Name: "bob", Password: "secret"}}
}

// TestSlowFollower: a client that does not read its cursor for a while loses nothing, and is not closed.
func TestSlowFollower(t *testing.T) {
	d := open(t, websocket.Config{})
	if _, _, err := d.gateway.System().CreateStream(t.Context(), core.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	c := d.dial()
	c.do(frame{"op": "sub", "sid": "x", "stream": "S", "from": "all"})
	const messages, size = 600, 64 << 10 // far more than any buffer
	for i := range messages {
		if _, err := d.gateway.System().Publish(t.Context(), &core.Message{Subject: "s.a", Data: fmt.Appendf(nil, "%0*d", size, i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range messages {
		m := c.next("msg")
		if m.num("seq") != i+1 || len(m.str("data")) != size {
			t.Fatalf("message %d of %d bytes, want %d", m.num("seq"), len(m.str("data")), i+1)
		}
	}
	c.quiet()
}

// TestFilteredPlace: a cursor whose filter leaves nearly everything out is told how far it is.
func TestFilteredPlace(t *testing.T) {
	d := open(t, websocket.Config{}, func(c *core.Config) { c.Durability = "os" })
	d.stream(2100)
	c := d.dial()
	c.do(frame{"op": "sub", "sid": "x", "stream": "S", "from": "all", "filter": frame{"any": []frame{{"header": "nope", "present": true}}}})
	for _, want := range []int{1000, 2000} {
		if p := c.next("place"); p.num("seq") != want || p.str("sid") != "x" {
			t.Errorf("%v, want %d", p, want)
		}
	}
}
