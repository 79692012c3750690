package httpapi_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	httpapi "portico/adapters/http"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	githubSecret = "It's a Secret to Everybody"
	githubMac    = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17" // of Hello, World!, as GitHub documents it
	shopSecret   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

type hookAnswer struct {
	Duplicate bool
	Challenge string
}

type hookDescription struct {
	Name, URL, Kind, Tolerance, Subject string
	Secrets                             int
	Live, Fixed                         bool
}

// hookMac signs independently of the product.
func hookMac(secret, content string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(content))
	return hex.EncodeToString(mac.Sum(nil))
}

// githubHook makes the hook gh and a queue for what comes by it.
func githubHook(t *testing.T, d *doorway) {
	t.Helper()
	want[hookDescription](t, d.do("PUT", "/v1/hooks/gh", fmt.Sprintf(`{"kind":"github","secrets":["first secret",%q],"headers":["X-GitHub-Event","User-Agent"]}`, githubSecret)), 201)
	d.declare("gh")
	if a := d.do("PUT", "/v1/queues/gh/bindings/hooks.gh.>", ""); a.status != 204 {
		t.Fatalf("bind: %d %s", a.status, a.body)
	}
}

// github sends the documented webhook under a delivery id.
func (d *doorway) github(id string, options ...option) answer {
	d.t.Helper()
	return d.do("POST", "/hooks/gh", "Hello, World!", append([]option{
		with("X-Hub-Signature-256", githubMac), with("X-GitHub-Event", "push"), with("X-GitHub-Delivery", id), with("Content-Type", "text/plain"),
	}, options...)...)
}

func TestGitHubHook(t *testing.T) {
	d := open(t, httpapi.Config{})
	githubHook(t, d)
	if a := want[hookAnswer](t, d.github("d-1"), 200); a.Duplicate {
		t.Error("the first one is told to be a duplicate")
	}
	if a := want[hookAnswer](t, d.github("d-1"), 200); !a.Duplicate {
		t.Error("a replay is not told")
	}
	want[hookAnswer](t, d.github("d-2"), 200)
	got := d.fetch("gh", "max=10&wait=1s")
	if len(got) != 2 {
		t.Fatalf("%d messages, want 2", len(got))
	}
	m := got[0]
	if m.text() != "Hello, World!" || m.Subject != "hooks.gh.push" {
		t.Errorf("message %+v", m)
	}
	for name, value := range map[string]string{
		"Content-Type": "text/plain", "Portico-Message-Id": "d-1", "Portico-Type": "push", "hook-source": "gh", "x-github-event": "push", "Nats-Msg-Id": "hook:gh:d-1",
	} {
		if m.Headers[name] != value {
			t.Errorf("header %s is %v, want %q", name, m.Headers[name], value)
		}
	}
	if _, there := m.Headers["x-hub-signature-256"]; there {
		t.Error("a header that is not in the list travels")
	}
}

func TestHookRefusals(t *testing.T) {
	d := open(t, httpapi.Config{MaxBody: 64 << 10})
	githubHook(t, d)
	for name, c := range map[string]struct {
		answer answer
		status int
		code   core.Code
	}{
		"no signature":  {d.do("POST", "/hooks/gh", "Hello, World!"), 401, core.CodeUnauthenticated},
		"another body":  {d.do("POST", "/hooks/gh", "Hello, World?", with("X-Hub-Signature-256", githubMac)), 401, core.CodeUnauthenticated},
		"two of them":   {d.github("x", with("X-Hub-Signature-256", githubMac)), 401, core.CodeUnauthenticated},
		"unknown":       {d.do("POST", "/hooks/nobody", "x"), 404, core.CodeNotFound},
		"unknown ask":   {d.do("OPTIONS", "/hooks/nobody", ""), 404, core.CodeNotFound},
		"too large":     {d.do("POST", "/hooks/gh", strings.Repeat("x", 65<<10), with("X-Hub-Signature-256", githubMac)), 413, core.CodeTooLarge},
		"long id":       {d.github(strings.Repeat("x", 256)), 400, core.CodeInvalid},
		"bad origin":    {d.do("OPTIONS", "/hooks/gh", "", with("WebHook-Request-Origin", "http://x")), 400, core.CodeInvalid},
		"a page's post": {d.github("y", with("Sec-Fetch-Site", "cross-site")), 403, core.CodePermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			if p := want[problem](t, c.answer, c.status); p.Code != c.code.String() {
				t.Errorf("problem %+v", p)
			}
		})
	}
	if ready := d.show("gh").Ready; ready != 0 {
		t.Errorf("%d messages came of refused webhooks", ready)
	}
}

