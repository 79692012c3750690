package httpapi_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"portico/core"

	httpapi "portico/adapters/http"
)

type bucketShown struct {
	Name   string
	Config struct {
		History     uint8
		TTL         int64
		Description string
	}
	Values uint64
}

type entry struct {
	Key, Operation string
	Revision       uint64
	Value          *string
	ValueBase64    []byte `json:"value_base64"`
	Created        time.Time
}

func (e entry) String() string {
	value := string(e.ValueBase64)
	if e.Value != nil {
		value = *e.Value
	}
	return fmt.Sprintf("%d %s %s=%s", e.Revision, e.Operation, e.Key, value)
}

func (d *doorway) bucket(name, config string) {
	d.t.Helper()
	want[bucketShown](d.t, d.do("PUT", "/v1/kv/"+name, config), 201)
}

// set puts a value and returns its revision.
func (d *doorway) set(path, value string, options ...option) uint64 {
	d.t.Helper()
	a := d.do("PUT", path, value, options...)
	if a.status != 200 && a.status != 201 {
		d.t.Fatalf("put %s: %d %s", path, a.status, a.body)
	}
	return want[struct{ Revision uint64 }](d.t, a, a.status).Revision
}

func TestBuckets(t *testing.T) {
	d := open(t, httpapi.Config{})
	made := d.do("PUT", "/v1/kv/b", `{"history":3,"description":"x"}`)
	if b := want[bucketShown](t, made, 201); b.Name != "b" || b.Config.History != 3 || b.Config.Description != "x" {
		t.Errorf("created %+v", b)
	}
	want[bucketShown](t, d.do("PUT", "/v1/kv/b", `{"history":3,"description":"x"}`), 200)
	changed := d.do("PUT", "/v1/kv/b", `{"history":5}`, with("If-Match", made.header.Get("ETag")))
	if b := want[bucketShown](t, changed, 200); b.Config.History != 5 {
		t.Errorf("changed %+v", b)
	}
	refused(t, d.do("PUT", "/v1/kv/b", `{"history":3}`, with("If-Match", made.header.Get("ETag"))), 412, core.CodePreconditionFailed)
	d.bucket("a", "")
	page := want[struct {
		Buckets []bucketShown
		Next    string
	}](t, d.do("GET", "/v1/kv?limit=1", ""), 200)
	if len(page.Buckets) != 1 || page.Buckets[0].Name != "a" || page.Next == "" {
		t.Errorf("listed %+v", page)
	}
	if b := want[bucketShown](t, d.do("GET", "/v1/kv/b", ""), 200); b.Config.History != 5 {
		t.Errorf("shown %+v", b)
	}
	if a := d.do("DELETE", "/v1/kv/b", ""); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	for _, path := range []string{"/v1/kv/b", "/v1/kv/b/keys", "/v1/kv/b/keys/k", "/v1/kv/b/keys/k/history", "/v1/kv/b/watch"} {
		refused(t, d.do("GET", path, ""), 404, core.CodeNotFound)
	}
	refused(t, d.do("PUT", "/v1/kv/b/keys/k", "v"), 404, core.CodeNotFound)
	refused(t, d.do("PUT", "/v1/kv/b/keys/k", "v", with("If-Match", "*")), 404, core.CodeNotFound)
}

func TestValues(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.bucket("b", `{"history":5}`)
	const path = "/v1/kv/b/keys/mail.sender"
	refused(t, d.do("GET", path, ""), 404, core.CodeNotFound)
	one := d.set(path, "\x00\xff one")
	get := d.do("GET", path, "")
	if get.status != 200 || string(get.body) != "\x00\xff one" || get.header.Get("ETag") != fmt.Sprintf("%q", strconv.FormatUint(one, 10)) ||
		get.header.Get("Portico-Revision") != fmt.Sprint(one) || get.header.Get("Content-Type") != "application/octet-stream" || get.header.Get("Last-Modified") == "" {
		t.Errorf("get: %d %q %v", get.status, get.body, get.header)
	}
	head := d.do("HEAD", path, "")
	if head.status != 200 || len(head.body) != 0 || head.header.Get("Content-Length") != "6" || head.header.Get("ETag") != get.header.Get("ETag") {
		t.Errorf("head: %d %v", head.status, head.header)
	}
	if a := d.do("GET", path, "", with("If-None-Match", `"99", `+get.header.Get("ETag"))); a.status != 304 || len(a.body) != 0 || a.header.Get("ETag") != get.header.Get("ETag") {
		t.Errorf("unchanged: %d %v", a.status, a.header)
	}
	refused(t, d.do("GET", path, "", with("If-Match", `"99"`)), 412, core.CodePreconditionFailed)
	two := d.set(path, "")
	if a := d.do("GET", path, ""); a.status != 200 || len(a.body) != 0 || two <= one {
		t.Errorf("an empty value: %d %q", a.status, a.body)
	}
	if a := d.do("GET", fmt.Sprintf("%s?revision=%d", path, one), ""); string(a.body) != "\x00\xff one" {
		t.Errorf("as it was: %d %q", a.status, a.body)
	}
	if a := d.do("DELETE", path, ""); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	refused(t, d.do("GET", path, ""), 404, core.CodeNotFound)
	if a := d.do("HEAD", path, ""); a.status != 404 {
		t.Errorf("head: %d", a.status)
	}
	history := want[struct{ History []entry }](t, d.do("GET", path+"/history", ""), 200).History
	if got := fmt.Sprint(history); got != fmt.Sprintf("[%d put mail.sender=\x00\xff one %d put mail.sender= %d delete mail.sender=]", one, two, two+1) {
		t.Errorf("history %q", got)
	}
	if a := d.do("DELETE", path+"?purge=true", ""); a.status != 204 {
		t.Errorf("purge: %d %s", a.status, a.body)
	}
	if a := d.do("GET", fmt.Sprintf("%s?revision=%d", path, one), ""); a.status != 404 {
		t.Errorf("after the purge: %d %q", a.status, a.body)
	}
}

