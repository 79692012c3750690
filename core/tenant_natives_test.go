package core_test

import (
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"
)

// TestTenantOfNatives: a NATS and an MQTT client say the tenant with their name, and are in its world only; JetStream is that tenant's own.
func TestTenantOfNatives(t *testing.T) {
	g := coretest.Start(t, coretest.Users(
		core.User{Name: "ann", Password: "ann", Tenant: "a"}, core.User{Name: "bob", Password: "bob", Tenants: []string{"*"}}, core.User{Name: "a:eve", Password: "eve"}))
	putTenant(t, g, core.TenantConfig{Name: "a", Limits: core.TenantLimits{Connections: 2}})
	putTenant(t, g, core.TenantConfig{Name: "b"})
	dial := func(user, password string) (*nats.Conn, error) {
		return nats.Connect("nats://"+g.NATSAddr(), nats.UserInfo(user, password), nats.MaxReconnects(0))
	}
	for name, c := range map[string]struct{ user, password string }{
		"not hers": {"b:ann", "ann"}, "not there": {"c:bob", "bob"}, "wrong password": {"a:bob", "ann"}, "only the default one": {"a:a:eve", "eve"},
	} {
		if nc, err := dial(c.user, c.password); err == nil {
			nc.Close()
			t.Errorf("%s: %q was let in", name, c.user)
		}
	}
	inA, err := dial("ann", "ann")
	if err != nil {
		t.Fatal(err)
	}
	defer inA.Close()
	inB, err := dial("b:bob", "bob")
	if err != nil {
		t.Fatal(err)
	}
	defer inB.Close()
	inDefault, err := dial("a:eve", "eve")
	if err != nil {
		t.Fatalf("a name with a colon: %v", err)
	}
	defer inDefault.Close()
	for _, nc := range []*nats.Conn{inA, inB, inDefault} {
		js, err := nc.JetStream()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"kept.>"}}); err != nil {
			t.Fatal(err)
		}
	}
	heard := subscribe(t, inside(t, g, "a"), "x.y", "")
	o := mqtt.NewClientOptions().AddBroker("tcp://" + g.MQTTAddr()).SetClientID("m").SetUsername("a:bob").SetPassword("bob").SetConnectTimeout(patience).SetAutoReconnect(false)
	m := mqtt.NewClient(o)
	if token := m.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("MQTT: %v", token.Error())
	}
	defer m.Disconnect(0)
	if token := m.Publish("x/y", 1, false, "hello"); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("MQTT publish: %v", token.Error())
	}
	if got := receive(t, heard); string(got.Data) != "hello" {
		t.Errorf("heard %q", got.Data)
	}
	if nc, err := dial("a:bob", "bob"); err == nil { // two are there
		nc.Close()
		t.Error("a third connection of two was let in")
	}
	ended := make(chan struct{})
	inA.SetClosedHandler(func(*nats.Conn) { close(ended) })
	if err := g.DeleteTenant(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("a client of what was deleted is still there")
	}
	if !inB.IsConnected() {
		t.Error("a client of another tenant has gone")
	}
}
