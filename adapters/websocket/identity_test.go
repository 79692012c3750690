package websocket_test

import (
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"portico/adapters/websocket"
	"portico/core"
	"portico/core/coretest"
)

// token makes a token for a user.
func (d *doorway) token(owner string, life time.Duration) (id, secret string) {
	d.t.Helper()
	p, err := d.gateway.System().People()
	if err != nil {
		d.t.Fatal(err)
	}
	made, secret, err := p.NewToken(d.t.Context(), owner, "", life)
	if err != nil {
		d.t.Fatal(err)
	}
	return made.ID, secret
}

func TestTokenAsSubprotocol(t *testing.T) {
	d := open(t, websocket.Config{}, annAndBob)
	_, secret := d.token("ann", 0)
	item := "bearer." + base64.RawURLEncoding.EncodeToString([]byte(secret))
	c, res, err := d.tryDial([]string{item, websocket.Protocol})
	if err != nil {
		t.Fatal(err)
	}
	if chosen := res.Header.Get("Sec-WebSocket-Protocol"); chosen != websocket.Protocol {
		t.Errorf("the server chose %q", chosen)
	}
	if w := c.next("welcome"); w["authenticated"] != true || w.str("user") != "ann" || w["expires"] != nil {
		t.Errorf("welcome %v", w)
	}
	for _, bad := range []string{"bearer.", "bearer.!", "bearer." + base64.RawURLEncoding.EncodeToString([]byte("nobody's"))} {
		if _, res, err := d.tryDial([]string{websocket.Protocol, bad}); err == nil || res == nil || res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %v %v", bad, res, err)
		}
	}
}

// TestTokenIsRenewed: newer credentials of the same user keep everything open, and the older ones' end means nothing any more.
func TestTokenIsRenewed(t *testing.T) {
	d := open(t, websocket.Config{}, annAndBob)
	old, first := d.token("ann", time.Hour)
	_, second := d.token("ann", 2*time.Hour)
	_, bobs := d.token("bob", 0)
	c, _, err := d.tryDial(nil)
	if err != nil {
		t.Fatal(err)
	}
	if ok := c.do(frame{"op": "auth", "token": first}); ok.str("user") != "ann" || ok.str("expires") == "" {
		t.Errorf("auth: %v", ok)
	}
	c.do(frame{"op": "sub", "sid": "s", "subject": "a"})
	c.refused(frame{"op": "auth", "token": bobs}, core.CodePermissionDenied)
	c.refused(frame{"op": "auth", "token": "wrong"}, core.CodeUnauthenticated)
	c.refused(frame{"op": "auth", "token": second, "user": "ann"}, core.CodeInvalid)
	ok := c.do(frame{"op": "auth", "token": second})
	if at, err := time.Parse(time.RFC3339Nano, ok.str("expires")); err != nil || time.Until(at) < 90*time.Minute {
		t.Errorf("renewed: %v %v", ok, err)
	}
	p, err := d.gateway.System().People()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Revoke(t.Context(), "ann", old); err != nil {
		t.Fatal(err)
	}
	c.do(frame{"op": "pub", "subject": "a", "data": "still here"})
	if m := c.next("msg"); m.str("data") != "still here" {
		t.Errorf("%v", m)
	}
	c.do(frame{"op": "unsub", "sid": "s"})
	if ok := c.do(frame{"op": "auth", "token": bobs}); ok.str("user") != "bob" { // nothing is open
		t.Errorf("another user: %v", ok)
	}
}

func TestEndOfAToken(t *testing.T) {
	for name, end := range map[string]func(d *doorway, id string) error{
		"revoked": func(d *doorway, id string) error {
			p, err := d.gateway.System().People()
			if err != nil {
				return err
			}
			return p.Revoke(t.Context(), "ann", id)
		},
		"expired": func(*doorway, string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, websocket.Config{PingInterval: time.Second}, annAndBob)
			life := time.Duration(0)
			if name == "expired" {
				life = 4 * time.Second // long enough to log in on a busy machine
			}
			id, secret := d.token("ann", life)
			c, _, err := d.tryDial(nil)
			if err != nil {
				t.Fatal(err)
			}
			c.do(frame{"op": "auth", "token": secret})
			if err := end(d, id); err != nil {
				t.Fatal(err)
			}
			if e := c.closed(4401); e.Text != "unauthenticated" {
				t.Errorf("reason %q", e.Text)
			}
		})
	}
}

// TestAuthComesIntoTheTenantOfTheUpgrade: whoever connects to a tenant and logs in afterwards is there, not at home.
func TestAuthComesIntoTheTenantOfTheUpgrade(t *testing.T) {
	d := open(t, websocket.Config{}, coretest.Users(core.User{Name: "ann", Password: "ann", Tenants: []string{"shop"}}, core.User{Name: "root", Password: "root"}))
	if _, err := d.gateway.PutTenant(t.Context(), core.TenantConfig{Name: "shop"}); err != nil {
		t.Fatal(err)
	}
	shop, err := d.gateway.SystemOf("shop")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan struct{}, 1)
	if _, err := shop.Subscribe("orders.new", "", func(*core.Message) { heard <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	c := d.dial(with("Portico-Tenant", "shop"))
	for range 2 { // the second shows newer credentials
		c.do(frame{"op": "auth", "user": "ann", "password": "ann"})
		c.do(frame{"op": "pub", "subject": "orders.new", "id": "1"})
		select {
		case <-heard:
		case <-time.After(20 * time.Second):
			t.Fatal("it was published in another tenant")
		}
	}
}
