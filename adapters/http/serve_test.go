package httpapi_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"portico/core"

	httpapi "portico/adapters/http"
)

// respond answers n requests with their payload twice, and ends its session.
func (d *doorway) respond(n int) error {
	session := ""
	for range n {
		poll, err := d.try(d.request("POST", "/v1/serve?subject=math.double&group=g&wait=10s&session="+session, ""))
		if err != nil || poll.status != 200 || poll.header.Get("Portico-Subject") != "math.double" {
			return fmt.Errorf("poll: %d %s %w", poll.status, poll.body, err)
		}
		session = poll.header.Get("Portico-Session")
		said, err := d.try(d.request("POST", "/v1/serve/answers/"+poll.header.Get("Portico-Request"), string(poll.body)+string(poll.body)))
		if err != nil || said.status != 200 || !strings.Contains(string(said.body), `"live":true`) {
			return fmt.Errorf("answer: %d %s %w", said.status, said.body, err)
		}
	}
	end, err := d.try(d.request("DELETE", "/v1/serve/sessions/"+session, ""))
	if err == nil && end.status != 204 {
		err = fmt.Errorf("end of session: %d %s", end.status, end.body)
	}
	return err
}

func TestServe(t *testing.T) {
	d := open(t, httpapi.Config{})
	const askers, requests = 32, 128
	var all sync.WaitGroup
	all.Go(func() {
		if err := d.respond(requests); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the responder is there", func() bool { return d.gateway.System().Interest("math.double") })
	for i := range askers { // fewer than may wait in a session
		all.Go(func() {
			for k := range requests / askers {
				text := fmt.Sprint("x", i, ".", k)
				got, err := d.try(d.request("POST", "/v1/request/math.double?timeout=20s", text))
				if err != nil || got.status != 200 || string(got.body) != text+text {
					t.Errorf("asked %s, answered %d %s %v", text, got.status, got.body, err)
				}
			}
		})
	}
	all.Wait()
}

// TestServeKeeps lets requests come while nobody polls.
func TestServeKeeps(t *testing.T) {
	d := open(t, httpapi.Config{})
	listening := func() bool { return d.gateway.System().Interest("a.b") }
	first := d.do("POST", "/v1/serve?subject=a.*&wait=0s", "")
	session := first.header.Get("Portico-Session")
	if first.status != 204 || session == "" {
		t.Fatalf("poll: %d %v", first.status, first.header)
	}
	for i := range 64 {
		want[receipt](t, d.do("POST", "/v1/publish/a.b", fmt.Sprint(i)), 202)
	}
	eventually(t, "the full session unsubscribes", func() bool { return !listening() })
	for i := range 64 {
		a := d.do("POST", "/v1/serve?subject=a.*&wait=5s&session="+session, "")
		if a.status != 200 || string(a.body) != fmt.Sprint(i) || a.header.Get("Portico-Session") != session || a.header.Get("Portico-Request") != "" {
			t.Fatalf("poll %d: %d %v %s", i, a.status, a.header, a.body)
		}
	}
	if !listening() {
		t.Fatal("the session did not subscribe again when there was room")
	}
	if a := d.do("DELETE", "/v1/serve/sessions/"+session, ""); a.status != 204 {
		t.Fatalf("end: %d %s", a.status, a.body)
	}
	eventually(t, "the subscription goes with the session", func() bool { return !listening() })
	refused(t, d.do("DELETE", "/v1/serve/sessions/"+session, ""), 404, core.CodeNotFound)
}

func TestServeRefuses(t *testing.T) {
	d := open(t, httpapi.Config{}, func(c *core.Config) {
		c.Users = []core.User{{Name: "a", Password: "a"}, {Name: "b", Password: "b", Subscribe: []string{"theirs"}}}
	})
	mine := d.do("POST", "/v1/serve?subject=mine&wait=0s", "", as("a", "a")).header.Get("Portico-Session")
	for name, x := range map[string]struct {
		method, path string
		status       int
		code         core.Code
	}{
		"no subject":            {"POST", "/v1/serve", 400, core.CodeInvalid},
		"an empty word":         {"POST", "/v1/serve?subject=a..b", 400, core.CodeInvalid},
		"too long a wait":       {"POST", "/v1/serve?subject=a&wait=1h", 400, core.CodeInvalid},
		"not permitted":         {"POST", "/v1/serve?subject=a", 403, core.CodePermissionDenied},
		"a made-up request":     {"POST", "/v1/serve/answers/" + strings.Repeat("A", 60), 409, core.CodePreconditionFailed},
		"not a token":           {"POST", "/v1/serve/answers/x", 400, core.CodeInvalid},
		"somebody's session":    {"DELETE", "/v1/serve/sessions/" + mine, 404, core.CodeNotFound},
		"a session that is not": {"DELETE", "/v1/serve/sessions/x", 404, core.CodeNotFound},
	} {
		t.Run(name, func(t *testing.T) { refused(t, d.do(x.method, x.path, "x", as("b", "b")), x.status, x.code) })
	}
}
