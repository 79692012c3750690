package core_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

func people(t testing.TB, g *core.Gateway, c core.Credentials) *core.People {
	t.Helper()
	b, err := g.Login(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.People()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func guest() core.Credentials {
	return core.Credentials{Door: "http", User: "guest", Password: "guest", Remote: "127.0.0.1:1"}
}

func putUser(t testing.TB, p *core.People, u core.User) {
	t.Helper()
	if _, err := p.Put(t.Context(), u); err != nil {
		t.Fatal(err)
	}
}

func newToken(t testing.TB, p *core.People, owner string, life time.Duration) (core.Token, string) {
	t.Helper()
	token, secret, err := p.NewToken(t.Context(), owner, "test", life)
	if err != nil {
		t.Fatal(err)
	}
	return token, secret
}

func TestManagedUsersOutliveTheGateway(t *testing.T) {
	dir := t.TempDir()
	func() {
		g, err := core.New(core.Config{DataDir: dir, DiskFree: -1}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		p := people(t, g, guest())
		putUser(t, p, core.User{Name: "root", Password: "r"})
		putUser(t, p, core.User{Name: "ann", Password: "a", Publish: []string{"x.>"}, Subscribe: []string{"x.>"}})
		putUser(t, p, core.User{Name: "bob", Password: "b", Roles: []string{"none"}})
		_, secret := newToken(t, p, "bob", 0)
		if err := p.Delete(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		_, err = g.Login(t.Context(), core.Credentials{Token: secret})
		wantCode(t, "token of who is gone", err, core.CodeUnauthenticated)
		putUser(t, p, core.User{Name: "bob", Password: "b", Roles: []string{"none"}})
		_, err = g.Login(t.Context(), core.Credentials{Token: secret})
		wantCode(t, "token of who was gone", err, core.CodeUnauthenticated)
	}()
	g := coretest.Start(t, coretest.DataDir(dir))
	_, err := g.Login(t.Context(), guest())
	wantCode(t, "guest", err, core.CodeUnauthenticated)
	ann := loginAs(t, g, "ann", "a")
	if err := ann.Allow("publish", "x.y"); err != nil {
		t.Error(err)
	}
	wantCode(t, "publish elsewhere", ann.Allow("publish", "y"), core.CodePermissionDenied)
	_, err = ann.People()
	wantCode(t, "administer", err, core.CodePermissionDenied)
	p := people(t, g, core.Credentials{User: "root", Password: "r"})
	all := p.List()
	if len(all) != 3 || all[0].Name != "ann" || !all[0].Managed || !all[0].Secret || all[0].PasswordHash != "" {
		t.Errorf("%+v", all)
	}
}

func TestRulesOfManagingUsers(t *testing.T) {
	g := coretest.Start(t, coretest.Users(core.User{Name: "file", Password: "f"}, core.User{Name: "low", Password: "l", Publish: []string{"x"}}))
	p := people(t, g, core.Credentials{User: "file", Password: "f"})
	for name, c := range map[string]struct {
		user core.User
		want core.Code
	}{
		"of the configuration":  {core.User{Name: "low", Password: "x"}, core.CodePermissionDenied},
		"no name":               {core.User{Password: "x"}, core.CodeInvalid},
		"no credentials":        {core.User{Name: "x"}, core.CodeInvalid},
		"our own name":          {core.User{Name: "_portico.INTERNAL", Password: "x"}, core.CodeInvalid},
		"no pattern":            {core.User{Name: "x", Password: "x", Publish: []string{"a..b"}}, core.CodeInvalid},
		"a hash that takes all": {core.User{Name: "x", PasswordHash: "$2a$31$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, core.CodeInvalid},
	} {
		_, err := p.Put(t.Context(), c.user)
		wantCode(t, name, err, c.want)
	}
	wantCode(t, "delete of the configuration's", p.Delete(t.Context(), "low"), core.CodePermissionDenied)
	wantCode(t, "delete of nobody", p.Delete(t.Context(), "nobody"), core.CodeNotFound)
	_, _, err := p.NewToken(t.Context(), "nobody", "", 0)
	wantCode(t, "token of nobody", err, core.CodeNotFound)
	_, _, err = p.NewToken(t.Context(), "low", "", time.Millisecond)
	wantCode(t, "a short token", err, core.CodeInvalid)
	wantCode(t, "no such token", p.Revoke(t.Context(), "low", "x"), core.CodeNotFound)
	_, secret := newToken(t, p, "low", time.Hour) // users of the configuration have tokens, too
	if b, err := g.Login(t.Context(), core.Credentials{Token: secret}); err != nil || b.User() != "low" || b.Expires().IsZero() {
		t.Errorf("%v", err)
	}
}

func TestNobodyIsLockedOut(t *testing.T) {
	g := coretest.Start(t)
	p := people(t, g, guest())
	_, err := p.Put(t.Context(), core.User{Name: "ann", Password: "a", Publish: []string{"x"}})
	wantCode(t, "a first user who is no administrator", err, core.CodePreconditionFailed)
	putUser(t, p, core.User{Name: "root", Password: "r", Publish: []string{"x"}, Roles: []string{"administrator"}})
	putUser(t, p, core.User{Name: "ann", Password: "a", Publish: []string{"x"}})
	wantCode(t, "delete the last administrator", p.Delete(t.Context(), "root"), core.CodePreconditionFailed)
	_, err = p.Put(t.Context(), core.User{Name: "root", Disabled: true})
	wantCode(t, "disable the last administrator", err, core.CodePreconditionFailed)
	if err := p.Delete(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if err := p.Delete(t.Context(), "root"); err != nil {
		t.Fatal(err)
	}
	people(t, g, guest())
}

// TestNativeClientsComeInByEverything shows each credential to the NATS door, then takes it away.
func TestNativeClientsComeInByEverything(t *testing.T) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	other, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	g := coretest.Start(t, coretest.Users(core.User{Name: "root", Password: "r"}))
	p := people(t, g, core.Credentials{User: "root", Password: "r"})
	ann := core.User{Name: "ann", Password: "a", Keys: []string{public}, Publish: []string{"x"}, Subscribe: []string{"x"}}
	putUser(t, p, ann)
	token, secret := newToken(t, p, "ann", 0)
	sign := nats.Nkey(public, func(nonce []byte) ([]byte, error) { return pair.Sign(nonce) })
	for name, option := range map[string]nats.Option{
		"another's signature": nats.Nkey(public, func(nonce []byte) ([]byte, error) { return other.Sign(nonce) }),
		"no signature":        nats.Nkey(public, func([]byte) ([]byte, error) { return nil, nil }),
		"another token":       nats.Token("ptk_x"),
		"token of another":    nats.UserInfo("root", secret),
	} {
		if nc, err := nats.Connect("nats://"+g.NATSAddr(), option); err == nil {
			t.Errorf("%s: let in", name)
			nc.Close()
		}
	}
	if len(seed) == 0 {
		t.Fatal("no seed")
	}
	for name, c := range map[string]struct {
		show nats.Option
		take func() error
	}{
		"nkey":              {sign, func() error { u := ann; u.Keys = nil; _, err := p.Put(t.Context(), u); return err }},
		"password":          {nats.UserInfo("ann", "a"), func() error { u := ann; u.Password = "b"; _, err := p.Put(t.Context(), u); return err }},
		"token":             {nats.Token(secret), func() error { return p.Revoke(t.Context(), "ann", token.ID) }},
		"token as password": {nats.UserInfo("ann", secret), func() error { return p.Revoke(t.Context(), "ann", token.ID) }},
		"permissions":       {nats.UserInfo("ann", "a"), func() error { u := ann; u.Publish = []string{"y"}; _, err := p.Put(t.Context(), u); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			putUser(t, p, ann)
			if name == "token" || name == "token as password" {
				token, secret = newToken(t, p, "ann", 0)
				c.show = map[string]nats.Option{"token": nats.Token(secret), "token as password": nats.UserInfo("ann", secret)}[name]
			}
			gone := make(chan struct{})
			nc := connectNATS(t, g, c.show, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(gone) }))
			sub, err := nc.SubscribeSync("x")
			if err != nil || nc.Publish("x", []byte("hi")) != nil {
				t.Fatal(err)
			}
			if _, err := sub.NextMsg(patience); err != nil {
				t.Fatal(err)
			}
			if err := c.take(); err != nil {
				t.Fatal(err)
			}
			receive(t, gone)
		})
	}
}

func TestNativeClientsLeaveWithTheirToken(t *testing.T) {
	g := coretest.Start(t, coretest.Users(core.User{Name: "root", Password: "r"}))
	p := people(t, g, core.Credentials{User: "root", Password: "r"})
	_, secret := newToken(t, p, "root", time.Second)
	gone, told := make(chan struct{}), make(chan error, 4)
	connectNATS(t, g, nats.Token(secret), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(gone) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { told <- err }))
	receive(t, gone)
	if err := receive(t, told); !errors.Is(err, nats.ErrAuthExpired) {
		t.Errorf("it was told %v", err)
	}
	_, err := g.Login(t.Context(), core.Credentials{Token: secret})
	wantCode(t, "expired", err, core.CodeUnauthenticated)
}

func TestMQTTClientsLeaveWithTheirToken(t *testing.T) {
	g := coretest.Start(t, coretest.Users(core.User{Name: "root", Password: "r"}))
	p := people(t, g, core.Credentials{User: "root", Password: "r"})
	token, secret := newToken(t, p, "root", 0)
	gone := make(chan error, 1)
	if _, err := connectMQTT(t, g, "sensor", func(o *mqtt.ClientOptions) {
		o.SetUsername("root").SetPassword(secret).SetAutoReconnect(false).SetConnectionLostHandler(func(_ mqtt.Client, err error) { gone <- err })
	}); err != nil {
		t.Fatal(err)
	}
	if err := p.Revoke(t.Context(), "root", token.ID); err != nil {
		t.Fatal(err)
	}
	receive(t, gone)
}

// TestPutWhatIsWrittenOtherwise: a user whose description has another form when it is read back is in force all the same, and nobody waits for what never comes.
func TestPutWhatIsWrittenOtherwise(t *testing.T) {
	p, err := coretest.Start(t).System().People()
	if err != nil {
		t.Fatal(err)
	}
	var u core.User
	const text = `{"roles":["administrator"],"nkeys":[],"tenants":[],"permissions":{"amqp":[],"queue":{},"publish":{"allow":[],"deny":[]},"topics":[{"vhost":""}],"stream":{"read":{"allow":["a"],"deny":[]}}}}`
	if err := json.Unmarshal([]byte(text), &u); err != nil {
		t.Fatal(err)
	}
	u.Name, u.Password = "ann", "secret"
	for i, created := range []bool{true, false, false} {
		if i == 2 {
			u.Permissions.Topics = nil
		}
		if now, err := p.Put(t.Context(), u); err != nil || now != created {
			t.Fatalf("put %d: %v, %v", i, now, err)
		}
	}
}
