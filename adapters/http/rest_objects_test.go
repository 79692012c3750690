package httpapi_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"portico/core"

	httpapi "portico/adapters/http"

	"github.com/nats-io/nats.go/jetstream"
)

type objectShown struct {
	Name, Digest, ETag, Description string
	Size                            int64
	Headers                         map[string]any
}

func sha(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

func (d *doorway) objects(name string) {
	d.t.Helper()
	want[struct{ Name string }](d.t, d.do("PUT", "/v1/objects/"+name, ""), 201)
}

func TestObjectBuckets(t *testing.T) {
	d := open(t, httpapi.Config{})
	type shown struct {
		Name   string
		Config struct{ Description string }
	}
	if b := want[shown](t, d.do("PUT", "/v1/objects/b", `{"description":"x"}`), 201); b.Name != "b" || b.Config.Description != "x" {
		t.Errorf("created %+v", b)
	}
	want[shown](t, d.do("PUT", "/v1/objects/b", `{"description":"x"}`), 200)
	refused(t, d.do("PUT", "/v1/objects/b", `{"max_bytes":1000}`), 409, core.CodePreconditionFailed)
	refused(t, d.do("PUT", "/v1/objects/b", `{}`, with("If-None-Match", "*")), 412, core.CodePreconditionFailed)
	d.objects("a")
	page := want[struct {
		Buckets []shown
		Next    string
	}](t, d.do("GET", "/v1/objects?limit=1", ""), 200)
	if len(page.Buckets) != 1 || page.Buckets[0].Name != "a" || page.Next == "" {
		t.Errorf("listed %+v", page)
	}
	want[shown](t, d.do("GET", "/v1/objects/b", ""), 200)
	if a := d.do("DELETE", "/v1/objects/b", ""); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	refused(t, d.do("GET", "/v1/objects/b", ""), 404, core.CodeNotFound)
	refused(t, d.do("GET", "/v1/objects/b/items", ""), 404, core.CodeNotFound)
	refused(t, d.do("PUT", "/v1/objects/b/items/x", "v"), 404, core.CodeNotFound)
}

func TestObjects(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.objects("b")
	text := bytes.Repeat([]byte("0123456789"), 40_000)
	const path = "/v1/objects/b/items/2026/july r%C3%A9sum%C3%A9.txt"
	at := strings.ReplaceAll(path, " ", "%20")
	put := d.do("PUT", at+"?description=first", string(text), with("Content-Type", "text/plain"), with("Msg-Color", "red"), with("Content-Digest", sha(text)))
	o := want[objectShown](t, put, 201)
	if o.Name != "2026/july résumé.txt" || o.Size != int64(len(text)) || o.Digest != sha(text) || o.Description != "first" || o.Headers["Content-Type"] != "text/plain" ||
		put.header.Get("ETag") != o.ETag || put.header.Get("Repr-Digest") != sha(text) {
		t.Errorf("put: %+v %v", o, put.header)
	}
	for _, method := range []string{"GET", "HEAD"} {
		a := d.do(method, at, "")
		h := a.header
		if a.status != 200 || method == "GET" != bytes.Equal(a.body, text) || h.Get("Content-Length") != fmt.Sprint(len(text)) || h.Get("Content-Type") != "text/plain" ||
			h.Get("Msg-Color") != "red" || h.Get("ETag") != o.ETag || h.Get("Repr-Digest") != sha(text) || h.Get("Accept-Ranges") != "bytes" || h.Get("Last-Modified") == "" ||
			h.Get("Content-Disposition") != "attachment; filename*=utf-8''july%20r%C3%A9sum%C3%A9.txt" {
			t.Errorf("%s: %d, %d bytes, %v", method, a.status, len(a.body), h)
		}
	}
	if a := d.do("GET", at, "", with("If-None-Match", o.ETag)); a.status != 304 || len(a.body) > 0 {
		t.Errorf("unchanged: %d", a.status)
	}
	refused(t, d.do("GET", at, "", with("If-Match", `"other"`)), 412, core.CodePreconditionFailed)
	again := want[objectShown](t, d.do("PUT", at, "short"), 200)
	if again.ETag == o.ETag || string(d.do("GET", at, "").body) != "short" {
		t.Errorf("replaced: %+v", again)
	}
	if a := d.do("GET", at, "", with("If-None-Match", o.ETag)); a.status != 200 {
		t.Errorf("changed: %d", a.status)
	}
	want[objectShown](t, d.do("PUT", "/v1/objects/b/items/empty", ""), 201)
	if a := d.do("GET", "/v1/objects/b/items/empty", ""); a.status != 200 || len(a.body) != 0 || a.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("empty: %d %v", a.status, a.header)
	}
	page := want[struct {
		Objects []objectShown
		Next    string
	}](t, d.do("GET", "/v1/objects/b/items?limit=1", ""), 200)
	if len(page.Objects) != 1 || page.Objects[0].Name != "2026/july résumé.txt" || page.Objects[0].Size != 5 || page.Next == "" {
		t.Errorf("listed %+v", page)
	}
	if a := d.do("DELETE", at, ""); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	refused(t, d.do("GET", at, ""), 404, core.CodeNotFound)
	refused(t, d.do("DELETE", at, ""), 404, core.CodeNotFound)
	if a := d.do("HEAD", at, ""); a.status != 404 {
		t.Errorf("head: %d", a.status)
	}
}