// standardHook sends a webhook signed by the library of Standard Webhooks.
func (d *doorway) standardHook(name, id string, at time.Time, body string) answer {
	d.t.Helper()
	w, err := standardwebhooks.NewWebhook(shopSecret)
	if err != nil {
		d.t.Fatal(err)
	}
	signature, err := w.Sign(id, at, []byte(body))
	if err != nil {
		d.t.Fatal(err)
	}
	return d.do("POST", "/hooks/"+name, body, with("webhook-id", id), with("webhook-timestamp", strconv.FormatInt(at.Unix(), 10)), with("webhook-signature", signature))
}

func TestStaleHook(t *testing.T) {
	d := open(t, httpapi.Config{Hooks: []httpapi.Hook{{Name: "shop", Kind: "standard-webhooks", Secrets: []string{shopSecret}, Live: true}}})
	p := want[problem](t, d.standardHook("shop", "m1", time.Now().Add(-6*time.Minute), "{}"), 401)
	if p.Type != "urn:portico:problem:stale-timestamp" || p.Code != "unauthenticated" {
		t.Errorf("problem %+v", p)
	}
	want[hookAnswer](t, d.standardHook("shop", "m1", time.Now().Add(-4*time.Minute), "{}"), 200)
}

func TestHookSubject(t *testing.T) {
	d := open(t, httpapi.Config{Hooks: []httpapi.Hook{{
		Name: "shop", Kind: "standard-webhooks", Secrets: []string{shopSecret}, Subject: "shop.{body.order.country}.{type}.v{body.version}.{header.Webhook-Region}",
	}}})
	d.declare("shop")
	d.do("PUT", "/v1/queues/shop/bindings/shop.>", "")
	want[hookAnswer](t, d.standardHook("shop", "m1", time.Now(), `{"type":"order.created","version":2,"order":{"country":"*.>"}}`), 200)
	got := d.fetch("shop", "wait=1s")
	if len(got) != 1 || got[0].Subject != "shop.%2A%2E%3E.order%2Ecreated.v2.%_" {
		t.Errorf("messages %+v", got)
	}
	refused(t, d.standardHook("shop", "m2", time.Now(), `{"type":"`+strings.Repeat("x", 255)+`","order":{"country":"`+strings.Repeat("x", 300)+`"}}`), 400, core.CodeInvalid)
}

func TestSlackHook(t *testing.T) {
	const secret = "8f742231b10e8888abcd99yyyzzz85a5"
	d := open(t, httpapi.Config{Hooks: []httpapi.Hook{{Name: "slack", Kind: "slack", Secrets: []string{secret}, Live: true}}})
	send := func(body, secret string) answer {
		at := strconv.FormatInt(time.Now().Unix(), 10)
		return d.do("POST", "/hooks/slack", body, with("X-Slack-Request-Timestamp", at), with("X-Slack-Signature", "v0="+hookMac(secret, "v0:"+at+":"+body)))
	}
	if a := want[hookAnswer](t, send(`{"type":"url_verification","challenge":"abc"}`, secret), 200); a.Challenge != "abc" {
		t.Errorf("answer %+v", a)
	}
	refusedHook := send(`{"type":"url_verification","challenge":"abc"}`, "another")
	refusedHook.status = want[problem](t, refusedHook, 401).Status
	if bytes.Contains(refusedHook.body, []byte("abc")) {
		t.Error("a challenge that is not signed is answered")
	}
	want[hookAnswer](t, send(`{"type":"event_callback","event_id":"Ev1","event":{"type":"message"}}`, secret), 200)
}

