package core_test

import (
	"context"
	"testing"

	"portico/core"
	"portico/core/coretest"
	"portico/core/policy"

	"github.com/nats-io/nats.go"
)

// TestTenantBeginsAnew: what is made under the name of one that was deleted neither hears nor is heard by those that the old one was tied to.
func TestTenantBeginsAnew(t *testing.T) {
	shop := core.TenantConfig{Name: "shop", Exports: []string{"orders.>"}}
	stats := core.TenantConfig{Name: "stats", Imports: []core.TenantImport{{Tenant: "shop", Subject: "orders.>"}}}
	for name, anew := range map[string]string{"who imports": "stats", "who exports": "shop"} {
		t.Run(name, func(t *testing.T) {
			g := coretest.Start(t)
			putTenant(t, g, shop)
			putTenant(t, g, stats)
			if err := g.DeleteTenant(t.Context(), anew); err != nil {
				t.Fatal(err)
			}
			putTenant(t, g, core.TenantConfig{Name: anew})
			heard := subscribe(t, inside(t, g, "stats"), "orders.>", "")
			if _, err := inside(t, g, "shop").Publish(t.Context(), &core.Message{Subject: "orders.new"}); err != nil {
				t.Fatal(err)
			}
			for _, at := range []string{"shop", "stats"} {
				if err := inside(t, g, at).Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(heard); n != 0 {
				t.Errorf("%d messages of another tenant were heard", n)
			}
			if _, err := inside(t, g, "stats").Publish(t.Context(), &core.Message{Subject: "orders.own"}); err != nil {
				t.Fatal(err)
			}
			if m := receive(t, heard); m.Subject != "orders.own" {
				t.Errorf("heard %q", m.Subject)
			}
		})
	}
}

// TestDeletionGoesOn: a client that does not wait for the end of a deletion does not leave half of the tenant for the next of that name.
func TestDeletionGoesOn(t *testing.T) {
	g := coretest.Start(t)
	putTenant(t, g, core.TenantConfig{Name: "a"})
	b := inside(t, g, "a")
	if _, _, err := b.DeclareQueue(t.Context(), core.QueueConfig{Name: "jobs", Durable: true}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.CreateStream(t.Context(), core.StreamConfig{Name: "S", Subjects: []string{"kept.>"}}); err != nil {
		t.Fatal(err)
	}
	hasty, gone := context.WithCancel(t.Context())
	gone()
	if err := g.DeleteTenant(hasty, "a"); err != nil {
		t.Errorf("delete: %v", err)
	}
	putTenant(t, g, core.TenantConfig{Name: "a"})
	if inside(t, g, "a").Lookup("jobs") != nil {
		t.Error("a queue of what was deleted is there")
	}
	if _, err := inside(t, g, "a").Stream(t.Context(), "S"); core.AsError(err).Code != core.CodeNotFound {
		t.Errorf("a stream of what was deleted: %v", err)
	}
}

// TestWhoMayEnterNoMoreIsSentAway: an identity that loses a tenant has no bus there any more.
func TestWhoMayEnterNoMoreIsSentAway(t *testing.T) {
	bob := func(tenants ...string) []core.User {
		return []core.User{{Name: "root", Password: "root"}, {Name: "bob", Password: "bob", Tenants: tenants}}
	}
	g := coretest.Start(t, coretest.Users(bob("a")...))
	putTenant(t, g, core.TenantConfig{Name: "a"})
	b, err := g.Login(t.Context(), core.Credentials{Door: "http", User: "bob", Password: "bob", Tenant: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(core.Config{Users: bob("b")}); err != nil {
		t.Fatal(err)
	}
	receive(t, b.Ended())
	wantCode(t, "the bus", b.Err(), core.CodeUnauthenticated)
	_, err = g.Login(t.Context(), core.Credentials{Door: "http", User: "bob", Password: "bob", Tenant: "a"})
	wantCode(t, "come again", err, core.CodePermissionDenied)
}

// TestNativePermissionsAreOfTheTenant: regular expressions for one virtual host give a NATS client nothing in another.
func TestNativePermissionsAreOfTheTenant(t *testing.T) {
	all := &policy.Spec{AMQP: []policy.VHost{{VHost: "/", Configure: ".*", Write: ".*", Read: ".*"}}}
	g := coretest.Start(t, coretest.Users(core.User{Name: "bob", Password: "bob", Tenants: []string{"a"}, Permissions: all}))
	putTenant(t, g, core.TenantConfig{Name: "a"})
	for user, may := range map[string]bool{"bob": true, "a:bob": false} {
		nc, err := nats.Connect("nats://"+g.NATSAddr(), nats.UserInfo(user, "bob"), nats.MaxReconnects(0), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := nc.SubscribeSync("orders.new"); err != nil {
			t.Fatal(err)
		}
		if err := nc.FlushTimeout(patience); err != nil {
			t.Fatal(err)
		}
		if refused := nc.LastError() != nil; refused == may {
			t.Errorf("%s: %v", user, nc.LastError())
		}
	}
}

// TestInterruptedDeletionIsFinished: a tenant whose deletion the end of the gateway has interrupted is not there after a restart, and nothing of it is in the next of that name.
func TestInterruptedDeletionIsFinished(t *testing.T) {
	dir := t.TempDir()
	start := func() *core.Gateway {
		g, err := core.New(core.Config{DataDir: dir, DiskFree: -1}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	g := start()
	putTenant(t, g, core.TenantConfig{Name: "a"})
	if _, _, err := inside(t, g, "a").DeclareQueue(t.Context(), core.QueueConfig{Name: "jobs", Durable: true}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := inside(t, g, "a").CreateStream(t.Context(), core.StreamConfig{Name: "S", Subjects: []string{"kept.>"}}); err != nil {
		t.Fatal(err)
	}
	table, err := g.System().Table(t.Context(), "tenants")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Put(t.Context(), "a", []byte(`{"name":"a","leaving":true}`)); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	g = start()
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	_, err = g.SystemOf("a")
	wantCode(t, "enter what was being deleted", err, core.CodeNotFound)
	putTenant(t, g, core.TenantConfig{Name: "a"})
	if inside(t, g, "a").Lookup("jobs") != nil {
		t.Error("a queue of what was deleted is there")
	}
	_, err = inside(t, g, "a").Stream(t.Context(), "S")
	wantCode(t, "its stream", err, core.CodeNotFound)
}

// picky is somebody who watches tenants and refuses new ones as long as it is told to.
type picky struct {
	refuses bool
	open    map[string]bool
}

func (p *picky) TenantOpened(b *core.Bus) error {
	if p.refuses && b.Tenant() != core.DefaultTenant {
		return core.Errorf(core.CodeUnavailable, "not now")
	}
	p.open[b.Tenant()] = true
	return nil
}

func (p *picky) TenantClosed(name string) { delete(p.open, name) }

// TestCreationThatFails leaves nothing behind: who was told of the tenant is told of its end, and it can be made again, with what it imports.
func TestCreationThatFails(t *testing.T) {
	g := coretest.Start(t)
	first, second := &picky{open: map[string]bool{}}, &picky{open: map[string]bool{}, refuses: true}
	for _, p := range []*picky{first, second} {
		if err := g.WatchTenants(p); err != nil {
			t.Fatal(err)
		}
	}
	_, err := g.PutTenant(t.Context(), core.TenantConfig{Name: "a"})
	wantCode(t, "make it", err, core.CodeUnavailable)
	if g.HasTenant("a") || first.open["a"] || second.open["a"] {
		t.Errorf("it is there: %v, %v", first.open, second.open)
	}
	err = g.DeleteTenant(t.Context(), "a")
	wantCode(t, "delete it", err, core.CodeNotFound)
	second.refuses = false
	putTenant(t, g, core.TenantConfig{Name: "a"})
	if _, _, err := inside(t, g, "a").CreateStream(t.Context(), core.StreamConfig{Name: "S", Subjects: []string{"kept.>"}}); err != nil {
		t.Error(err)
	}
	if !first.open["a"] || !second.open["a"] {
		t.Errorf("told of %v, %v", first.open, second.open)
	}
}

// TestWhatWasMadeAnewComesBack: a tenant that had the name of a deleted one keeps what it has over a restart, and over a change of its limits.
func TestWhatWasMadeAnewComesBack(t *testing.T) {
	dir := t.TempDir()
	start := func() *core.Gateway {
		g, err := core.New(core.Config{DataDir: dir, DiskFree: -1}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	g := start()
	putTenant(t, g, core.TenantConfig{Name: "a"})
	if err := g.DeleteTenant(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	putTenant(t, g, core.TenantConfig{Name: "a"})
	if _, _, err := inside(t, g, "a").CreateStream(t.Context(), core.StreamConfig{Name: "S", Subjects: []string{"kept.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := inside(t, g, "a").Publish(t.Context(), &core.Message{Subject: "kept.x"}); err != nil {
		t.Fatal(err)
	}
	putTenant(t, g, core.TenantConfig{Name: "a", Limits: core.TenantLimits{Queues: 3}})
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	g = start()
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	if info, err := inside(t, g, "a").Stream(t.Context(), "S"); err != nil || info.Messages != 1 {
		t.Errorf("the stream has %+v, %v", info, err)
	}
}