func TestObjectRanges(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.objects("b")
	text := make([]byte, 400_000) // several chunks of the store
	for i := range text {
		text[i] = byte(i * 7 / 3)
	}
	const path = "/v1/objects/b/items/x"
	tag := want[objectShown](t, d.do("PUT", path, string(text)), 201).ETag
	for value, c := range map[string]struct{ from, to int }{
		"bytes=0-9": {0, 9}, "bytes=131070-131075": {131070, 131075}, "bytes=399999-": {399999, 399999}, "bytes=-5": {399995, 399999}, "bytes=100-999999": {100, 399999},
	} {
		a := d.do("GET", path, "", with("Range", value), with("If-Range", tag))
		if a.status != 206 || !bytes.Equal(a.body, text[c.from:c.to+1]) || a.header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/400000", c.from, c.to) {
			t.Errorf("%s: %d, %d bytes, %v", value, a.status, len(a.body), a.header)
		}
	}
	if a := d.do("GET", path, "", with("Range", "bytes=0-9"), with("If-Range", `"other"`)); a.status != 200 || !bytes.Equal(a.body, text) {
		t.Errorf("of another one: %d", a.status)
	}
	if a := d.do("HEAD", path, "", with("Range", "bytes=0-9")); a.status != 200 || a.header.Get("Content-Length") != "400000" {
		t.Errorf("head: %d %v", a.status, a.header)
	}
	a := d.do("GET", path, "", with("Range", "bytes=400000-"))
	refused(t, a, 416, core.CodeInvalid)
	if got := a.header.Get("Content-Range"); got != "bytes */400000" {
		t.Errorf("content range %q", got)
	}
}

func TestObjectBadInput(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.objects("b")
	const path = "/v1/objects/b/items/x"
	old := want[objectShown](t, d.do("PUT", path, "old"), 201)
	refused(t, d.do("PUT", path, "new", with("Content-Digest", sha([]byte("other")))), 400, core.CodeInvalid)
	refused(t, d.do("PUT", path, "new", with("Repr-Digest", "sha-256=:AAAA:")), 400, core.CodeInvalid)
	refused(t, d.do("PUT", path, "new", with("Content-Range", "bytes 0-2/3")), 400, core.CodeInvalid)
	refused(t, d.do("PUT", path, "new", with("Portico-Origin", "x")), 400, core.CodeInvalid)
	refused(t, d.do("PUT", path, "new", with("If-None-Match", "*")), 501, core.CodeUnimplemented)
	refused(t, d.do("DELETE", path, "", with("If-Match", old.ETag)), 501, core.CodeUnimplemented)
	refused(t, d.do("PUT", "/v1/objects/b/items/"+strings.Repeat("x", 1025), "new"), 400, core.CodeInvalid)
	refused(t, d.do("PUT", "/v1/objects/b/items/", "new"), 400, core.CodeInvalid)
	refused(t, d.do("PUT", "/v1/objects/b", `{"storage":"tape"}`), 400, core.CodeInvalid)
	if a := d.do("GET", path, ""); string(a.body) != "old" || a.header.Get("ETag") != old.ETag {
		t.Errorf("changed all the same: %q", a.body)
	}
}

// A body that is too large is refused before it is read.
func TestObjectAboveTheLimit(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.objects("b")
	conn, err := net.Dial("tcp", d.door.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /v1/objects/b/items/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", 5<<30+1)
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	head := make([]byte, 64)
	if n, err := io.ReadAtLeast(conn, head, 12); err != nil || !strings.HasPrefix(string(head[:n]), "HTTP/1.1 413") {
		t.Errorf("%q %v", head[:n], err)
	}
}

// An upload that breaks off leaves what was there.
func TestBrokenUpload(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.objects("b")
	want[objectShown](t, d.do("PUT", "/v1/objects/b/items/x", "old"), 201)
	body, broken := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "PUT", d.url+"/v1/objects/b/items/x", body)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		broken.Write(make([]byte, 300_000))
		broken.CloseWithError(errors.New("the client has gone"))
	}()
	if _, err := d.try(r); err == nil {
		t.Error("the request has not failed")
	}
	if a := d.do("GET", "/v1/objects/b/items/x", ""); string(a.body) != "old" {
		t.Errorf("it is %q", a.body)
	}
}

