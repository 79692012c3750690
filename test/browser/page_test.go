// Package browser drives the page at / with a real browser.
package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"portico/test/gateway"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// deadline is for one test's dealings with the browser.
const deadline = 60 * time.Second

// browser is the path of the browser; without one there is nothing to test.
func browser(t *testing.T) string {
	t.Helper()
	return gateway.Needs(t, "chromium", "chromium", "chromium-browser", "google-chrome", "chrome")
}

// start starts a gateway, if there is a browser to look at it.
func start(t *testing.T, args ...string) *gateway.Gateway {
	t.Helper()
	browser(t)
	return gateway.Start(t, args...)
}

// page opens the gateway's page and waits until it is connected.
func page(t *testing.T, g *gateway.Gateway, before ...chromedp.Action[chromedp.Void]) context.Context {
	t.Helper()
	ctx := open(t, g, before...)
	do(t, ctx, shows("#state", "Connected"))
	return ctx
}

// open opens the gateway's page. Anything the browser complains of (errors, refused policies) and any request that goes elsewhere fails the test.
func open(t *testing.T, g *gateway.Gateway, before ...chromedp.Action[chromedp.Void]) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser(t)), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, _ = chromedp.NewContext(ctx)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) }) // waits until the browser is gone
	c := &complaints{home: g.Doors["HTTP"] + "/"}
	t.Cleanup(func() { c.report(t) })
	if err := chromedp.Listen(ctx, c.listen); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, append(before, chromedp.Navigate(g.Doors["page"]))...)
	return ctx
}

// complaints are what a good page does not cause.
type complaints struct {
	home string // where requests may go

	mu   sync.Mutex
	list []string
}

func (c *complaints) listen(event any) {
	text := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			text = "the browser says: " + e.Entry.Text
		}
	case *runtime.EventExceptionThrown:
		text = fmt.Sprintf("the page fails: %v", e.ExceptionDetails)
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, c.home) {
			text = "the page asks elsewhere: " + e.Request.URL
		}
	}
	if text != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.list = append(c.list, text)
	}
}

func (c *complaints) report(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, text := range c.list {
		t.Error(text)
	}
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

func value[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// shows waits until an element's text contains want, and otherwise tells what it was in the end.
func shows(selector, want string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		text := fmt.Sprintf("document.querySelector(%s)?.textContent", quoted(selector))
		_, err := chromedp.Poll[bool](text+"?.includes("+quoted(want)+")", chromedp.WithPollingTimeout(20*time.Second))(ctx, target)
		if err != nil {
			got, _ := chromedp.Evaluate[string]("String("+text+")")(ctx, target)
			return fmt.Errorf("%s shows %q, want %q: %w", selector, got, want, err)
		}
		return nil
	})
}

// quoted writes a string as JavaScript has it.
func quoted(s string) string {
	b, _ := json.Marshal(s) // of a string: cannot fail
	return string(b)
}

// fill replaces a field's content.
func fill(selector chromedp.CSS, text string) chromedp.Action[chromedp.Void] {
	return chromedp.SetValue(selector, text)
}

func click(selector chromedp.CSS) chromedp.Action[chromedp.Void] { return chromedp.Click(selector) }

func TestMessageFromHTTPAppears(t *testing.T) {
	g := start(t)
	ctx := page(t, g)
	do(t, ctx, shows("#patterns", ">"))
	post(t, g.Doors["HTTP"]+"/v1/publish/orders.eu.new", `{"item":7}`)
	do(t, ctx, shows("#messages .subject", "orders.eu.new"), shows("#messages .preview", `{"item":7}`), shows("#count", "1 received"))
}

func TestPublishAndRequest(t *testing.T) {
	ctx := page(t, start(t))
	do(t, ctx,
		shows("#patterns", ">"),
		fill("#subject", "greet.me"), fill("#payload", "<b>good day</b>"),
		click(`#send button[value="publish"]`),
		shows("#send [role=status]", "Published: heard by a subscriber."),
		shows("#messages .subject", "greet.me"),
		shows("#messages .preview", "<b>good day</b>"),
	)
	do(t, ctx, // nobody but the feed listens, and the feed does not answer
		click("#patterns button"),
		fill("#subject", "nobody.there"),
		click(`#send button[value="request"]`),
		shows("#send [role=status].failed", "no-responders"),
	)
}

