package core_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
)

// all is an identity that may enter every tenant: the gateway itself.
func inside(t testing.TB, g *core.Gateway, tenant string) *core.Bus {
	t.Helper()
	b, err := g.SystemOf(tenant)
	if err != nil {
		t.Fatalf("enter %q: %v", tenant, err)
	}
	return b
}

func putTenant(t testing.TB, g *core.Gateway, cfg core.TenantConfig) {
	t.Helper()
	if _, err := g.PutTenant(t.Context(), cfg); err != nil {
		t.Fatalf("make tenant %q: %v", cfg.Name, err)
	}
}

// TestTenantsAreWorldsApart: the same names of subjects, queues and streams are different things in two tenants.
func TestTenantsAreWorldsApart(t *testing.T) {
	g := coretest.Start(t)
	putTenant(t, g, core.TenantConfig{Name: "a"})
	putTenant(t, g, core.TenantConfig{Name: "ü b/c"})
	heard, queues := map[string]<-chan *core.Message{}, map[string]*core.Queue{}
	names := []string{"/", "a", "ü b/c"}
	for _, name := range names {
		b := inside(t, g, name)
		heard[name] = subscribe(t, b, "orders.>", "")
		q, _, err := b.DeclareQueue(t.Context(), core.QueueConfig{Name: "jobs", Durable: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Bind(t.Context(), core.Binding{Queue: "jobs", Pattern: "orders.*"}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.CreateStream(t.Context(), core.StreamConfig{Name: "S", Subjects: []string{"kept.>"}}); err != nil {
			t.Fatal(err)
		}
		queues[name] = q
	}
	for i, name := range names {
		b := inside(t, g, name)
		for range i + 1 {
			if r, err := b.Publish(t.Context(), &core.Message{Subject: "orders.new", Data: []byte(name)}); err != nil || r.Queues != 1 {
				t.Fatalf("publish in %q: %+v, %v", name, r, err)
			}
			if r, err := b.Publish(t.Context(), &core.Message{Subject: "kept.x", Data: []byte(name)}); err != nil || r.Stream != "S" {
				t.Fatalf("publish to the stream in %q: %+v, %v", name, r, err)
			}
		}
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range names {
		if got := len(heard[name]); got != i+1 {
			t.Errorf("%q heard %d messages, want %d", name, got, i+1)
		}
		if s, err := queues[name].Stats(); err != nil || s.Ready != i+1 {
			t.Errorf("%q has %+v in its queue, %v", name, s, err)
		}
		if info, err := inside(t, g, name).Stream(t.Context(), "S"); err != nil || info.Messages != uint64(i+1) {
			t.Errorf("%q has %+v in its stream, %v", name, info, err)
		}
	}
}

// TestTenantsComeBack: after a restart they are there with what they keep; one that was deleted is not, and one of the same name begins empty.
func TestTenantsComeBack(t *testing.T) {
	dir := t.TempDir()
	start := func() *core.Gateway {
		g, err := core.New(core.Config{DataDir: dir, DiskFree: -1}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	fill := func(g *core.Gateway, name string) {
		b := inside(t, g, name)
		if _, _, err := b.DeclareQueue(t.Context(), core.QueueConfig{Name: "jobs", Durable: true}); err != nil {
			t.Fatal(err)
		}
		if err := b.Bind(t.Context(), core.Binding{Queue: "jobs", Pattern: "orders.*"}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Publish(t.Context(), &core.Message{Subject: "orders.new"}); err != nil {
			t.Fatal(err)
		}
	}
	g := start()
	for _, name := range []string{"kept", "dropped"} {
		putTenant(t, g, core.TenantConfig{Name: name, Limits: core.TenantLimits{Queues: 2}})
		fill(g, name)
	}
	if err := g.DeleteTenant(t.Context(), "dropped"); err != nil {
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
	if s, err := inside(t, g, "kept").Lookup("jobs").Stats(); err != nil || s.Ready != 1 {
		t.Errorf("what is kept has %+v, %v", s, err)
	}
	_, err := g.SystemOf("dropped")
	wantCode(t, "enter what was deleted", err, core.CodeNotFound)
	putTenant(t, g, core.TenantConfig{Name: "dropped"})
	if q := inside(t, g, "dropped").Lookup("jobs"); q != nil {
		t.Error("the queue of what was deleted is back")
	}
	infos := g.Tenants()
	if len(infos) != 3 || infos[0].Name != "/" || infos[1].Name != "dropped" || infos[2].Name != "kept" || infos[2].Limits.Queues != 2 || infos[2].Queues != 1 || infos[2].Messages != 1 {
		t.Errorf("tenants: %+v", infos)
	}
}

// TestTenantLimits: each is kept, with an error that says so, and only for the tenant that has it.
func TestTenantLimits(t *testing.T) {
	g := coretest.Start(t)
	putTenant(t, g, core.TenantConfig{Name: "small", Limits: core.TenantLimits{Queues: 1, Bytes: 1000, MessageRate: 5, MessageBytes: 500, Connections: 1}})
	b := inside(t, g, "small")
	q, _, err := b.DeclareQueue(t.Context(), core.QueueConfig{Name: "one", Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = b.DeclareQueue(t.Context(), core.QueueConfig{Name: "two"})
	wantCode(t, "a second queue", err, core.CodeResourceExhausted)
	if _, _, err := b.DeclareQueue(t.Context(), core.QueueConfig{Name: "one", Durable: true}); err != nil {
		t.Errorf("the first again: %v", err)
	}
	_, err = b.Publish(t.Context(), &core.Message{Subject: "x", Data: make([]byte, 501)})
	wantCode(t, "a message above the size", err, core.CodeTooLarge)
	release, err := b.Connect()
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Connect()
	wantCode(t, "a second connection", err, core.CodeResourceExhausted)
	release()
	release()
	if release, err = b.Connect(); err != nil {
		t.Errorf("after the first has gone: %v", err)
	} else {
		release()
	}
	full := func() error {
		answer := make(chan error, 1)
		b.Append(q, &core.Message{Data: make([]byte, 400)}, func(_ core.Receipt, err error) { answer <- err })
		return <-answer
	}
	until := time.Now().Add(patience)
	for err = full(); err == nil && time.Now().Before(until); err = full() {
	}
	wantCode(t, "more than it may keep", err, core.CodeResourceExhausted)
	if !strings.Contains(core.AsError(err).Detail, "1000 bytes") {
		t.Errorf("it says %v", err)
	}
	if _, err := inside(t, g, "/").Publish(t.Context(), &core.Message{Subject: "x", Data: make([]byte, 501)}); err != nil {
		t.Errorf("the other tenant: %v", err)
	}
}

// TestTenantRate: who is faster is held up, and refused when that would take more than a second.
func TestTenantRate(t *testing.T) {
	g := coretest.Start(t)
	putTenant(t, g, core.TenantConfig{Name: "slow", Limits: core.TenantLimits{MessageRate: 20}})
	b := inside(t, g, "slow")
	began := time.Now()
	for range 30 { // 20 at once, ten more in half a second
		if _, err := b.Publish(t.Context(), &core.Message{Subject: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 450*time.Millisecond {
		t.Errorf("30 messages took %v", took)
	}
	putTenant(t, g, core.TenantConfig{Name: "slow", Limits: core.TenantLimits{MessageRate: 0.1}})
	if _, err := b.Publish(t.Context(), &core.Message{Subject: "x"}); err != nil {
		t.Fatal(err)
	}
	_, err := b.Publish(t.Context(), &core.Message{Subject: "x"})
	wantCode(t, "the second in ten seconds", err, core.CodeResourceExhausted)
}

// TestTenantImports: what one tenant lets out another hears and keeps, from doors and from clients; nothing else.
func TestTenantImports(t *testing.T) {
	g := coretest.Start(t)
	putTenant(t, g, core.TenantConfig{Name: "shop", Exports: []string{"orders.>"}})
	putTenant(t, g, core.TenantConfig{Name: "stats", Imports: []core.TenantImport{{Tenant: "shop", Subject: "orders.*.done"}}})
	stats, shop := inside(t, g, "stats"), inside(t, g, "shop")
	heard := subscribe(t, stats, ">", "")
	q, _, err := stats.DeclareQueue(t.Context(), core.QueueConfig{Name: "done", Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := stats.Bind(t.Context(), core.Binding{Queue: "done", Pattern: "orders.eu.*"}); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"orders.eu.done", "orders.eu.new", "other.eu.done"} {
		if _, err := shop.Publish(t.Context(), &core.Message{Subject: subject}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the queue has it", func() bool { s, err := q.Stats(); return err == nil && s.Ready == 1 })
	if m := <-heard; m.Subject != "orders.eu.done" {
		t.Errorf("heard %q", m.Subject)
	}
	if _, err := stats.Publish(t.Context(), &core.Message{Subject: "orders.eu.back"}); err != nil {
		t.Fatal(err)
	}
	if m := <-heard; m.Subject != "orders.eu.back" {
		t.Errorf("heard %q", m.Subject)
	}
	if err := stats.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(heard); n != 0 {
		t.Errorf("%d more were heard", n)
	}
}

// TestTenantEnds: who is logged in to a tenant that is deleted is told, and can do nothing more there.
func TestTenantEnds(t *testing.T) {
	g := coretest.Start(t)
	putTenant(t, g, core.TenantConfig{Name: "a"})
	b, err := login(t, g).Enter("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	if err := g.DeleteTenant(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	receive(t, b.Ended())
	wantCode(t, "the bus", b.Err(), core.CodeUnauthenticated)
	if _, _, err := b.DeclareQueue(t.Context(), core.QueueConfig{Name: "jobs"}); err == nil {
		t.Error("a queue was declared in a tenant that is gone")
	}
	_, err = login(t, g).Enter("a")
	wantCode(t, "enter again", err, core.CodeNotFound)
}

// TestBadTenants: what cannot be is refused, with nothing left behind.
func TestBadTenants(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.Tenants = []core.TenantConfig{{Name: "fixed"}} })
	putTenant(t, g, core.TenantConfig{Name: "a", Exports: []string{"x.>"}})
	for name, c := range map[string]struct {
		cfg  core.TenantConfig
		code core.Code
	}{
		"no name":           {core.TenantConfig{}, core.CodeInvalid},
		"long name":         {core.TenantConfig{Name: strings.Repeat("n", 101)}, core.CodeInvalid},
		"control character": {core.TenantConfig{Name: "a\x00b"}, core.CodeInvalid},
		"negative limit":    {core.TenantConfig{Name: "b", Limits: core.TenantLimits{Queues: -1}}, core.CodeInvalid},
		"export of all":     {core.TenantConfig{Name: "b", Exports: []string{">"}}, core.CodeInvalid},
		"export of the bus": {core.TenantConfig{Name: "b", Exports: []string{"$JS.>"}}, core.CodeInvalid},
		"import of inboxes": {core.TenantConfig{Name: "b", Imports: []core.TenantImport{{Tenant: "a", Subject: "_INBOX.>"}}}, core.CodeInvalid},
		"import of itself":  {core.TenantConfig{Name: "b", Imports: []core.TenantImport{{Tenant: "b", Subject: "x.>"}}}, core.CodeInvalid},
		"other exports":     {core.TenantConfig{Name: "a"}, core.CodePreconditionFailed},
		"the default one":   {core.TenantConfig{Name: "/"}, core.CodePreconditionFailed},
		"a configured one":  {core.TenantConfig{Name: "fixed"}, core.CodePreconditionFailed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := g.PutTenant(t.Context(), c.cfg)
			wantCode(t, "put", err, c.code)
		})
	}
	for name, code := range map[string]core.Code{"b": core.CodeNotFound, "/": core.CodePreconditionFailed, "fixed": core.CodePreconditionFailed} {
		wantCode(t, "delete "+name, g.DeleteTenant(context.Background(), name), code)
	}
	if n := len(g.Tenants()); n != 3 {
		t.Errorf("%d tenants are there", n)
	}
}
