package core_test

import (
	"fmt"
	"testing"

	"portico/core"
	"portico/core/coretest"

	"github.com/nats-io/nats.go/jetstream"
)

// TestStreamOfFollowsNativeClients: streams that NATS clients make, change and delete are known without asking, also after a restart.
func TestStreamOfFollowsNativeClients(t *testing.T) {
	dir := t.TempDir()
	g := coretest.Start(t, coretest.DataDir(dir))
	b, js := login(t, g), connectStreams(t, g)
	if got := b.StreamOf("a.b"); got != "" {
		t.Errorf("without streams %q keeps a.b", got)
	}
	makeStream(t, js, jetstream.StreamConfig{Name: "A", Subjects: []string{"a.>"}})
	makeStream(t, js, jetstream.StreamConfig{Name: "B", Subjects: []string{"b.*"}})
	makeStream(t, js, jetstream.StreamConfig{Name: "SILENT", Subjects: []string{"s.>"}, NoAck: true})
	keeps := func(subject, stream string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%q keeps %s", stream, subject), func() bool { return b.StreamOf(subject) == stream })
	}
	keeps("a.b.c", "A")
	keeps("b.x", "B")
	keeps("b.x.y", "")
	keeps("s.x", "")
	if _, err := js.UpdateStream(t.Context(), jetstream.StreamConfig{Name: "B", Subjects: []string{"b.>", "c"}}); err != nil {
		t.Fatal(err)
	}
	keeps("c", "B")
	keeps("b.x.y", "B")
	if err := js.DeleteStream(t.Context(), "A"); err != nil {
		t.Fatal(err)
	}
	keeps("a.b.c", "")
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	b = login(t, coretest.Start(t, coretest.DataDir(dir)))
	if b.StreamOf("c") != "B" || b.StreamOf("a.b") != "" {
		t.Error("after a restart the streams are not known at once")
	}
}

// TestNativeStreamsAreForgotten: the embedded server keeps nothing of streams that NATS clients have deleted.
func TestNativeStreamsAreForgotten(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.Durability = "os" })
	b, js := login(t, g), connectStreams(t, g)
	for i := range 10 {
		name := fmt.Sprint("NATIVE", i)
		makeStream(t, js, jetstream.StreamConfig{Name: name, Subjects: []string{name}, AllowDirect: true})
		eventually(t, name+" is known", func() bool { return b.StreamOf(name) == name })
	}
	if !g.KeepsServerQueue("NATIVE") {
		t.Fatal("the server's list is not as it was")
	}
	for i := range 10 {
		if err := js.DeleteStream(t.Context(), fmt.Sprint("NATIVE", i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the server has forgotten them", func() bool { return !g.KeepsServerQueue("NATIVE") })
}

func connectStreams(t testing.TB, g *core.Gateway) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(connectNATS(t, g))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func makeStream(t testing.TB, js jetstream.JetStream, cfg jetstream.StreamConfig) jetstream.Stream {
	t.Helper()
	s, err := js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatalf("create stream %s: %v", cfg.Name, err)
	}
	return s
}