// TestUnkept: without a queue or stream nothing is acknowledged, unless the source says that nobody has to keep it.
func TestUnkept(t *testing.T) {
	d := open(t, httpapi.Config{Hooks: []httpapi.Hook{
		{Name: "kept", Kind: "bearer", Secrets: []string{"a long token"}, IDHeader: "X-Id"}, {Name: "live", Kind: "bearer", Secrets: []string{"a long token"}, Live: true},
	}})
	send := func(name string) answer {
		return d.do("POST", "/hooks/"+name, "{}", with("Authorization", "Bearer a long token"), with("X-Id", "1"))
	}
	refused(t, send("kept"), 503, core.CodeNoResponders)
	want[hookAnswer](t, send("live"), 200)
	d.declare("k")
	d.do("PUT", "/v1/queues/k/bindings/hooks.kept.*", "")
	if a := want[hookAnswer](t, send("kept"), 200); a.Duplicate {
		t.Error("what was refused is told to be a duplicate")
	}
	if got := d.fetch("k", "wait=1s"); len(got) != 1 || got[0].Subject != "hooks.kept.%_" {
		t.Errorf("messages %+v", got)
	}
}

// TestHookKeptByStream: a stream keeps as a queue does, and knows an id that comes again.
func TestHookKeptByStream(t *testing.T) {
	d := open(t, httpapi.Config{Hooks: []httpapi.Hook{{Name: "s", Kind: "bearer", Secrets: []string{"a long token"}, IDHeader: "X-Id"}}})
	if a := d.do("PUT", "/v1/streams/kept", `{"subjects":["hooks.s.*"]}`); a.status != 201 {
		t.Fatalf("stream: %d %s", a.status, a.body)
	}
	for _, duplicate := range []bool{false, true} {
		a := want[hookAnswer](t, d.do("POST", "/hooks/s", `{"type":"x"}`, with("Authorization", "Bearer a long token"), with("X-Id", "1")), 200)
		if a.Duplicate != duplicate {
			t.Errorf("duplicate %v, want %v", a.Duplicate, duplicate)
		}
	}
	got := want[struct{ Messages []struct{ Subject string } }](t, d.do("GET", "/v1/streams/kept/messages?from=1", ""), 200).Messages
	if len(got) != 1 || got[0].Subject != "hooks.s.x" {
		t.Errorf("messages %+v", got)
	}
}

// TestHookAtOnce sends one delivery many times at once: it is published once.
func TestHookAtOnce(t *testing.T) {
	d := open(t, httpapi.Config{})
	githubHook(t, d)
	var all sync.WaitGroup
	var mu sync.Mutex
	first := 0
	for range 20 {
		all.Go(func() {
			r := d.request("POST", "/hooks/gh", "Hello, World!", with("X-Hub-Signature-256", githubMac), with("X-GitHub-Event", "push"), with("X-GitHub-Delivery", "same"))
			a, err := d.try(r)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || a.status != 200 {
				t.Errorf("%v %d %s", err, a.status, a.body)
			}
			if !bytes.Contains(a.body, []byte("true")) {
				first++
			}
		})
	}
	all.Wait()
	if ready := d.show("gh").Ready; first != 1 || ready != 1 {
		t.Errorf("%d were told to be the first, %d are in the queue", first, ready)
	}
}

// TestHookMemory: what was taken is known after a restart, even where no queue can know it.
func TestHookMemory(t *testing.T) {
	dir := t.TempDir()
	d := open(t, httpapi.Config{}, coretest.DataDir(dir))
	githubHook(t, d)
	want[hookAnswer](t, d.github("d-1"), 200)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if err := d.gateway.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, httpapi.Config{}, coretest.DataDir(dir))
	want[hookDescription](t, d.do("GET", "/v1/hooks/gh", ""), 200)
	d.declare("gh")
	d.do("PUT", "/v1/queues/gh/bindings/hooks.gh.>", "")
	if a := want[hookAnswer](t, d.github("d-1"), 200); !a.Duplicate {
		t.Error("a restart forgets what was taken")
	}
	if a := want[hookAnswer](t, d.github("d-2"), 200); a.Duplicate {
		t.Error("what is new is told to be a duplicate")
	}
	if ready := d.show("gh").Ready; ready != 1 {
		t.Errorf("%d messages, want 1", ready)
	}
}