func TestValuesWithConditions(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.bucket("b", "")
	const path = "/v1/kv/b/keys/k"
	tag := func(revision uint64) string { return fmt.Sprintf(`"%d"`, revision) }
	conflict := func(a answer, present uint64) {
		t.Helper()
		refused(t, a, 412, core.CodePreconditionFailed)
		p := want[struct{ Revision uint64 }](t, a, 412)
		header := ""
		if present > 0 {
			header = fmt.Sprint(present)
		}
		if p.Revision != present || a.header.Get("Portico-Revision") != header {
			t.Errorf("present revision %d, header %q, want %d", p.Revision, a.header.Get("Portico-Revision"), present)
		}
	}
	conflict(d.do("PUT", path, "v", with("If-Match", "*")), 0)
	conflict(d.do("PUT", path, "v", with("If-Match", `"1"`)), 0)
	made := d.do("PUT", path, "v1", with("If-None-Match", "*"))
	one := want[struct{ Revision uint64 }](t, made, 201).Revision
	conflict(d.do("PUT", path, "v", with("If-None-Match", "*")), one)
	conflict(d.do("PUT", path, "v", with("If-None-Match", tag(one))), one)
	two := d.set(path, "v2", with("If-Match", tag(one)))
	conflict(d.do("PUT", path, "v", with("If-Match", tag(one))), two)
	conflict(d.do("PUT", path, "v", with("If-Match", `"0"`)), two)
	conflict(d.do("PUT", path, "v", with("If-Match", `"0`+fmt.Sprint(two)+`"`)), two)
	conflict(d.do("PUT", path, "v", with("If-Match", "W/"+tag(two))), two)
	conflict(d.do("PUT", path, "v", with("If-Match", `"x", `+tag(one))), two)
	three := d.set(path, "v3", with("If-Match", `"x", `+tag(two)))
	four := d.set(path, "v4", with("If-Match", "*"))
	five := d.set(path, "v5", with("If-None-Match", tag(three)))
	conflict(d.do("DELETE", path, "", with("If-Match", tag(four))), five)
	refused(t, d.do("DELETE", path, "", with("If-None-Match", "*")), 400, core.CodeInvalid)
	if a := d.do("DELETE", path, "", with("If-Match", tag(five))); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	conflict(d.do("PUT", path, "v", with("If-Match", "*")), 0)
	if a := d.do("PUT", path, "v6", with("If-None-Match", "*")); a.status != 201 {
		t.Errorf("over a deletion: %d %s", a.status, a.body)
	}
}

