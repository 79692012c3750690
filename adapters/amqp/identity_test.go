package amqp_test

import (
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// TestAConnectionEndsWithItsToken shows a token as the password, as RabbitMQ's OAuth plug-in takes one, and revokes it.
func TestAConnectionEndsWithItsToken(t *testing.T) {
	d := open(t, coretest.Users(core.User{Name: "root", Password: "r"}))
	bus := value(d.gateway.Login(t.Context(), core.Credentials{Door: "http", User: "root", Password: "r"}))(t)
	people := value(bus.People())(t)
	first, firstSecret, err := people.NewToken(t.Context(), "root", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	next, nextSecret, err := people.NewToken(t.Context(), "root", "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dial := func() (*client.Connection, chan *client.Error) {
		t.Helper()
		c, err := client.DialConfig("amqp://"+d.addr, client.Config{SASL: []client.Authentication{&client.PlainAuth{Username: "", Password: firstSecret}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c, c.NotifyClose(make(chan *client.Error, 1))
	}
	_, gone := dial()
	stays, later := dial()
	if err := stays.UpdateSecret(nextSecret, "the other one ends"); err != nil {
		t.Fatal(err)
	}
	if err := people.Revoke(t.Context(), "root", first.ID); err != nil {
		t.Fatal(err)
	}
	ended := func(c chan *client.Error) {
		t.Helper()
		select {
		case e := <-c:
			if e == nil || e.Code != client.AccessRefused || !strings.Contains(e.Reason, "ACCESS_REFUSED - the token was revoked") {
				t.Errorf("closed with %v", e)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the connection goes on")
		}
	}
	ended(gone)
	if _, err := stays.Channel(); err != nil {
		t.Errorf("who has shown a newer token is ended, too: %v", err)
	}
	if err := people.Revoke(t.Context(), "root", next.ID); err != nil {
		t.Fatal(err)
	}
	ended(later)
}
