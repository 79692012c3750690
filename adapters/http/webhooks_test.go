package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/adapters/http/webhook"
	"portico/core"
	"portico/core/coretest"

	httpapi "portico/adapters/http"
)

// openWebhooks is a door with webhooks that may go to loopback, and a receiver of them.
func openWebhooks(t *testing.T, options ...func(*core.Config)) (*doorway, *hookTarget) {
	t.Helper()
	target := &hookTarget{status: 200}
	target.Server = httptest.NewServer(target)
	t.Cleanup(target.Close)
	g := coretest.Start(t, append([]func(*core.Config){func(c *core.Config) { c.DrainTimeout = 2 * time.Second }}, options...)...)
	courier, err := webhook.New(webhook.Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, g, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	door, err := httpapi.New(httpapi.Config{Listen: "127.0.0.1:0", Webhooks: courier}, g, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, a := range []core.Adapter{courier, door} {
		all.Go(func() {
			if err := a.Serve(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		all.Wait()
	})
	d := &doorway{t: t, gateway: g, door: door, url: "http://" + door.Addr()}
	d.client = &http.Client{Transport: watched{transport, d.url}}
	return d, target
}

// hookTarget receives webhooks.
type hookTarget struct {
	*httptest.Server

	mu     sync.Mutex // guards the rest
	status int
	ids    []string
	signed []string // webhook-signature
}

// ServeHTTP implements http.Handler.
func (h *hookTarget) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids = append(h.ids, r.Header.Get("webhook-id"))
	h.signed = append(h.signed, r.Header.Get("webhook-signature"))
	w.WriteHeader(h.status)
	fmt.Fprint(w, "said")
}

func (h *hookTarget) says(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = status
}

func (h *hookTarget) got() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.ids...)
}

type hookView struct {
	webhook.Endpoint
	Secret string
}

type deliveries struct {
	Deliveries []webhook.Delivery
	Next       string
}

func TestWebhookLife(t *testing.T) {
	d, target := openWebhooks(t)
	body := fmt.Sprintf(`{"url":%q,"subjects":["orders.>"],"schedule":[10],"pause_after":0}`, target.URL)
	made := want[hookView](t, d.do("PUT", "/v1/webhooks/shop", body), 201)
	if !strings.HasPrefix(made.Secret, "whsec_") || !made.Ordered || made.Timeout != 15000 || made.MaxAttempts != 2 || made.Queue != "webhook.shop" {
		t.Errorf("made is %+v", made)
	}
	if again := want[hookView](t, d.do("PUT", "/v1/webhooks/shop", body), 200); again.Secret != "" {
		t.Error("the secret is shown a second time")
	}
	if got := want[hookView](t, d.do("GET", "/v1/webhooks/shop", ""), 200); got.Secret != "" || got.State != webhook.Active || got.URL != target.URL {
		t.Errorf("it is %+v", got)
	}
	want[receipt](t, d.do("POST", "/v1/publish/orders.new", "one"), 200)
	eventually(t, "it is delivered", func() bool { return len(target.got()) == 1 })
	id := target.got()[0]
	delivery := "/v1/webhooks/shop/deliveries/" + id
	eventually(t, "it is logged", func() bool {
		return want[webhook.Delivery](t, d.do("GET", delivery, ""), 200).Status == webhook.DeliverySucceeded
	})
	got := want[webhook.Delivery](t, d.do("GET", delivery, ""), 200)
	if len(got.Attempts) != 1 || got.Attempts[0].Response != "said" || got.Subject != "orders.new" {
		t.Errorf("the delivery is %+v", got)
	}
	want[webhook.Delivery](t, d.do("POST", delivery+"/retry", ""), 202)
	eventually(t, "it is delivered again", func() bool { return len(target.got()) == 2 && target.got()[1] == id })
	tested := want[struct {
		ID     string
		Status int
	}](t, d.do("POST", "/v1/webhooks/shop/test", ""), 200)
	if tested.Status != 200 || target.got()[2] != tested.ID {
		t.Errorf("the test's answer is %+v", tested)
	}
	if a := d.do("DELETE", "/v1/webhooks/shop", ""); a.status != 204 {
		t.Errorf("DELETE: %d", a.status)
	}
	refused(t, d.do("GET", "/v1/webhooks/shop", ""), 404, core.CodeNotFound)
	refused(t, d.do("GET", "/v1/queues/webhook.shop", ""), 404, core.CodeNotFound)
	refused(t, d.do("GET", "/v1/queues/webhook.shop.log", ""), 404, core.CodeNotFound)
}

func TestWebhookStates(t *testing.T) {
	d, target := openWebhooks(t)
	body := fmt.Sprintf(`{"url":%q,"subjects":["orders.>"],"schedule":[10],"pause_after":0}`, target.URL)
	want[hookView](t, d.do("PUT", "/v1/webhooks/shop", body), 201)
	if off := want[hookView](t, d.do("POST", "/v1/webhooks/shop/disable", ""), 200); off.State != webhook.Disabled || off.DisabledReason == "" {
		t.Errorf("disabled it is %+v", off)
	}
	want[receipt](t, d.do("POST", "/v1/publish/orders.new", "one"), 200)
	want[struct{}](t, d.do("POST", "/v1/webhooks/shop/test", ""), 200)
	if n := len(target.got()); n != 1 {
		t.Errorf("%d requests, want only the test's", n)
	}
	rotated := want[hookView](t, d.do("POST", "/v1/webhooks/shop/rotate-secret", `{"overlap":60000}`), 200)
	if rotated.Secrets != 2 || rotated.Secret == "" || time.Until(rotated.Rotated) > time.Minute {
		t.Errorf("rotated it is %+v", rotated)
	}
	want[hookView](t, d.do("POST", "/v1/webhooks/shop/rotate-secret", ""), 200)
	want[hookView](t, d.do("POST", "/v1/webhooks/shop/enable", ""), 200)
	eventually(t, "it is delivered", func() bool { return len(target.got()) == 2 })
	target.mu.Lock()
	if n := len(strings.Fields(target.signed[1])); n != 3 {
		t.Errorf("%d signatures, want 3", n)
	}
	target.mu.Unlock()
}

func TestWebhookDeliveries(t *testing.T) {
	d, target := openWebhooks(t)
	target.says(500)
	want[hookView](t, d.do("PUT", "/v1/webhooks/shop", fmt.Sprintf(`{"url":%q,"subjects":["orders.>"],"schedule":[1],"pause_after":0}`, target.URL)), 201)
	for range 5 {
		want[receipt](t, d.do("POST", "/v1/publish/orders.new", "x"), 200)
	}
	list := func(query string) deliveries {
		return want[deliveries](t, d.do("GET", "/v1/webhooks/shop/deliveries"+query, ""), 200)
	}
	eventually(t, "all have failed", func() bool { return len(list("?status=failed").Deliveries) == 5 })
	page := list("?limit=2&since=1h")
	if len(page.Deliveries) != 2 || page.Next == "" || page.Deliveries[0].Count != 2 {
		t.Errorf("the page is %+v", page)
	}
	if rest := list("?limit=100&cursor=" + page.Next); len(rest.Deliveries) != 3 || rest.Next != "" {
		t.Errorf("the rest is %+v", rest)
	}
	if n := len(list("?status=succeeded").Deliveries); n != 0 {
		t.Errorf("%d have succeeded", n)
	}
	target.says(200)
	done := want[webhook.Replayed](t, d.do("POST", "/v1/webhooks/shop/replay", `{"since":"2020-01-01T00:00:00Z"}`), 202)
	if done.Replayed != 5 {
		t.Errorf("replayed are %+v", done)
	}
	eventually(t, "all have succeeded", func() bool { return len(list("?status=succeeded").Deliveries) == 5 })
	if done := want[webhook.Replayed](t, d.do("POST", "/v1/webhooks/shop/replay", `{"since":"2020-01-01T00:00:00Z","only":"failed"}`), 202); done.Replayed != 0 {
		t.Errorf("replayed are %+v, none has failed any more", done)
	}
}

func TestWebhookList(t *testing.T) {
	d, target := openWebhooks(t)
	for _, name := range []string{"b", "a", "c"} {
		want[hookView](t, d.do("PUT", "/v1/webhooks/"+name, fmt.Sprintf(`{"url":%q,"subjects":["orders.>"]}`, target.URL)), 201)
	}
	type page struct {
		Webhooks []webhook.Endpoint
		Next     string
	}
	first := want[page](t, d.do("GET", "/v1/webhooks?limit=2", ""), 200)
	if len(first.Webhooks) != 2 || first.Webhooks[0].Name != "a" || first.Next == "" {
		t.Fatalf("the first page is %+v", first)
	}
	if rest := want[page](t, d.do("GET", "/v1/webhooks?cursor="+first.Next, ""), 200); len(rest.Webhooks) != 1 || rest.Webhooks[0].Name != "c" || rest.Next != "" {
		t.Errorf("the rest is %+v", rest)
	}
}

// TestWebhookBadInput: each is refused with the field that is wrong.
func TestWebhookBadInput(t *testing.T) {
	d, target := openWebhooks(t)
	for name, c := range map[string]struct{ change, field string }{
		"no url":         {`"url":""`, "body.url"},
		"ftp":            {`"url":"ftp://example.com/"`, "body.url"},
		"user in url":    {`"url":"http://a:b@example.com/"`, "body.url"},
		"private":        {`"url":"http://10.0.0.1/"`, "body.url"},
		"metadata":       {`"url":"http://169.254.169.254/latest"`, "body.url"},
		"mapped":         {`"url":"http://[::ffff:10.0.0.1]/"`, "body.url"},
		"port":           {`"url":"http://example.com:22/"`, "body.url"},
		"no subjects":    {`"subjects":[]`, "body.subjects"},
		"inbox":          {`"subjects":["_INBOX.>"]`, "body.subjects[0]"},
		"js":             {`"subjects":["$JS.>"]`, "body.subjects[0]"},
		"twice":          {`"subjects":["a","a"]`, "body.subjects[1]"},
		"concurrency":    {`"concurrency":101`, "body.concurrency"},
		"timeout":        {`"timeout":10`, "body.timeout"},
		"attempts":       {`"max_attempts":51`, "body.max_attempts"},
		"step":           {`"schedule":[0]`, "body.schedule[0]"},
		"span":           {`"schedule":[86400000],"max_attempts":8`, "body.schedule"},
		"rate":           {`"rate":-1`, "body.rate"},
		"our header":     {`"headers":{"Webhook-Id":"x"}`, "body.headers"},
		"header value":   {`"headers":{"a":"x\r\ny: z"}`, "body.headers"},
		"message header": {`"message_headers":["a b"]`, "body.message_headers[0]"},
		"filter":         {`"filter":{"json":{"a":[1]}}`, "body.filter.json"},
		"filter path":    {`"filter":{"json":{"a..b":1}}`, "body.filter.json"},
		"secret":         {`"secret":"whsec_AAAA"`, "body.secret"},
		"pause":          {`"pause":0`, "body.pause"},
	} {
		t.Run(name, func(t *testing.T) {
			fields := map[string]any{"url": target.URL, "subjects": []string{"orders.>"}}
			if err := json.Unmarshal([]byte("{"+c.change+"}"), &fields); err != nil {
				t.Fatal(err)
			}
			body, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			p := refused(t, d.do("PUT", "/v1/webhooks/shop", string(body)), 400, core.CodeInvalid)
			if len(p.Errors) != 1 || p.Errors[0].Field != c.field {
				t.Errorf("the problem is %+v, want one of %s", p, c.field)
			}
		})
	}
	refused(t, d.do("PUT", "/v1/webhooks/a.b", `{"url":"http://example.com/","subjects":["a"]}`), 400, core.CodeInvalid)
	refused(t, d.do("PUT", "/v1/webhooks/shop", `{"url":"http://example.com/","subjects":["a"],"no":1}`), 400, core.CodeInvalid)
	refused(t, d.do("PUT", "/v1/webhooks/shop", `{"url":"http://example.com/","subjects":["a"],"dead_letter_queue":"none"}`), 404, core.CodeNotFound)
	for path, body := range map[string]string{
		"POST /v1/webhooks/shop/test": "", "POST /v1/webhooks/shop/enable": "", "POST /v1/webhooks/shop/rotate-secret": "", "DELETE /v1/webhooks/shop": "",
		"GET /v1/webhooks/shop/deliveries": "", "GET /v1/webhooks/shop/deliveries/x": "", "POST /v1/webhooks/shop/replay": `{"since":"2020-01-01T00:00:00Z"}`,
	} {
		method, at, _ := strings.Cut(path, " ")
		refused(t, d.do(method, at, body), 404, core.CodeNotFound)
	}
	want[hookView](t, d.do("PUT", "/v1/webhooks/shop", fmt.Sprintf(`{"url":%q,"subjects":["orders.>"]}`, target.URL)), 201)
	refused(t, d.do("GET", "/v1/webhooks/shop/deliveries/x", ""), 404, core.CodeNotFound)
	for path, body := range map[string]string{
		"POST replay": `{}`, "POST  replay": `{"since":"2020-01-01T00:00:00Z","only":"some"}`, "POST rotate-secret": `{"overlap":-1}`,
		"GET deliveries?status=lost": "", "GET deliveries?since=yesterday": "", "GET deliveries?cursor=eA": "",
	} {
		method, at, _ := strings.Cut(path, " ")
		refused(t, d.do(method, "/v1/webhooks/shop/"+strings.TrimSpace(at), body), 400, core.CodeInvalid)
	}
}

// TestWebhookPermissions: an endpoint needs permission to subscribe to its subjects and to its queue.
func TestWebhookPermissions(t *testing.T) {
	d, target := openWebhooks(t, coretest.Users(
		core.User{Name: "all", Password: "p"},
		core.User{Name: "shop", Password: "p", Subscribe: []string{"orders.>", "$queue.webhook%2Eshop"}},
		core.User{Name: "other", Password: "p", Subscribe: []string{"orders.>"}},
	))
	body := func(subject string) string { return fmt.Sprintf(`{"url":%q,"subjects":[%q]}`, target.URL, subject) }
	refused(t, d.do("PUT", "/v1/webhooks/shop", body("orders.>")), 401, core.CodeUnauthenticated)
	refused(t, d.do("PUT", "/v1/webhooks/shop", body("orders.>"), as("other", "p")), 403, core.CodePermissionDenied)
	refused(t, d.do("PUT", "/v1/webhooks/shop", body("mail.>"), as("shop", "p")), 403, core.CodePermissionDenied)
	want[hookView](t, d.do("PUT", "/v1/webhooks/shop", body("orders.>"), as("shop", "p")), 201)
	want[hookView](t, d.do("PUT", "/v1/webhooks/mail", body("mail.>"), as("all", "p")), 201)
	refused(t, d.do("GET", "/v1/webhooks/shop", "", as("other", "p")), 403, core.CodePermissionDenied)
	refused(t, d.do("POST", "/v1/webhooks/mail/test", "", as("shop", "p")), 403, core.CodePermissionDenied)
	type page struct{ Webhooks []webhook.Endpoint }
	for user, n := range map[string]int{"all": 2, "shop": 1, "other": 0} {
		if got := want[page](t, d.do("GET", "/v1/webhooks", "", as(user, "p")), 200); len(got.Webhooks) != n {
			t.Errorf("%s sees %d, want %d", user, len(got.Webhooks), n)
		}
	}
}

func TestNoWebhooks(t *testing.T) {
	d := open(t, httpapi.Config{})
	refused(t, d.do("GET", "/v1/webhooks", ""), 501, core.CodeUnimplemented)
}

// TestWebhookDocumentedExamples plays the curl lines for webhooks in docs/http.md in their order: each must succeed.
func TestWebhookDocumentedExamples(t *testing.T) {
	doc, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, there := strings.Cut(string(doc), "\n## Outbound webhooks\n")
	if !there {
		t.Skip("docs/http.md has no such section")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	playWebhooks(t, section)
}

func playWebhooks(t *testing.T, section string) {
	t.Helper()
	d, target := openWebhooks(t)
	played := 0
	for _, line := range curls(strings.ReplaceAll(section, "```shell\n", "```sh\n")) {
		id := "none"
		if ids := target.got(); len(ids) > 1 {
			id = ids[1] // of the first event behind the test's
		}
		x := parseCurl(t, strings.NewReplacer("$ID", id, "https://example.com/hook", target.URL).Replace(line))
		if strings.Contains(line, "$ID") {
			eventually(t, "it is logged", func() bool { return d.do("GET", "/v1/webhooks/shop/deliveries/"+id, "").status == 200 })
		}
		if a := d.do(x.method, x.path, x.body, x.options...); a.status >= 300 {
			t.Errorf("%s: %d %s", line, a.status, a.body)
		}
		if strings.Contains(line, "/v1/publish/") {
			eventually(t, "the event is delivered", func() bool { return len(target.got()) == 2 })
		}
		played++
	}
	if played < 12 {
		t.Errorf("%d examples", played)
	}
}
