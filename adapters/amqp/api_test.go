package amqp_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// The resources are tested over HTTP in cmd/gateway; here is what needs a gateway in trouble.

// api asks for a resource as whoever bus belongs to, and returns the answer's JSON.
func (d *door) api(ctx context.Context, bus *core.Bus, method, path, body string) (status int, answer string, err error) {
	r := httptest.NewRequestWithContext(ctx, method, "/v1/amqp", nil) // the API goes by path
	status, v, err := d.adapter.API().Serve(bus, strings.Split(path, "/"), r, []byte(body))
	if err != nil || v == nil {
		return status, "", err
	}
	b, err := json.Marshal(v)
	return status, string(b), err
}

// wantRefused fails unless err has that code and text.
func wantRefused(t testing.TB, err error, code core.Code, text string) {
	t.Helper()
	if e := core.AsError(err); err == nil || e.Code != code || !strings.Contains(e.Detail, text) {
		t.Errorf("error is %v, want %s with %q", err, code, text)
	}
}

// An alarm holds back what is published by the API too, no longer than its caller waits.
func TestAPIPublishUnderAlarm(t *testing.T) {
	d := open(t)
	declare(t, d.channel(t), "q")
	clear := d.adapter.RaiseForTest("low on disk")
	publish := func(ctx context.Context) (string, error) {
		_, answer, err := d.api(ctx, d.gateway.System(), http.MethodPost, "exchanges/amq.default/publish", `{"routing_key":"q","payload":"x"}`)
		return answer, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := publish(ctx); err == nil || core.AsError(err).Code != core.CodeTimeout {
		t.Errorf("under an alarm it ends with %v, want a timeout", err)
	}
	clear()
	if answer, err := publish(t.Context()); err != nil || answer != `{"routed":true}` {
		t.Errorf("after the alarm it is answered %q, %v", answer, err)
	}
	if n := ready(t, d.channel(t), "q"); n != 1 {
		t.Errorf("%d messages are there, want only the one after the alarm", n)
	}
}

// A connection that is held back by an alarm can be closed.
func TestAPIClosesABlockedConnection(t *testing.T) {
	d := open(t)
	c := d.dial(t)
	ch := channelOf(t, c)
	clear := d.adapter.RaiseForTest("low on disk")
	defer clear()
	blocked, closed := c.NotifyBlocked(make(chan client.Blocking, 1)), c.NotifyClose(make(chan *client.Error, 1))
	publish(t, ch, "amq.fanout", "", "x")
	receive(t, blocked, "connection.blocked")
	path := "connections/" + c.LocalAddr().String() + " -> " + d.addr
	if status, _, err := d.api(t.Context(), d.gateway.System(), http.MethodDelete, path, ""); err != nil || status != http.StatusNoContent {
		t.Fatalf("DELETE: %d, %v", status, err)
	}
	wantCode(t, receive(t, closed, "close"), 320, "CONNECTION_FORCED - Closed via management plugin")
}

// A connection in its handshake is not told, and neither are its channels.
func TestAPIListsOnlyOpenedConnections(t *testing.T) {
	d := open(t)
	d.connect(t)
	d.channel(t)
	if _, answer, err := d.api(t.Context(), d.gateway.System(), http.MethodGet, "connections", ""); err != nil || strings.Count(answer, `"peer_port"`) != 1 {
		t.Errorf("listed are %s, %v, want one", answer, err)
	}
}

func TestAPIOfAClosedDoor(t *testing.T) {
	d := open(t)
	must(t, d.stop())
	if _, _, err := d.api(t.Context(), d.gateway.System(), http.MethodGet, "overview", ""); err != nil {
		t.Errorf("overview: %v", err)
	}
	for _, c := range [][2]string{{"PUT", "queues/q"}, {"PUT", "policies/p"}, {"POST", "exchanges/amq.fanout/publish"}} {
		_, _, err := d.api(t.Context(), d.gateway.System(), c[0], c[1], "{}")
		wantRefused(t, err, core.CodeUnavailable, "stopping")
	}
}

// Who may use patterns that together are nearly everything may not use the API.
func TestAPIPermission(t *testing.T) {
	all := []string{">", "$queue.>"}
	d := open(t, coretest.Users(
		core.User{Name: "all", Password: "p", Publish: all, Subscribe: all},
		core.User{Name: "no publish", Password: "p", Publish: []string{"$queue.>"}, Subscribe: all},
		core.User{Name: "no subscribe", Password: "p", Publish: all, Subscribe: []string{"$queue.>", "*.>"}},
		core.User{Name: "one word", Password: "p", Publish: []string{"*", "$queue.>"}, Subscribe: all},
		core.User{Name: "two words", Password: "p", Publish: []string{"*.>", "$queue.>"}, Subscribe: all},
		core.User{Name: "no queues", Password: "p", Publish: []string{">"}, Subscribe: all},
		core.User{Name: "some queues", Password: "p", Publish: all, Subscribe: []string{">", "$queue.a"}},
	))
	for _, user := range []string{"all", "no publish", "no subscribe", "one word", "two words", "no queues", "some queues"} {
		t.Run(user, func(t *testing.T) {
			bus := value(d.gateway.Login(t.Context(), core.Credentials{Door: "http", User: user, Password: "p"}))(t)
			_, _, err := d.api(t.Context(), bus, http.MethodGet, "overview", "")
			if user == "all" {
				must(t, err)
				return
			}
			wantRefused(t, err, core.CodePermissionDenied, "everything")
		})
	}
}

// What JSON cannot hold is told all the same.
func TestAPIShowsEveryArgument(t *testing.T) {
	d := open(t)
	arguments := client.Table{
		"nan": nan(), "bytes": []byte("raw"), "time": time.Unix(7, 0), "decimal": client.Decimal{Scale: 2, Value: 125}, "nothing": nil, "float": float32(1.5), "short": int16(-3),
		"list": []any{client.Table{"a": true}, "\xff"},
	}
	must(t, d.channel(t).ExchangeDeclare("x", "fanout", false, false, false, false, arguments))
	_, answer, err := d.api(t.Context(), d.gateway.System(), http.MethodGet, "exchanges/x", "")
	must(t, err)
	want := `"arguments":{"bytes":"raw","decimal":1.25,"float":1.5,"list":[{"a":true},"\ufffd"],"nan":"NaN","nothing":null,"short":-3,"time":7}`
	if !strings.Contains(answer, want) {
		t.Errorf("told as %s, want %s", answer, want)
	}
}

func nan() float64 { zero := 0.0; return zero / zero }