// One of many that change a counter under a condition wins each time.
func TestCompareAndSet(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.bucket("b", "")
	const path, clients, steps = "/v1/kv/b/keys/n", 4, 10
	d.set(path, "0")
	ended := make(chan error, clients)
	for range clients {
		go func() {
			for done := 0; done < steps; {
				a, err := d.try(d.request("GET", path, ""))
				if err != nil {
					ended <- err
					return
				}
				n, _ := strconv.Atoi(string(a.body))
				b, err := d.try(d.request("PUT", path, fmt.Sprint(n+1), with("If-Match", a.header.Get("ETag"))))
				if err != nil || b.status != 200 && b.status != 412 {
					ended <- fmt.Errorf("%d %s %w", b.status, b.body, err)
					return
				}
				if b.status == 200 {
					done++
				}
			}
			ended <- nil
		}()
	}
	for range clients {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	if got := string(d.do("GET", path, "").body); got != fmt.Sprint(clients*steps) {
		t.Errorf("counted to %s", got)
	}
}

func TestKeys(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.bucket("b", "")
	for _, key := range []string{"mail.to", "a%2Fb", "mail.from", "z", "gone"} {
		d.set("/v1/kv/b/keys/"+key, key)
	}
	d.do("DELETE", "/v1/kv/b/keys/gone", "")
	type page struct {
		Keys []string
		Next string
	}
	if got := want[page](t, d.do("GET", "/v1/kv/b/keys?limit=1000", ""), 200); !slices.Equal(got.Keys, []string{"a/b", "mail.from", "mail.to", "z"}) || got.Next != "" {
		t.Errorf("all: %+v", got)
	}
	if got := want[page](t, d.do("GET", "/v1/kv/b/keys?pattern=mail.*", ""), 200); !slices.Equal(got.Keys, []string{"mail.from", "mail.to"}) {
		t.Errorf("of a pattern: %+v", got)
	}
	first := want[page](t, d.do("GET", "/v1/kv/b/keys?limit=3", ""), 200)
	if rest := want[page](t, d.do("GET", "/v1/kv/b/keys?limit=3&cursor="+first.Next, ""), 200); !slices.Equal(rest.Keys, []string{"z"}) || rest.Next != "" {
		t.Errorf("%+v, then %+v", first, rest)
	}
	if a := d.do("GET", "/v1/kv/b/keys/a%2Fb", ""); string(a.body) != "a%2Fb" {
		t.Errorf("a key with a slash: %d %q", a.status, a.body)
	}
	for _, key := range []string{"a*b", "%20", ".a", "a..b"} {
		refused(t, d.do("PUT", "/v1/kv/b/keys/"+key, "v"), 400, core.CodeInvalid)
	}
}

// What NATS clients put is read here, and the other way round.
func TestValuesAreThoseOfNATSClients(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.bucket("b", "")
	kv, err := d.natively().KeyValue(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	revision, err := kv.Put(t.Context(), "x", []byte("native"))
	if err != nil {
		t.Fatal(err)
	}
	if a := d.do("GET", "/v1/kv/b/keys/x", ""); string(a.body) != "native" || a.header.Get("Portico-Revision") != fmt.Sprint(revision) {
		t.Errorf("%d %q %v", a.status, a.body, a.header)
	}
	ours := d.set("/v1/kv/b/keys/x", "ours", with("If-Match", fmt.Sprintf(`"%d"`, revision)))
	e, err := kv.Get(t.Context(), "x")
	if err != nil || string(e.Value()) != "ours" || e.Revision() != ours {
		t.Errorf("%v %v", e, err)
	}
	if err := kv.Delete(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	refused(t, d.do("GET", "/v1/kv/b/keys/x", ""), 404, core.CodeNotFound)
}

func (f *feed) change() entry {
	f.t.Helper()
	o, ok := f.next()
	var e entry
	if err := json.Unmarshal([]byte(o.data), &e); !ok || err != nil || o.name != "change" || o.id != fmt.Sprint(e.Revision) {
		f.t.Fatalf("event %+v: %v", o, err)
	}
	return e
}

func TestWatch(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.bucket("b", `{"history":3}`)
	d.set("/v1/kv/b/keys/a.x", "1")
	d.set("/v1/kv/b/keys/b.x", "2")
	d.set("/v1/kv/b/keys/a.x", "3")
	f := d.feed("/v1/kv/b/watch?pattern=a.*")
	if e := f.change(); e.String() != "3 put a.x=3" {
		t.Errorf("present %s", e)
	}
	if o, _ := f.next(); o.name != "ready" {
		t.Errorf("then %+v", o)
	}
	d.set("/v1/kv/b/keys/a.y", "4")
	d.do("DELETE", "/v1/kv/b/keys/a.x", "")
	if e := f.change(); e.String() != "4 put a.y=4" {
		t.Errorf("changed %s", e)
	}
	if e := f.change(); e.String() != "5 delete a.x=" {
		t.Errorf("deleted %s", e)
	}
	f.cancel()
	d.set("/v1/kv/b/keys/a.z", "6")
	back := d.feed("/v1/kv/b/watch", with("Last-Event-ID", f.id))
	if e := back.change(); e.String() != "6 put a.z=6" {
		t.Errorf("since then %s", e)
	}
	lines := d.feed("/v1/kv/b/watch?from=5", with("Accept", "application/x-ndjson"))
	line, err := lines.r.ReadString('\n')
	if err != nil || !strings.Contains(line, `"key":"a.z"`) {
		t.Errorf("line %q %v", line, err)
	}
	refused(t, d.do("GET", "/v1/kv/b/watch?from=1000", ""), 409, core.CodePreconditionFailed)
	if a := d.do("DELETE", "/v1/kv/b", ""); a.status != 204 {
		t.Fatal(a.status)
	}
	for o, ok := back.next(); ; o, ok = back.next() {
		if !ok {
			t.Fatal("ended without an error")
		}
		if o.name == "error" {
			break
		}
	}
}