func TestHookSecretsStayInside(t *testing.T) {
	d := open(t, httpapi.Config{Hooks: []httpapi.Hook{{Name: "fixed", Kind: "bearer", Secrets: []string{"fixed secret"}}}})
	for _, a := range []answer{
		d.do("PUT", "/v1/hooks/gh", `{"kind":"github","secrets":["first secret","second secret"]}`),
		d.do("PUT", "/v1/hooks/gh", `{"kind":"github","tolerance":"1m"}`),
		d.do("PUT", "/v1/hooks/gh", `{"kind":"nonsense","secrets":["third secret"],"subject":"{x}"}`),
		d.do("GET", "/v1/hooks/gh", ""), d.do("GET", "/v1/hooks/fixed", ""), d.do("GET", "/v1/hooks", ""),
	} {
		if bytes.Contains(a.body, []byte("secret\"")) || bytes.Contains(a.body, []byte("third")) {
			t.Errorf("a secret comes back: %s", a.body)
		}
	}
	if h := want[hookDescription](t, d.do("GET", "/v1/hooks/gh", ""), 200); h.Secrets != 2 || h.Tolerance != "1m0s" || h.URL != "/hooks/gh" || h.Subject != "hooks.{name}.{type}" {
		t.Errorf("hook %+v", h)
	}
}

func TestHookRotation(t *testing.T) {
	d := open(t, httpapi.Config{})
	githubHook(t, d)
	want[hookAnswer](t, d.github("d-1"), 200)
	want[hookDescription](t, d.do("PUT", "/v1/hooks/gh", `{"kind":"github","secrets":["the next secret"]}`), 200)
	want[problem](t, d.github("d-2"), 401)
	if a := d.do("DELETE", "/v1/hooks/gh", ""); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	refused(t, d.github("d-3"), 404, core.CodeNotFound)
	refused(t, d.do("DELETE", "/v1/hooks/gh", ""), 404, core.CodeNotFound)
}

func TestFixedHook(t *testing.T) {
	d := open(t, httpapi.Config{Hooks: []httpapi.Hook{{Name: "fixed", Kind: "bearer", Secrets: []string{"fixed secret"}}}})
	refused(t, d.do("PUT", "/v1/hooks/fixed", `{"kind":"bearer","secrets":["another secret"]}`), 409, core.CodeLocked)
	refused(t, d.do("DELETE", "/v1/hooks/fixed", ""), 409, core.CodeLocked)
	if h := want[hookDescription](t, d.do("GET", "/v1/hooks/fixed", ""), 200); !h.Fixed {
		t.Errorf("hook %+v", h)
	}
}

func TestHookFields(t *testing.T) {
	d := open(t, httpapi.Config{})
	for body, field := range map[string]string{
		`{"kind":"gitlab","secrets":["long enough"]}`:                                             "body.kind",
		`{"kind":"github"}`:                                                                       "body.secrets",
		`{"kind":"github","secrets":["short"]}`:                                                   "body.secrets[0]",
		`{"kind":"github","secrets":["long enough"],"tolerance":"soon"}`:                          "body.tolerance",
		`{"kind":"github","secrets":["long enough"],"tolerance":"2h"}`:                            "body.tolerance",
		`{"kind":"github","secrets":["long enough"],"subject":"$SYS.{type}"}`:                     "body.subject",
		`{"kind":"github","secrets":["long enough"],"subject":"a.{secret}"}`:                      "body.subject",
		`{"kind":"github","secrets":["long enough"],"headers":["Authorization"]}`:                 "body.headers[0]",
		`{"kind":"github","secrets":["long enough"],"headers":["Nats-Rollup"]}`:                   "body.headers[0]",
		`{"kind":"hmac","secrets":["long enough"]}`:                                               "body.hmac.header",
		`{"kind":"hmac","secrets":["long enough"],"hmac":{"header":"X-Sig","algorithm":"crc32"}}`: "body.hmac.algorithm",
		`{"kind":"github","secrets":["long enough"],"nonsense":1}`:                                "body.nonsense",
	} {
		p := refused(t, d.do("PUT", "/v1/hooks/x", body), 400, core.CodeInvalid)
		if !slices.ContainsFunc(p.Errors, func(v violation) bool { return v.Field == field }) {
			t.Errorf("%s: %+v, want a complaint about %s", body, p, field)
		}
	}
	refused(t, d.do("PUT", "/v1/hooks/a%2Fb", `{"kind":"github","secrets":["long enough"]}`), 400, core.CodeInvalid)
}

