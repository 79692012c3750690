package websocket_test

import (
	"fmt"
	"testing"

	"portico/adapters/websocket"
	"portico/core"
)

func (d *doorway) bucket(name string, history uint8) {
	d.t.Helper()
	if _, _, err := d.gateway.System().CreateBucket(d.t.Context(), core.BucketConfig{Name: name, History: history}); err != nil {
		d.t.Fatal(err)
	}
}

func TestKeyValue(t *testing.T) {
	d := open(t, websocket.Config{})
	d.bucket("cfg", 5)
	c := d.dial()
	on := func(op string, f frame) frame {
		f["op"], f["bucket"] = op, "cfg"
		return f
	}
	first := c.do(on("kv_put", frame{"key": "a.b", "data": "one"})).num("revision")
	got := c.do(on("kv_get", frame{"key": "a.b"}))
	if got.str("data") != "one" || got.num("revision") != first || got.str("key") != "a.b" || got.str("time") == "" {
		t.Errorf("got %v", got)
	}
	if e := c.refused(on("kv_create", frame{"key": "a.b", "data": "two"}), core.CodePreconditionFailed); e.num("revision") != first {
		t.Errorf("create: %v", e)
	}
	second := c.do(on("kv_update", frame{"key": "a.b", "revision": first, "data_base64": "AP8="})).num("revision")
	if e := c.refused(on("kv_update", frame{"key": "a.b", "revision": first, "data": "x"}), core.CodePreconditionFailed); e.num("revision") != second {
		t.Errorf("update: %v", e)
	}
	if got := c.do(on("kv_get", frame{"key": "a.b"})); got.str("data_base64") != "AP8=" {
		t.Errorf("bytes: %v", got)
	}
	if got := c.do(on("kv_get", frame{"key": "a.b", "revision": first})); got.str("data") != "one" {
		t.Errorf("by revision: %v", got)
	}
	c.refused(on("kv_delete", frame{"key": "a.b", "revision": first}), core.CodePreconditionFailed)
	c.do(on("kv_delete", frame{"key": "a.b", "revision": second}))
	c.refused(on("kv_get", frame{"key": "a.b"}), core.CodeNotFound)
	if ok := c.do(on("kv_history", frame{"key": "a.b"})); ok.num("count") != 3 {
		t.Errorf("history %v", ok)
	}
	for _, want := range []string{"put one", "put ", "delete "} {
		if e := c.next("entry"); e.str("operation")+" "+e.str("data") != want || e.str("id") != "ask" || e.str("key") != "a.b" || e.str("bucket") != "cfg" {
			t.Errorf("%v, want %s", e, want)
		}
	}
	c.do(on("kv_create", frame{"key": "a.b", "data": ""})) // deleted counts as none
	if got := c.do(on("kv_get", frame{"key": "a.b"})); got["data"] != "" {
		t.Errorf("empty: %v", got)
	}
	c.do(on("kv_purge", frame{"key": "a.b"}))
	c.do(on("kv_history", frame{"key": "a.b"}))
	if e := c.next("entry"); e.str("operation") != "purge" || len(c.back) > 0 {
		t.Errorf("after purge %v %v", e, c.back)
	}
}

func TestKeys(t *testing.T) {
	d := open(t, websocket.Config{})
	d.bucket("cfg", 1)
	c := d.dial()
	for _, key := range []string{"a.1", "a.2", "b.1"} {
		c.do(frame{"op": "kv_put", "bucket": "cfg", "key": key, "data": "x"})
	}
	for name, test := range map[string]struct {
		ask  frame
		want string
		more bool
	}{
		"all":         {frame{}, "[a.1 a.2 b.1]", false},
		"pattern":     {frame{"pattern": "a.*"}, "[a.1 a.2]", false},
		"page":        {frame{"limit": 2}, "[a.1 a.2]", true},
		"second page": {frame{"limit": 2, "after": "a.2"}, "[b.1]", false},
		"none":        {frame{"pattern": "c"}, "[]", false},
	} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			test.ask["op"], test.ask["bucket"] = "kv_keys", "cfg"
			if ok := c.do(test.ask); fmt.Sprint(ok["keys"]) != test.want || ok["more"] != test.more {
				t.Errorf("%v, want %s %v", ok, test.want, test.more)
			}
		})
	}
}

