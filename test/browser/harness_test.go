// Package browser drives the page at / and runs the library for browsers, in a real browser and in Node.js.
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
	"testing"
	"time"

	"portico/test/gateway"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
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
	return gateway.Run(t, exec.Command(program(t), args...))
}

// page opens the gateway's page and waits until it is connected.
func page(t *testing.T, g *gateway.Gateway, before ...chromedp.Action[chromedp.Void]) context.Context {
	t.Helper()
	ctx := open(t, g, before...)
	do(t, ctx, shows("#state", "Connected"))
	return ctx
}

// open opens the gateway's page.
func open(t *testing.T, g *gateway.Gateway, before ...chromedp.Action[chromedp.Void]) context.Context {
	t.Helper()
	return visit(t, g.Doors["HTTP"]+"/", g.Doors["page"], func(any) {}, before...)
}

// visit opens a page in a profile of its own. Anything the browser complains of (errors, refused policies) and any request to a place other than home fails the test.
func visit(t *testing.T, home, page string, listen func(event any), before ...chromedp.Action[chromedp.Void]) context.Context {
	t.Helper()
	ctx, _ := chromedp.NewContext(launch(t), chromedp.WithNewBrowserContext())
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) }) // waits until the page is gone
	ctx, cancel := context.WithTimeout(ctx, deadline)
	t.Cleanup(cancel)
	c := &complaints{home: home}
	t.Cleanup(func() { c.report(t) })
	if err := chromedp.Listen(ctx, func(event any) { c.listen(event); listen(event) }); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, append(before, chromedp.Navigate(page))...)
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
		if !strings.HasPrefix(strings.TrimPrefix(e.Request.URL, "blob:"), c.home) {
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

// keys presses what stands in them, on whatever has the focus.
func keys(text string, modifiers ...chromedp.Modifier) chromedp.Action[chromedp.Void] {
	return chromedp.KeyEvent(text, chromedp.KeyModifiers(modifiers...))
}

// typed replaces what the focused field holds.
func typed(text string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if _, err := chromedp.Evaluate[any](`document.activeElement.select()`)(ctx, target); err != nil {
			return err
		}
		_, err := chromedp.KeyEvent(text)(ctx, target)
		return err
	})
}

// mostStops are more stops than the page has for the tab key.
const mostStops = 120

// tabTo presses the tab key until the focus is on what the selector names: there must be a way without a mouse.
func tabTo(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		for range mostStops {
			if _, err := chromedp.KeyEvent(kb.Tab)(ctx, target); err != nil {
				return err
			}
			there, err := chromedp.Evaluate[bool]("document.activeElement.matches("+quoted(selector)+")")(ctx, target)
			if there || err != nil {
				return err
			}
		}
		return fmt.Errorf("the tab key does not lead to %s", selector)
	})
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
	request(t, http.MethodPost, url, "text/plain", body)
}

func put(t *testing.T, url, body string) {
	t.Helper()
	request(t, http.MethodPut, url, "", body)
}

func get(t *testing.T, url string) string {
	t.Helper()
	return request(t, http.MethodGet, url, "", "")
}

// request returns the body of an answer that must be a success.
func request(t *testing.T, method, url, contentType, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s %s", method, url, resp.Status, answer)
	}
	return string(answer)
}