// zeros is a body of so many bytes that are nowhere in memory.
type zeros struct{ left int }

func (z *zeros) Read(p []byte) (int, error) {
	n := min(len(p), z.left)
	if z.left -= n; n == 0 {
		return 0, io.EOF
	}
	clear(p[:n])
	return n, nil
}

// Large objects go through with little memory, both ways.
func TestLargeObject(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 160 MiB")
	}
	const size = 160 << 20
	d := open(t, httpapi.Config{})
	d.objects("b")
	r, err := http.NewRequestWithContext(t.Context(), "PUT", d.url+"/v1/objects/b/items/x", &zeros{size})
	if err != nil {
		t.Fatal(err)
	}
	most := peak(func() {
		a, err := d.try(r)
		if err != nil {
			t.Fatal(err)
		}
		if o := want[objectShown](t, a, 201); o.Size != size {
			t.Errorf("put %+v", o)
		}
		res, err := d.client.Get(d.url + "/v1/objects/b/items/x")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		sum := sha256.New()
		n, err := io.Copy(sum, res.Body)
		if err != nil || n != size || "sha-256=:"+base64.StdEncoding.EncodeToString(sum.Sum(nil))+":" != res.Header.Get("Repr-Digest") {
			t.Errorf("%d bytes %v %v", n, res.Header, err)
		}
	})
	if most > 128<<20 { // whatever the buffers and the collector need: not the object
		t.Errorf("it took %d MiB", most>>20)
	}
}

// peak is how much more memory was in use while f ran, looked at now and then.
func peak(f func()) (most uint64) {
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	// What is garbage does not count: it is collected in time.
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(int64(before.Sys-before.HeapReleased) + 40<<20))
	done := make(chan struct{})
	looked := make(chan uint64)
	go func() {
		var most uint64
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			case <-done:
				looked <- most
				return
			}
		}
	}()
	f()
	close(done)
	return max(<-looked, before.HeapAlloc) - before.HeapAlloc
}

// What NATS clients put is read here, and the other way round.
func TestObjectsAreThoseOfNATSClients(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.objects("b")
	store, err := d.natively().ObjectStore(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("native "), 50_000)
	if _, err := store.Put(t.Context(), jetstream.ObjectMeta{Name: "n"}, bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if a := d.do("GET", "/v1/objects/b/items/n", ""); a.status != 200 || !bytes.Equal(a.body, text) || a.header.Get("Repr-Digest") != sha(text) {
		t.Errorf("%d, %d bytes, %v", a.status, len(a.body), a.header)
	}
	want[objectShown](t, d.do("PUT", "/v1/objects/b/items/o", "ours", with("Content-Type", "text/plain")), 201)
	got, err := store.GetBytes(t.Context(), "o")
	if err != nil || string(got) != "ours" {
		t.Errorf("%q %v", got, err)
	}
	info, err := store.GetInfo(t.Context(), "o")
	if err != nil || info.Headers.Get("Content-Type") != "text/plain" {
		t.Errorf("%+v %v", info, err)
	}
}

// A body that stops coming is given up, and leaves nothing.
func TestSlowUpload(t *testing.T) {
	d := open(t, httpapi.Config{BodyTimeout: 200 * time.Millisecond})
	d.objects("b")
	conn, err := net.Dial("tcp", d.door.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "PUT /v1/objects/b/items/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nsome")
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	head := make([]byte, 64)
	if n, err := io.ReadAtLeast(conn, head, 12); err != nil || !strings.HasPrefix(string(head[:n]), "HTTP/1.1 504") {
		t.Errorf("%q %v", head[:n], err)
	}
	refused(t, d.do("GET", "/v1/objects/b/items/x", ""), 404, core.CodeNotFound)
}

// A client that does not take what it asked for is cut.
func TestSlowDownload(t *testing.T) {
	d := open(t, httpapi.Config{WriteTimeout: 200 * time.Millisecond})
	d.objects("b")
	want[objectShown](t, d.do("PUT", "/v1/objects/b/items/x", string(make([]byte, 12<<20))), 201)
	before := d.connections()
	conn, err := net.Dial("tcp", d.door.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /v1/objects/b/items/x HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, "it is there", func() bool { return d.connections() > before })
	eventually(t, "the client that does not read is gone", func() bool { return d.connections() == before })
}