func TestPauseAndClear(t *testing.T) {
	g := start(t)
	ctx := page(t, g)
	do(t, ctx, shows("#patterns", ">"), click("#pause"))
	post(t, g.Doors["HTTP"]+"/v1/publish/while.paused", "x")
	do(t, ctx, shows("#count", "1 received, paused"), click("#pause"))
	post(t, g.Doors["HTTP"]+"/v1/publish/after.pause", "x")
	list := `[...document.querySelectorAll("#messages .subject")].map((e) => e.textContent)`
	do(t, ctx, shows("#messages .subject", "after.pause"))
	if rows := value[[]string](t, ctx, list); len(rows) != 1 {
		t.Errorf("the feed shows %v, want only what came after the pause", rows)
	}
	do(t, ctx, click("#clear"), shows("#count", "0 received"))
	if rows := value[[]string](t, ctx, list); len(rows) != 0 {
		t.Errorf("the cleared feed shows %v", rows)
	}
}

func TestQueueSettlement(t *testing.T) {
	g := start(t)
	ctx := page(t, g)
	settle := func(label string) chromedp.Action[chromedp.Void] {
		return chromedp.Click(chromedp.JSPath(fmt.Sprintf(`[...document.querySelectorAll("#deliveries li:first-child button")].find((b) => b.textContent === %s)`, quoted(label))))
	}
	do(t, ctx,
		fill("#queue-name", "jobs"), fill("#queue-pattern", "work.>"),
		click(`#queue button[value="declare"]`), shows("#queue [role=status]", "Created; it keeps"),
		fill("#queue-payload", "dig"), click(`#queue button[value="append"]`), shows("#queue [role=status]", "Kept."),
		click("#consume"),
		shows("#deliveries .preview", "dig"), shows("#deliveries .attempt", "attempt 1"),
		settle("Requeue"), shows("#deliveries .attempt", "attempt 2"),
		settle("Ack"), chromedp.WaitNotPresent(chromedp.CSS("#deliveries li")),
	)
	post(t, g.Doors["HTTP"]+"/v1/publish/work.new", "plant")
	do(t, ctx, shows("#deliveries .preview", "plant"), click("#consume"), shows("#queue [role=status]", "Stopped; 1 went back."))
	if state := get(t, g.Doors["HTTP"]+"/v1/queues/jobs"); !strings.Contains(state, `"ready":1`) {
		t.Errorf("the queue is %s, want one ready message", state)
	}
}

func TestReconnects(t *testing.T) {
	browser(t)
	program := gateway.Build(t)
	g := gateway.Run(t, exec.Command(program))
	ctx := page(t, g)
	do(t, ctx, shows("#patterns", ">"))
	g.Signal(t, syscall.SIGTERM)
	g.Wait(t)
	do(t, ctx, shows("#state", "Connection lost"))
	gateway.Run(t, exec.Command(program, "--http-listen", strings.TrimPrefix(g.Doors["HTTP"], "http://")))
	do(t, ctx, shows("#state", "Connected"))
	do(t, ctx, fill("#subject", "after.all"), click(`#send button[value="publish"]`), shows("#messages .subject", "after.all"))
}

func TestSignIn(t *testing.T) {
	ctx := open(t, start(t, "--users", `[{"name":"ann","password":"secret"}]`))
	do(t, ctx,
		shows("#state", "Sign in"), chromedp.WaitVisible(chromedp.CSS("#login")),
		fill("#user", "ann"), fill("#password", "wrong"), click("#login button"),
		shows("#state", "Sign in to connect (unauthenticated"),
		fill("#user", "ann"), fill("#password", "secret"), click("#login button"),
		shows("#state", "Connected"), chromedp.WaitNotVisible(chromedp.CSS("#login")),
	)
}

// TestFits: nothing sticks out on the narrowest telephone, in either colour scheme. With SCREENSHOTS=DIR it leaves pictures there.
func TestFits(t *testing.T) {
	g := start(t)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{360, 1280} {
			t.Run(fmt.Sprintf("%s %d", scheme, width), func(t *testing.T) {
				ctx := page(t, g, chromedp.EmulateViewport(width, 900), colours(scheme))
				do(t, ctx, shows("#patterns", ">"))
				post(t, g.Doors["HTTP"]+"/v1/publish/a.rather.long.subject.with.many.tokens.in.it", strings.Repeat("unbreakable", 40))
				do(t, ctx, shows("#messages .subject", "a.rather.long"), click("#messages summary"))
				if wide := value[int64](t, ctx, "document.documentElement.scrollWidth"); wide > width {
					t.Errorf("the page is %d pixels wide on a screen of %d", wide, width)
				}
				screenshot(t, ctx, fmt.Sprintf("%s-%d.png", scheme, width))
			})
		}
	}
}

// colours makes the browser prefer a colour scheme.
func colours(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
		return err
	})
}

func screenshot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), png, 0o600); err != nil {
		t.Fatal(err)
	}
}

func post(t *testing.T, url, body string) {
	t.Helper()
	resp, err := http.Post(url, "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		t.Fatalf("POST %s: %s", url, resp.Status)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
