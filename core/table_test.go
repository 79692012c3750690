package core_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"portico/core"
	"portico/core/coretest"
)

func table(t testing.TB, g *core.Gateway, name string) *core.Table {
	t.Helper()
	tb, err := g.System().Table(t.Context(), name)
	if err != nil {
		t.Fatalf("open table: %v", err)
	}
	return tb
}

func TestTable(t *testing.T) {
	dir := t.TempDir()
	g := coretest.Start(t, coretest.DataDir(dir))
	tb := table(t, g, "things")
	if table(t, g, "things") != tb {
		t.Error("a table was opened twice")
	}
	ctx := t.Context()
	_, err := tb.Get(ctx, "none")
	wantCode(t, "get nothing", err, core.CodeNotFound)
	keys := []string{"", "plain", "\x00\xff. *>", strings.Repeat("long", 100)}
	for i, key := range keys {
		first, err := tb.Put(ctx, key, []byte{byte(i)})
		if err != nil {
			t.Fatalf("put %q: %v", key, err)
		}
		second, err := tb.Put(ctx, key, fmt.Appendf(nil, "value %d", i))
		if err != nil || second <= first {
			t.Fatalf("put %q again: %d behind %d, %v", key, second, first, err)
		}
		_, err = tb.Update(ctx, key, nil, first)
		wantCode(t, "update an old revision", err, core.CodePreconditionFailed)
		_, err = tb.Update(ctx, key, nil, 0)
		wantCode(t, "create what exists", err, core.CodePreconditionFailed)
		third, err := tb.Update(ctx, key, fmt.Appendf(nil, "third %d", i), second)
		if err != nil {
			t.Fatalf("update: %v", err)
		}
		if e, err := tb.Get(ctx, key); err != nil || e.Key != key || string(e.Value) != fmt.Sprintf("third %d", i) || e.Revision != third {
			t.Errorf("get %q: %+v, %v", key, e, err)
		}
	}
	if _, err := tb.Put(ctx, "empty", nil); err != nil {
		t.Fatal(err)
	}
	if e, err := tb.Get(ctx, "empty"); err != nil || e.Value == nil || len(e.Value) != 0 {
		t.Errorf("an empty value: %+v, %v", e, err)
	}
	for range 2 {
		if err := tb.Delete(ctx, "plain"); err != nil {
			t.Fatal(err)
		}
	}
	_, err = tb.Get(ctx, "plain")
	wantCode(t, "get what is deleted", err, core.CodeNotFound)
	if _, err := tb.Update(ctx, "plain", []byte("back"), 0); err != nil {
		t.Errorf("create what was deleted: %v", err)
	}
	if err := tb.Delete(ctx, "plain"); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	again := coretest.Start(t, coretest.DataDir(dir))
	all, err := table(t, again, "things").List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all {
		got = append(got, e.Key)
	}
	slices.Sort(got)
	want := []string{"", "\x00\xff. *>", "empty", keys[3]}
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("after a restart: %q, want %q", got, want)
	}
}

func TestTableWatch(t *testing.T) {
	g := coretest.Start(t)
	tb := table(t, g, "watched")
	if _, err := tb.Put(t.Context(), "before", []byte("1")); err != nil {
		t.Fatal(err)
	}
	seen := make(chan core.TableEntry, 10)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- tb.Watch(ctx, func(e core.TableEntry) { seen <- e }) }()
	if e := receive(t, seen); e.Key != "before" || string(e.Value) != "1" {
		t.Errorf("first %+v", e)
	}
	revision, err := tb.Put(t.Context(), "after", []byte("2"))
	if err != nil {
		t.Fatal(err)
	}
	if e := receive(t, seen); e.Key != "after" || string(e.Value) != "2" || e.Revision != revision {
		t.Errorf("second %+v", e)
	}
	if err := tb.Delete(t.Context(), "before"); err != nil {
		t.Fatal(err)
	}
	if e := receive(t, seen); e.Key != "before" || e.Value != nil {
		t.Errorf("third %+v", e)
	}
	cancel()
	if err := receive(t, ended); err != nil {
		t.Errorf("watch ended with %v", err)
	}
}

func TestTableNames(t *testing.T) {
	g := coretest.Start(t)
	for _, name := range []string{"", "A", "a.b", "a b", "a/b", "a_b"} {
		_, err := g.System().Table(t.Context(), name)
		wantCode(t, name, err, core.CodeInvalid)
	}
}
