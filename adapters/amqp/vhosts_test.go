package amqp_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// enter opens a connection to a virtual host.
func (d *door) enter(t testing.TB, user, vhost string) (*client.Connection, error) {
	t.Helper()
	c, err := client.DialConfig("amqp://"+user+":"+user+"@"+d.addr+"/"+url.PathEscape(vhost), client.Config{Vhost: vhost})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func makeTenant(t testing.TB, g *core.Gateway, cfg core.TenantConfig) {
	t.Helper()
	_, err := g.PutTenant(t.Context(), cfg)
	must(t, err)
}

// TestVirtualHosts: exchanges, queues and bindings of one are not there in another, and come back with it after a restart.
func TestVirtualHosts(t *testing.T) {
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	makeTenant(t, d.gateway, core.TenantConfig{Name: "shop/eu"})
	for _, vhost := range []string{"/", "shop/eu"} {
		c, err := d.enter(t, "guest", vhost)
		must(t, err)
		ch := channelOf(t, c)
		must(t, ch.ExchangeDeclare("orders", "direct", true, false, false, false, nil))
		_, err = ch.QueueDeclare("jobs", true, false, false, false, nil)
		must(t, err)
		must(t, ch.QueueBind("jobs", vhost, "orders", false, nil))
		must(t, ch.Confirm(false))
		for _, key := range []string{"/", "shop/eu"} { // one of them is bound
			done, err := ch.PublishWithDeferredConfirm("orders", key, false, false, client.Publishing{DeliveryMode: client.Persistent, Body: []byte(vhost)})
			must(t, err)
			if !done.Wait() {
				t.Fatal("not confirmed")
			}
		}
	}
	c, err := d.enter(t, "guest", "shop/eu")
	must(t, err)
	if _, err := channelOf(t, c).QueueDeclarePassive("other", true, false, false, false, nil); err == nil {
		t.Error("a queue that nobody declared")
	}
	d = d.restart(t, dir)
	for _, vhost := range []string{"/", "shop/eu"} {
		c, err := d.enter(t, "guest", vhost)
		must(t, err)
		ch := channelOf(t, c)
		got, ok, err := ch.Get("jobs", true)
		if err != nil || !ok || string(got.Body) != vhost || got.RoutingKey != vhost || got.MessageCount != 0 {
			t.Errorf("in %q: %q, %v, %v", vhost, got.Body, ok, err)
		}
		must(t, ch.PublishWithContext(t.Context(), "orders", vhost, true, false, client.Publishing{}))
	}
}

// TestVirtualHostRefused: as RabbitMQ refuses connection.open.
func TestVirtualHostRefused(t *testing.T) {
	d := open(t, coretest.Users(core.User{Name: "ann", Password: "ann", Tenant: "a"}, core.User{Name: "bob", Password: "bob", Tenants: []string{"*"}}))
	makeTenant(t, d.gateway, core.TenantConfig{Name: "a", Limits: core.TenantLimits{Connections: 1}})
	first, err := d.enter(t, "bob", "a")
	must(t, err)
	for name, c := range map[string]struct{ user, vhost, text string }{
		"not there":   {"bob", "b", "vhost b not found"},
		"not hers":    {"ann", "/", "access to vhost '/' refused for user 'ann'"},
		"no room":     {"ann", "a", "access to vhost 'a' refused for user 'ann': connection limit is reached"},
		"not told so": {"ann", "b", "vhost b not found"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := d.enter(t, c.user, c.vhost)
			if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != client.NotAllowed || !strings.Contains(e.Reason, c.text) {
				t.Errorf("%v, want 530 with %q", err, c.text)
			}
		})
	}
	must(t, first.Close())
	until := time.Now().Add(patience)
	for _, err = d.enter(t, "ann", "a"); err != nil && time.Now().Before(until); _, err = d.enter(t, "ann", "a") {
	}
	must(t, err)
}

// TestVirtualHostDeleted: its connections end with a word, and nothing of it is there any more; the others stay.
func TestVirtualHostDeleted(t *testing.T) {
	d := open(t)
	makeTenant(t, d.gateway, core.TenantConfig{Name: "a"})
	stays := d.dial(t)
	c, err := d.enter(t, "guest", "a")
	must(t, err)
	ended := c.NotifyClose(make(chan *client.Error, 1))
	_, err = channelOf(t, c).QueueDeclare("jobs", true, false, false, false, nil)
	must(t, err)
	must(t, d.gateway.DeleteTenant(t.Context(), "a"))
	select {
	case e := <-ended:
		if e == nil || e.Code != client.ConnectionForced || !strings.Contains(e.Reason, "vhost 'a' is deleted") {
			t.Errorf("ended with %v", e)
		}
	case <-time.After(patience):
		t.Error("the connection goes on")
	}
	if _, err := d.enter(t, "guest", "a"); err == nil {
		t.Error("it can be entered")
	}
	makeTenant(t, d.gateway, core.TenantConfig{Name: "a"})
	c, err = d.enter(t, "guest", "a")
	must(t, err)
	if _, err := channelOf(t, c).QueueDeclarePassive("jobs", true, false, false, false, nil); err == nil {
		t.Error("its queue is back")
	}
	channelOf(t, stays)
}
