package core_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
	"portico/core/policy"
	"portico/core/queue"
)

// withBob are users one of whom has these permissions.
func withBob(spec *policy.Spec) []core.User {
	return []core.User{{Name: "admin", Password: "a"}, {Name: "bob", Password: "b", Permissions: spec}}
}

func denied(pattern string) *policy.Spec {
	return &policy.Spec{Publish: policy.Lists{Deny: []string{pattern}}, Subscribe: policy.Lists{Deny: []string{pattern}}}
}

func reload(t *testing.T, g *core.Gateway, spec *policy.Spec) {
	t.Helper()
	if err := g.Reload(core.Config{Users: withBob(spec)}); err != nil {
		t.Fatal(err)
	}
}

func TestDeniedPartsAreLeftOut(t *testing.T) {
	g := coretest.Start(t, coretest.Users(withBob(denied("orders.secret.>"))...))
	bob, admin := loginAs(t, g, "bob", "b"), loginAs(t, g, "admin", "a")
	heard := subscribe(t, bob, "orders.>", "")
	grouped := subscribe(t, bob, "orders.*.x", "workers")
	for _, s := range []string{"orders.secret.x", "orders.open.x"} {
		publish(t, admin, &core.Message{Subject: s})
	}
	for _, c := range []<-chan *core.Message{heard, grouped} {
		if m := receive(t, c); m.Subject != "orders.open.x" {
			t.Errorf("heard %s", m.Subject)
		}
	}
	_, err := bob.Publish(t.Context(), &core.Message{Subject: "orders.secret.x"})
	wantCode(t, "publish", err, core.CodePermissionDenied)
	declare(t, bob, core.QueueConfig{Name: "q"})
	wantCode(t, "bind what is denied in part", bob.Bind(t.Context(), core.Binding{Pattern: "orders.>", Queue: "q"}), core.CodePermissionDenied)
	bind(t, bob, "orders.open.>", "q")
}

func TestChangedPermissionsAreInForceAtOnce(t *testing.T) {
	g := coretest.Start(t, coretest.Users(withBob(denied("nothing"))...))
	bob, admin := loginAs(t, g, "bob", "b"), loginAs(t, g, "admin", "a")
	heard := make(chan *core.Message, 10)
	s, err := bob.Subscribe("news.>", "", func(m *core.Message) { heard <- m })
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 2)
	s.OnRefused(func(err error) { refused <- err })
	q := declare(t, admin, core.QueueConfig{Name: "jobs"})
	gone := make(chan error, 2)
	if _, err := bob.Consume(q, queue.ConsumerConfig{Deliver: func([]queue.Delivery) {}, Gone: func(err error) { gone <- err }}, nil); err != nil {
		t.Fatal(err)
	}

	reload(t, g, denied("news.secret"))
	for _, subject := range []string{"news.secret", "news.open"} {
		publish(t, admin, &core.Message{Subject: subject})
	}
	if m := receive(t, heard); m.Subject != "news.open" {
		t.Errorf("heard %s after it was denied", m.Subject)
	}
	reload(t, g, &policy.Spec{Subscribe: policy.Lists{Allow: []string{"other"}}})
	wantCode(t, "the subscription", receive(t, refused), core.CodePermissionDenied)
	wantCode(t, "the consumer", receive(t, gone), core.CodePermissionDenied)
	wantCode(t, "what the subscription says", s.Err(), core.CodePermissionDenied)
	if stats, err := q.Stats(); err != nil || stats.Consumers != 0 {
		t.Errorf("%d consumers, %v", stats.Consumers, err)
	}
	publish(t, admin, &core.Message{Subject: "news.open"})
	if err := admin.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(heard) > 0 {
		t.Errorf("heard %s", (<-heard).Subject)
	}
	s.Unsubscribe()

	// What is not sound changes nothing.
	before := bob.Policy()
	if err := g.Reload(core.Config{Users: withBob(denied("a..b"))}); err == nil || bob.Policy() != before {
		t.Errorf("a bad pattern: %v", err)
	}
}

func TestGuard(t *testing.T) {
	g := coretest.Start(t, coretest.Users(withBob(denied("a"))...))
	bob := loginAs(t, g, "bob", "b")
	told := make(chan string, 100)
	guarding := func(name, subject string) (stop func()) {
		return bob.Guard(func() error { return bob.May(policy.Publish, subject) }, func(err error) { told <- name + " " + err.Error() })
	}
	guarding("late", "a") // it was refused before the guard was there
	if got := receive(t, told); !strings.HasPrefix(got, "late ") {
		t.Errorf("told %s", got)
	}
	stopped := guarding("stopped", "b")
	stays := guarding("stays", "c")
	guarding("ends", "b")
	stopped()
	for _, pattern := range []string{"b", "b", "d", "b"} {
		reload(t, g, denied(pattern))
	}
	if got := receive(t, told); !strings.HasPrefix(got, "ends ") {
		t.Errorf("told %s", got)
	}
	stays()
	stays()
	watching := func() bool {
		stacks := make([]byte, 4<<20)
		return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "core.(*guards).watch")
	}
	for deadline := time.Now().Add(patience); watching(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("a guard is still watched")
		}
	}
	if len(told) > 0 {
		t.Errorf("told again: %s", <-told)
	}
}