// TestHookPermissions: only who may publish on everything that a template can name has to do with the hook.
func TestHookPermissions(t *testing.T) {
	d := open(t, httpapi.Config{}, coretest.Users(
		core.User{Name: "all", Password: "p"},
		core.User{Name: "hooks", Password: "p", Publish: []string{"hooks.>"}},
		core.User{Name: "one", Password: "p", Publish: []string{"hooks.gh.push", "hooks.other.*"}},
	))
	put := func(user, name, subject string) answer {
		return d.do("PUT", "/v1/hooks/"+name, fmt.Sprintf(`{"kind":"github","secrets":[%q],"subject":%q}`, githubSecret, subject), as(user, "p"))
	}
	refused(t, put("one", "gh", "hooks.{name}.{type}"), 403, core.CodePermissionDenied)
	refused(t, put("hooks", "gh", "orders.{type}"), 403, core.CodePermissionDenied)
	want[hookDescription](t, put("one", "other", "hooks.{name}.{type}"), 201)
	want[hookDescription](t, put("all", "gh", "hooks.{name}.{type}"), 201)
	want[hookDescription](t, put("hooks", "gh", "hooks.{name}.{type}.x"), 200)
	want[hookDescription](t, put("all", "gh", "orders.{type}"), 200)
	refused(t, put("hooks", "gh", "hooks.{name}.{type}"), 403, core.CodePermissionDenied)
	refused(t, d.do("GET", "/v1/hooks/gh", "", as("hooks", "p")), 403, core.CodePermissionDenied)
	refused(t, d.do("DELETE", "/v1/hooks/gh", "", as("hooks", "p")), 403, core.CodePermissionDenied)
	refused(t, d.do("GET", "/v1/hooks", ""), 401, core.CodeUnauthenticated)
	for user, names := range map[string][]string{"all": {"gh", "other"}, "hooks": {"other"}, "one": {"other"}} {
		list := want[struct{ Hooks []hookDescription }](t, d.do("GET", "/v1/hooks", "", as(user, "p")), 200).Hooks
		got := map[string]bool{}
		for _, h := range list {
			got[h.Name] = true
		}
		if !slices.Equal(slices.Sorted(maps.Keys(got)), names) {
			t.Errorf("%s sees %+v, want %v", user, list, names)
		}
	}
}

// TestHookHandshake: a sender of CloudEvents asks first.
func TestHookHandshake(t *testing.T) {
	d := open(t, httpapi.Config{})
	githubHook(t, d)
	for _, path := range []string{"/hooks/gh", "/v1/events", "/v1/events/orders.new"} {
		a := d.do("OPTIONS", path, "", with("WebHook-Request-Origin", "eventemitter.example.com"), with("WebHook-Request-Rate", "120"))
		if a.status != 200 || a.header.Get("WebHook-Allowed-Origin") != "eventemitter.example.com" || a.header.Get("WebHook-Allowed-Rate") != "*" || !strings.Contains(a.header.Get("Allow"), "POST") {
			t.Errorf("%s: %d %v", path, a.status, a.header)
		}
		a = d.do("OPTIONS", path, "")
		if a.status != 200 || a.header.Get("WebHook-Allowed-Origin") != "" {
			t.Errorf("%s without origin: %d %v", path, a.status, a.header)
		}
	}
}

// TestHookBodyUnread: whoever cannot have signed a body does not get it read.
func TestHookBodyUnread(t *testing.T) {
	d := open(t, httpapi.Config{})
	githubHook(t, d)
	r := d.request("POST", "/hooks/gh", "")
	unread := &countingBody{left: 1 << 20}
	r.Body, r.ContentLength = unread, 1<<20
	r.Header.Set("Expect", "100-continue")
	d.client.Transport = &http.Transport{ExpectContinueTimeout: time.Minute}
	defer d.client.CloseIdleConnections()
	a, err := d.try(r)
	if err != nil || a.status != 401 {
		t.Fatalf("%v %d %s", err, a.status, a.body)
	}
	if unread.read > 0 {
		t.Errorf("%d bytes were asked for", unread.read)
	}
}

type countingBody struct{ left, read int }

func (b *countingBody) Read(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left, b.read = b.left-n, b.read+n
	return n, nil
}

func (b *countingBody) Close() error { return nil }