func TestWatch(t *testing.T) {
	d := open(t, websocket.Config{})
	d.bucket("cfg", 1)
	c := d.dial()
	put := func(key, value string) int {
		return c.do(frame{"op": "kv_put", "bucket": "cfg", "key": key, "data": value}).num("revision")
	}
	entry := func(sid, key, operation, value string) {
		t.Helper()
		e := c.await("an entry", func(f frame) bool { return f.str("op") == "entry" && f.str("sid") == sid })
		if e.str("key") != key || e.str("operation") != operation || e.str("data") != value {
			t.Errorf("%v, want %s %s %s", e, operation, key, value)
		}
	}
	put("a.1", "one")
	put("b.1", "other")
	c.do(frame{"op": "kv_watch", "sid": "w", "bucket": "cfg", "pattern": "a.>"})
	entry("w", "a.1", "put", "one")
	if r := c.next("ready"); r.str("sid") != "w" {
		t.Errorf("%v", r)
	}
	last := put("a.2", "two")
	c.do(frame{"op": "kv_delete", "bucket": "cfg", "key": "a.1"})
	entry("w", "a.2", "put", "two")
	entry("w", "a.1", "delete", "")

	c.do(frame{"op": "kv_watch", "sid": "v", "bucket": "cfg", "after": last})
	entry("v", "a.1", "delete", "")
	c.do(frame{"op": "unsub", "sid": "w"})
	put("a.3", "three")
	entry("v", "a.3", "put", "three")
	c.do(frame{"op": "kv_watch", "sid": "x", "bucket": "cfg", "after": 1000})
	if g := c.next("gone"); g.str("sid") != "x" || g.str("code") != "precondition-failed" {
		t.Errorf("a revision to come: %v", g)
	}
	if err := d.gateway.System().DeleteBucket(t.Context(), "cfg"); err != nil {
		t.Fatal(err)
	}
	if g := c.next("gone"); g.str("sid") != "v" || g.str("code") != "not-found" {
		t.Errorf("deleted: %v", g)
	}
	c.refused(frame{"op": "kv_watch", "sid": "v", "bucket": "cfg"}, core.CodeNotFound)
}

func TestKeyValueRefuses(t *testing.T) {
	d := open(t, websocket.Config{})
	d.bucket("cfg", 1)
	c := d.dial()
	for name, test := range map[string]struct {
		ask  frame
		code core.Code
	}{
		"unknown":                {frame{"op": "kv_swap"}, core.CodeInvalid},
		"no bucket":              {frame{"op": "kv_put", "bucket": "none", "key": "a"}, core.CodeNotFound},
		"no key":                 {frame{"op": "kv_put"}, core.CodeInvalid},
		"a key that isn't":       {frame{"op": "kv_get", "key": "a b"}, core.CodeInvalid},
		"put with a revision":    {frame{"op": "kv_put", "key": "a", "revision": 1}, core.CodeInvalid},
		"update without":         {frame{"op": "kv_update", "key": "a"}, core.CodeInvalid},
		"get of revision 0":      {frame{"op": "kv_get", "key": "a", "revision": 0}, core.CodeInvalid},
		"keys without number":    {frame{"op": "kv_keys", "after": 1}, core.CodeInvalid},
		"too many keys":          {frame{"op": "kv_keys", "limit": 1001}, core.CodeInvalid},
		"history of nothing":     {frame{"op": "kv_history", "key": "a"}, core.CodeNotFound},
		"watch without sid":      {frame{"op": "kv_watch"}, core.CodeInvalid},
		"watch after a word":     {frame{"op": "kv_watch", "sid": "w", "after": "a"}, core.CodeInvalid},
		"watch a bad pattern":    {frame{"op": "kv_watch", "sid": "w", "pattern": "a..b"}, core.CodeInvalid},
		"watch another bucket's": {frame{"op": "kv_watch", "sid": "w", "bucket": "a/b"}, core.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			ask := frame{"bucket": "cfg"}
			for k, v := range test.ask {
				ask[k] = v
			}
			c.refused(ask, test.code)
		})
	}
}

// TestKeyValueInOrder: what one connection asks for without waiting is done in that order.
func TestKeyValueInOrder(t *testing.T) {
	d := open(t, websocket.Config{}, func(c *core.Config) { c.Durability = "os" })
	d.bucket("cfg", 1)
	c := d.dial()
	const rounds = 50
	for i := range rounds {
		c.send(fmt.Sprintf(`{"op":"kv_put","bucket":"cfg","key":"k","data":"%d"}`, i))
		c.send(fmt.Sprintf(`{"op":"kv_get","id":"g%d","bucket":"cfg","key":"k"}`, i))
	}
	for i := range rounds {
		if got := c.answer(fmt.Sprintf("g%d", i)); got.str("data") != fmt.Sprint(i) {
			t.Fatalf("round %d: %v", i, got)
		}
	}
}
