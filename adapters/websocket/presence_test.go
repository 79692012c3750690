package websocket_test

import (
	"fmt"
	"strings"
	"testing"

	"portico/adapters/websocket"
	"portico/core"
	"portico/core/policy"
)

// who lists the users of an answer's members.
func who(f frame) string {
	var users []string
	list, _ := f["members"].([]any)
	for _, m := range list {
		users = append(users, frame(m.(map[string]any)).str("user"))
	}
	return strings.Join(users, " ")
}

func member(f frame) frame {
	m, _ := f["member"].(map[string]any)
	return m
}

func TestPresence(t *testing.T) {
	d := open(t, websocket.Config{}, annAndBob)
	ann, bob := d.dial(as("ann", "secret")), d.dial(as("bob", "secret"))
	if ok := ann.do(frame{"op": "presence", "sid": "p", "subject": "room.1", "watch": true}); ok.num("count") != 0 || fmt.Sprint(ok["members"]) != "[]" {
		t.Errorf("an empty room: %v", ok)
	}
	ann.do(frame{"op": "sub", "sid": "a", "subject": "room.1", "presence": true, "info": frame{"name": "Ann", "age": 30}})
	j := ann.next("join")
	if m := member(j); j.str("sid") != "p" || j.str("subject") != "room.1" || m.str("user") != "ann" || m.str("client") == "" || m.str("since") == "" || fmt.Sprint(m["info"]) != "map[age:30 name:Ann]" {
		t.Errorf("join: %v", j)
	}
	bob.do(frame{"op": "sub", "sid": "b", "subject": "room.1", "presence": true})
	if m := member(ann.next("join")); m.str("user") != "bob" {
		t.Errorf("join: %v", m)
	}
	if ok := bob.do(frame{"op": "presence", "subject": "room.1"}); ok.num("count") != 2 || who(ok) != "ann bob" {
		t.Errorf("present: %v", ok)
	}
	if ok := bob.do(frame{"op": "presence", "subject": "room.2"}); ok.num("count") != 0 {
		t.Errorf("in another room: %v", ok)
	}
	bob.refused(frame{"op": "sub", "sid": "twice", "subject": "room.1", "presence": true}, core.CodePreconditionFailed)
	bob.refused(frame{"op": "sub", "sid": "wild", "subject": "room.*", "presence": true}, core.CodeInvalid)
	bob.refused(frame{"op": "sub", "sid": "much", "subject": "room.3", "presence": true, "info": frame{"x": strings.Repeat("x", 1100)}}, core.CodeInvalid)
	bob.refused(frame{"op": "sub", "sid": "list", "subject": "room.3", "presence": true, "info": []int{1}}, core.CodeInvalid)
	bob.do(frame{"op": "unsub", "sid": "b"})
	if l := ann.next("leave"); member(l).str("user") != "bob" {
		t.Errorf("leave: %v", l)
	}
	bob.do(frame{"op": "sub", "sid": "b", "subject": "room.1", "presence": true}) // it may come back
	ann.next("join")
	bob.ws.NetConn().Close() // without a word
	if l := ann.next("leave"); member(l).str("user") != "bob" {
		t.Errorf("leave: %v", l)
	}
	ann.do(frame{"op": "unsub", "sid": "p"})
	ann.do(frame{"op": "unsub", "sid": "a"})
	ann.quiet()
}

func TestPresenceOnAStream(t *testing.T) {
	d := open(t, websocket.Config{})
	d.stream(1)
	c := d.dial()
	c.do(frame{"op": "sub", "sid": "x", "stream": "S", "subject": "s.a", "from": "all", "presence": true})
	c.numbers("x", 1)
	if ok := c.do(frame{"op": "presence", "subject": "s.a"}); ok.num("count") != 1 {
		t.Errorf("present: %v", ok)
	}
	c.do(frame{"op": "unsub", "sid": "x"})
	if ok := c.do(frame{"op": "presence", "subject": "s.a"}); ok.num("count") != 0 {
		t.Errorf("still present: %v", ok)
	}
}

func TestPresenceNeedsPermission(t *testing.T) {
	d := open(t, websocket.Config{}, users)
	c := d.dial(as("ann", "secret"))
	c.refused(frame{"op": "presence", "subject": "secret"}, core.CodePermissionDenied)
	c.refused(frame{"op": "presence", "sid": "p", "subject": "secret", "watch": true}, core.CodePermissionDenied)
	c.do(frame{"op": "presence", "sid": "p", "subject": "orders.x", "watch": true})
}

func TestFilters(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	type conditions []frame
	for sid, f := range map[string]frame{
		"equal":   {"all": conditions{{"header": "Color", "equal": "red"}}},
		"prefix":  {"all": conditions{{"header": "region", "prefix": "eu-"}}},
		"present": {"any": conditions{{"header": "urgent", "present": true}}},
		"absent":  {"any": conditions{{"header": "urgent", "present": false}}},
		"both":    {"all": conditions{{"header": "color", "equal": "red"}, {"header": "region", "prefix": "eu-"}}},
		"either":  {"any": conditions{{"header": "color", "equal": "red"}, {"header": "urgent", "present": true}}},
		"mixed":   {"all": conditions{{"header": "region", "present": true}}, "any": conditions{{"header": "color", "equal": "blue"}, {"header": "color", "equal": "red"}}},
	} {
		c.do(frame{"op": "sub", "sid": sid, "subject": "f", "filter": f})
		c.do(frame{"op": "sub", "sid": sid + " again", "subject": "f", "filter": f})
	}
	for name, test := range map[string]struct {
		headers frame
		want    string
	}{
		"none":     {frame{}, "absent"},
		"red":      {frame{"color": "red"}, "absent either equal"},
		"two":      {frame{"COLOR": []string{"green", "red"}}, "absent either equal"},
		"eu":       {frame{"region": "eu-west", "color": "red"}, "absent both either equal mixed prefix"},
		"us, blue": {frame{"region": "us", "color": "blue", "urgent": ""}, "either mixed present"},
	} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			c.do(frame{"op": "pub", "subject": "f", "headers": test.headers, "data": name})
			for _, sid := range strings.Fields(test.want) {
				for _, s := range []string{sid, sid + " again"} {
					c.await("a message for "+s, func(f frame) bool { return f.str("sid") == s && f.str("data") == name })
				}
			}
			c.quiet()
		})
	}
}

// TestPresenceIsNotSeenAnyMore: who may not listen to a subject any more is not told who comes and goes there, either.
func TestPresenceIsNotSeenAnyMore(t *testing.T) {
	d := open(t, websocket.Config{}, annAndBob)
	ann, bob := d.dial(as("ann", "secret")), d.dial(as("bob", "secret"))
	for _, room := range []string{"room.1", "room.2"} {
		ann.do(frame{"op": "presence", "sid": room, "subject": room, "watch": true})
	}
	var users core.Config
	annAndBob(&users)
	users.Users[0].Permissions = &policy.Spec{Subscribe: policy.Lists{Deny: []string{"room.1"}}}
	if err := d.gateway.Reload(users); err != nil {
		t.Fatal(err)
	}
	if g := ann.next("gone"); g.str("sid") != "room.1" || g.str("code") != "permission-denied" {
		t.Errorf("%v", g)
	}
	for _, room := range []string{"room.1", "room.2"} {
		bob.do(frame{"op": "sub", "sid": room, "subject": room, "presence": true})
	}
	if j := ann.next("join"); j.str("sid") != "room.2" {
		t.Errorf("%v", j)
	}
	ann.refused(frame{"op": "unsub", "sid": "room.1"}, core.CodeNotFound) // the sid is free
	ann.quiet()
}
